/* Receipts that devices publish on loa/v1/receipt/{id}: read, stored in batches, and confirmed on
 * loa/v1/device/{id} at the broker they came from once they are durable. libmosquitto acknowledges
 * to the broker before Loa has stored anything, so the confirmation, not the PUBACK, ends a
 * device's repeating. */
#ifndef LOA_MQTT_RECEIPTS_H
#define LOA_MQTT_RECEIPTS_H

#include "base/clock.h"
#include "base/db_async.h"
#include "engine/receipt.h"
#include "mqtt/brokers.h"

/* One publication: the topic's device and the payload. INVALID says what is wrong. */
bool mqtt_receipt_read(const char *topic, const void *payload, size_t len, struct receipt *out,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* {"confirm":[{"alert","v","event"}…]} for n receipts of one device. Owned. */
char *mqtt_receipt_confirmation(const struct receipt *const *receipts, size_t n);

struct receipts;
/* All borrowed. rate_per_device: receipts a second, ten seconds' worth may come at once. Owned. */
struct receipts *receipts_new(struct brokers *brokers, struct db_async *db,
                              const struct clock *clock, int64_t rate_per_device);
void receipts_free(struct receipts *receipts);
LOA_AUTO_DEFINE(receipts, receipts_free)

#endif
