/* The dry run of the brokers: a message to loa/v1/canary must come back from each of them. */
#ifndef LOA_MQTT_ECHO_H
#define LOA_MQTT_ECHO_H

#include "base/clock.h"
#include "mqtt/brokers.h"

#define ECHO_DEADLINE_MS 5000

struct echo;
/* Both borrowed. Owned. */
struct echo *echo_new(struct brokers *brokers, const struct clock *clock);
/* A run that is under way ends with its callback, not ok. */
void echo_free(struct echo *echo);

typedef void (*echo_cb)(bool ok, const char *detail, int64_t duration_us, void *user);
/* Calls back once, within ECHO_DEADLINE_MS, never from inside; detail (borrowed) names the
 * brokers that did not answer. One run at a time: a second is told so and fails. */
void echo_run(struct echo *echo, echo_cb cb, void *user);

#endif
