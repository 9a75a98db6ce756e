/* Topic names of docs/device-protocol.md.
 *
 * loa/v1/emergency/all/{alert}          emergencies for the whole province
 * loa/v1/emergency/area/{code}/{alert}  emergencies for one commune
 * loa/v1/alert/all/…, …/area/…          the other live alerts, below a root of their own: a phone
 *                                       subscribes to it with QoS 0, so that they take no place in
 *                                       its queue at the broker
 * loa/v1/exercise/…, loa/v1/test/…      all alerts of the other realms: the brokers' rules give a
 *                                       live device no right to read them
 * loa/v1/device/{id}                    what is addressed to one device
 * loa/v1/receipt/{id}                   what that device acknowledges
 * loa/v1/canary                         the engine's own dry run */
#ifndef LOA_MQTT_TOPIC_H
#define LOA_MQTT_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define MQTT_TOPIC_CANARY          "loa/v1/canary"
#define MQTT_TOPIC_RECEIPT_PREFIX  "loa/v1/receipt/"
#define MQTT_TOPIC_RECEIPTS_SHARED "$share/loa/loa/v1/receipt/+"

/* The topics of one alert: one for the province (communes empty or NULL), else one per commune.
 * realm is "live", "exercise" or "test"; emergency counts in "live" only. Owned string vector. */
char **mqtt_alert_topics(const char *realm, bool emergency, const char *const *communes,
                         const char *alert_id);

/* "loa/v1/device/{id}". Owned. */
char *mqtt_device_topic(int64_t device_id);

/* The device of a receipt topic. False unless the last level is the plain decimal form of a
 * positive id (no sign, no leading zero, nothing after it). */
bool mqtt_receipt_device(const char *topic, int64_t *out_device_id);

/* A device id in its one plain decimal form; for user names as well. */
bool mqtt_device_id_parse(const char *text, int64_t *out_device_id);

#endif
