/* SQL of the MQTT publisher. Each statement may be repeated when its fate is unknown. */
#ifndef LOA_MQTT_PUBLISHER_STORE_H
#define LOA_MQTT_PUBLISHER_STORE_H

#include "base/db_async.h"

#define PUBLISHER_ALERTS_MAX 500 /* live at once; emergencies and then the newest come first */

/* Every released version that has not expired and is under no stop switch, emergencies first, then
 * the newest. Rows (broadcast_id bigint, alert_id text, version int, emergency bool, remaining_us
 * bigint, acked text[]: brokers, settled bool: mqtt_acked_at is set). */
void publisher_store_list(struct db_async *db, db_async_cb cb, void *user);

/* The broker has acknowledged every topic of the broadcast. No rows. */
void publisher_store_ack(struct db_async *db, int64_t broadcast_id, const char *broker,
                         db_async_cb cb, void *user);

/* Sets mqtt_acked_at and wakes the delivery loops, if it is not set and every one of the brokers
 * has acknowledged. One row when it did. */
void publisher_store_settle(struct db_async *db, int64_t broadcast_id, const char *const *brokers,
                            size_t n, db_async_cb cb, void *user);

#endif
