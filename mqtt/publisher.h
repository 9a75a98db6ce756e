/* Publishes every live alert, once per broker and topic, as a retained message with QoS 1, and
 * records which broker has acknowledged it. Works from the database alone: a poll, and
 * publisher_wake beside it. Only the newest verified version of an alert is published, so a
 * correction replaces what it corrects; after every reconnect of a broker all live alerts are
 * published to it again with the life that is left. A row whose release signature is wrong
 * publishes nothing.
 *
 * Several `loa mqtt` may publish side by side: each ends with the newest version, and an
 * acknowledgement is recorded once. */
#ifndef LOA_MQTT_PUBLISHER_H
#define LOA_MQTT_PUBLISHER_H

#include "base/clock.h"
#include "base/db_async.h"
#include "engine/release.h"
#include "mqtt/brokers.h"

struct publisher;

struct publisher_options {
    struct brokers *brokers;         /* borrowed */
    struct db_async *db;             /* borrowed */
    const struct clock *clock;       /* its monotonic time only */
    const struct release_keys *keys; /* borrowed */
    int64_t poll_ms;
};

/* Starts at once. Owned. */
struct publisher *publisher_new(const struct publisher_options *options);
/* Answers of the database that come later are ignored. */
void publisher_free(struct publisher *publisher);
LOA_AUTO_DEFINE(publisher, publisher_free)

/* Looks at once instead of at the next poll: call it on NOTIFY loa_fanout. */
void publisher_wake(struct publisher *publisher);

/* Alerts that some broker has not acknowledged yet: for /readyz. */
unsigned publisher_owed(const struct publisher *publisher);

#endif
