/* Publishing a released broadcast to the push service's topics: an explicit act of one person, for
 * when sending to each device cannot work. Who may, what may, and that it is on record before it
 * leaves. It knows no provider: the caller publishes. Blocking. */
#ifndef LOA_ENGINE_TOPIC_SEND_H
#define LOA_ENGINE_TOPIC_SEND_H

#include "engine/broadcast_acts.h"
#include "engine/topic_store.h"

/* What is left in state sending for longer belongs to a process that is gone. */
#define TOPIC_SEND_LIMIT_S 180

/* Loads a broadcast that may be sent to topics now. Owned. CONFLICT: not released, expired, taken
 * back (the message names its correction), or under a stop switch; DENIED: its release signature is
 * not genuine, exactly as the delivery processes judge it. */
struct broadcast *topic_send_check(const struct broadcast_actor *actor, int64_t id, GError **error);

struct topic_send_options {
    /* The provider's name of a topic. Owned. */
    char *(*name)(const char *realm, const char *commune);
    const char *reason; /* 1 … 500 bytes */
    bool again;         /* also to topics that have taken it */
};
/* One message to be published. Strings owned. */
struct topic_send_item {
    int64_t id;
    char *topic;
    enum topic_message_state state; /* sending until topic_send_settle */
    char *message_name, *detail;
};
struct topic_send {
    struct broadcast *broadcast; /* verified under the row's lock: render from this one */
    GPtrArray *items;            /* struct topic_send_item * */
};
void topic_send_free(struct topic_send *send);
LOA_AUTO_DEFINE(topic_send, topic_send_free)

/* Checks as above, with the row locked, and commits audit and one message per topic in state
 * sending: an alert goes to the topics of its area; its correction goes there and to the topic of
 * the whole province, because phones move. Topics that have accepted it before are left out unless
 * again; CONFLICT when none is left, or when somebody else is sending it now. Owned. */
struct topic_send *topic_send_begin(const struct broadcast_actor *actor, int64_t id,
                                    const struct topic_send_options *options, GError **error);
/* Records what came of one item. */
bool topic_send_settle(const struct broadcast_actor *actor, struct topic_send_item *item,
                       enum topic_message_state state, const char *message_name, const char *detail,
                       GError **error);
/* The audit's last word: how many were accepted. */
bool topic_send_end(const struct broadcast_actor *actor, const struct topic_send *send,
                    GError **error);

#endif
