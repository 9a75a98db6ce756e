/* The retained JSON of an alert: every language in one object. */
#ifndef LOA_MQTT_ALERT_H
#define LOA_MQTT_ALERT_H

#include <stddef.h>

#include <glib.h>

#include "engine/message.h"

/* What a broker is told to take at most; etc/mosquitto sets message_size_limit above it. */
#define MQTT_PAYLOAD_MAX 65536

/* {"alert","v","type","kind","level","class","realm","issued","expires","areas","url","source",
 * "window","key","texts":{"vi":{"title","body","instruction","sig"},…}}; names and values as in
 * message_to_json. The messages differ in their texts only. INVALID above MQTT_PAYLOAD_MAX, with
 * the size. Owned. */
GBytes *mqtt_alert_render(const struct message *messages, size_t n, GError **error);

#endif
