/* A stage with real brokers and a publisher: what `loa mqtt` is made of, in a test program. */
#ifndef LOA_TESTS_SUPPORT_MQTTSTAGE_H
#define LOA_TESTS_SUPPORT_MQTTSTAGE_H

#include "mqtt/brokers.h"
#include "mqtt/publisher.h"
#include "tests/support/stage.h"
#include "tests/support/testbroker.h"

#define MQTTSTAGE_BROKERS_MAX 8

/* Devices 1 to 3 live, 4 exercise; passwords "1.secret-N". */
extern const struct mosquitto_device mqttstage_devices[4];

struct mqttstage {
    struct stage *stage;
    struct testbroker *brokers[MQTTSTAGE_BROKERS_MAX];
    unsigned n_brokers;
    /* Of the engine; NULL until mqttstage_start. */
    struct brokers *engine;
    struct db_async *db;
    struct publisher *publisher;
};

/* Database and running brokers. */
struct mqttstage *mqttstage_new(const char *name, unsigned n_brokers);
void mqttstage_free(struct mqttstage *self);
/* Connects as the engine with this certificate of the pki and publishes. */
void mqttstage_start(struct mqttstage *self, const char *certificate);
/* The engine ends as in a crash. */
void mqttstage_stop(struct mqttstage *self);
/* A connected device 1…4 at one broker. */
struct testclient *mqttstage_device(struct mqttstage *self, unsigned broker, unsigned device);
/* Releases a warning for communes (NULL: the province) in a realm through the real acts. */
int64_t mqttstage_release(struct mqttstage *self, enum broadcast_realm realm, const char *communes);

#endif
