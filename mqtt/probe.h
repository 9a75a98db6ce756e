/* What Loa needs of an MQTT 5 broker, asked of the broker itself: for `loa doctor`, above all
 * before another make of broker takes mosquitto's place. Touches the canary's topic only; no phone
 * hears of it. */
#ifndef LOA_MQTT_PROBE_H
#define LOA_MQTT_PROBE_H

#include "base/settings.h"

/* One answer. detail: borrowed for the length of the call; when not ok, what is wrong. */
typedef void (*mqtt_probe_cb)(bool ok, const char *detail, void *user);

/* Connects as the engine and calls back once for each thing: what the broker offers; a shared
 * subscription; a retained message with its remaining life; rights that end where they should; no
 * way in without the certificate. Stops after the first when there is no connection. Blocks, at
 * most about half a minute. */
void mqtt_probe_run(const struct settings *settings, const char *address, mqtt_probe_cb cb,
                    void *user);

#endif
