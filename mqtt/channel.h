/* The channel "mqtt" of the delivery loop. Broadcasts are published once per broker by the
 * publisher, so a device of a broadcast costs nothing here: the database hands out MQTT chunks only
 * after every broker has acknowledged, and send() accounts each device as ACCEPTED. A targeted
 * notification (broadcast_id 0) is published on the device's own topic. */
#ifndef LOA_MQTT_CHANNEL_H
#define LOA_MQTT_CHANNEL_H

#include "base/clock.h"
#include "engine/channel.h"
#include "mqtt/brokers.h"

/* brokers may be NULL: a channel that only renders (to measure a message). clock: for expiry and
 * the duration of dry runs. Both borrowed. Owned: ops->free. */
struct channel *mqtt_channel_new(struct brokers *brokers, const struct clock *clock);
/* The same with its own connections to settings.mqtt_brokers, for dry runs outside `loa mqtt`
 * (canary, `loa doctor`). INVALID as brokers_new. Owned. */
struct channel *mqtt_channel_open(const struct settings *settings, const struct clock *clock,
                                  GError **error);

#endif
