/* Sending a released broadcast to FCM's topics, from the command line: the engine's act
 * (engine/topic_send.h) and FCM's client together. */
#ifndef LOA_APP_TOPIC_PUBLISH_H
#define LOA_APP_TOPIC_PUBLISH_H

#include "app/command.h"
#include "base/json.h"
#include "engine/topic_send.h"

/* The Vietnamese text and the correction that would take it back must both fit into a message to a
 * topic: what cannot be taken back is not sent. INVALID says what is too long and what helps.
 * out_size (may be NULL): bytes of the longer one. */
bool topic_publish_fits(const struct broadcast *broadcast, const char *key_id, size_t *out_size,
                        GError **error);

/* Records, publishes topic by topic, records what came of each. Blocking, at most three minutes.
 * False: nothing was sent. Owned. */
struct topic_send *topic_publish(struct command *command, const struct broadcast_actor *actor,
                                 int64_t id, const char *reason, bool again, GError **error);
/* EX_OK when every topic has accepted it, EX_UNAVAILABLE when FCM refuses it, else EX_TEMPFAIL. */
int topic_publish_exit(const struct topic_send *send);
/* One line per topic on standard output. */
void topic_publish_print(const struct topic_send *send);

/* A message that reaches nobody, and the removal of a registration that nobody has: proves network
 * and credentials for both services. Blocking, at most 20 seconds. */
bool topic_publish_dry_run(const struct settings *settings, const struct clock *clock,
                           GError **error);

/* ---- what status tells ---- */

/* Messages of a broadcast and the correction that is owed. */
struct topic_status {
    GPtrArray *messages; /* struct topic_message * */
    GPtrArray *owed;     /* struct topic_owed * */
};
bool topic_status_read(struct db *db, const struct broadcast *broadcast, struct topic_status *out,
                       GError **error);
void topic_status_clear(struct topic_status *status);
/* Lines of their own, never part of what is counted per device. */
void topic_status_append(const struct topic_status *status, GString *out);
/* {"messages":[…],"correction_owed":N|null}. Owned. */
json_t *topic_status_json(const struct topic_status *status);

#endif
