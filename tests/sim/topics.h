/* Who is subscribed to which topic, and what was published there: the other side of Loa's topics.
 */
#ifndef LOA_SIM_TOPICS_H
#define LOA_SIM_TOPICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/json.h"
#include "tests/sim/text.h"

#define TOPICS_PER_REGISTRATION_MAX 2000 /* as the provider documents */

struct topics;
struct topics *topics_new(void);
void topics_free(struct topics *topics);
LOA_AUTO_DEFINE(topics, topics_free)
void topics_reset(struct topics *topics);

/* [a-zA-Z0-9-_.~%]{1,900} */
bool topic_name_is_valid(struct text name);
bool topics_has(const struct topics *topics, const char *topic, const char *registration);
void topics_add(struct topics *topics, const char *topic, const char *registration);
void topics_remove(struct topics *topics, const char *topic, const char *registration);
/* A message was accepted; alert and version name it. */
void topics_publish(struct topics *topics, struct text topic, struct text alert,
                    struct text version);
/* {"NAME":{"subscribers","messages","reached","last"},…}: reached sums the subscribers of each
 * message, last is "ALERT/VERSION". Owned. */
json_t *topics_json(const struct topics *topics);
/* The names of the topics of one registration, sorted; owned. */
json_t *topics_of(const struct topics *topics, const char *registration);

#endif
