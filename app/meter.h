/* The real renderers of the channels, without credentials, to measure payloads with. */
#ifndef LOA_APP_METER_H
#define LOA_APP_METER_H

#include "base/auto.h"
#include "base/clock.h"
#include "base/settings.h"
#include "engine/broadcast.h"

struct meter;
/* settings and clock are borrowed until meter_close. Owned. */
struct meter *meter_open(const struct settings *settings, const struct clock *clock);
void meter_close(struct meter *meter);
LOA_AUTO_DEFINE(meter, meter_close)
/* Borrowed until meter_close. */
const struct broadcast_meter *meter_get(const struct meter *meter);

#endif
