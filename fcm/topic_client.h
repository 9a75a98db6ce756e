/* Talks to FCM about topics: subscribes, unsubscribes, publishes. Everything goes through one queue
 * with a bound on what is open at once, the provider's rate, and its wishes to be left alone; each
 * call is idempotent at the provider or made so by the app, so what got no answer is sent again.
 * On the thread's default GMainContext. */
#ifndef LOA_FCM_TOPIC_CLIENT_H
#define LOA_FCM_TOPIC_CLIENT_H

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/settings.h"
#include "fcm/topic.h"

#define FCM_TOPIC_TRIES         5     /* of one request */
#define FCM_TOPIC_MESSAGE_MS    60000 /* a message gets no further try after so long */
#define FCM_TOPIC_REQUESTS_OPEN 32    /* at once */

struct fcm_topics;
/* Reads the service account and begins to get an access token; settings are read only here.
 * INVALID, NOT_FOUND or DENIED names the setting. Owned; open calls end without a callback when it
 * is freed.
 */
struct fcm_topics *fcm_topics_new(const struct settings *settings, const struct clock *clock,
                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fcm_topics_free(struct fcm_topics *topics);
LOA_AUTO_DEFINE(fcm_topics, fcm_topics_free)

/* Registrations to be brought into one topic or out of it. The owner keeps it alive until done. */
struct fcm_topic_change {
    enum fcm_topic_op op;
    const char *topic;
    bool fids; /* Firebase installation ids: one call each; else tokens, in one call */
    size_t n;  /* 1 … FCM_TOPIC_BATCH_MAX */
    const char *const *registrations;
    struct fcm_topic_answer *answers; /* room for n; filled before done unless error is set */
    /* Once, never from inside fcm_topics_change. error (borrowed): nothing of the kind can work now
     * (no access token, permission denied): DENIED, RETRY or INVALID. It may start another one. */
    void (*done)(struct fcm_topic_change *change, const GError *error, void *user);
    void *user;
    size_t owed; /* the client's, like failed */
    bool failed;
};
void fcm_topics_change(struct fcm_topics *topics, struct fcm_topic_change *change);

enum fcm_topic_sent_state {
    FCM_TOPIC_ACCEPTED, /* name is the provider's */
    FCM_TOPIC_REJECTED, /* the provider refuses it; reason is its word */
    FCM_TOPIC_UNKNOWN,  /* it may have been taken */
    FCM_TOPIC_FAILED,   /* surely not taken, after every try */
};
struct fcm_topic_sent {
    enum fcm_topic_sent_state state;
    const char *name;   /* borrowed; "" unless accepted */
    const char *reason; /* borrowed; never NULL */
};
/* Publishes a body of fcm_topic_body (copied). The callback runs once, never from inside. */
void fcm_topics_send(struct fcm_topics *topics, const char *body,
                     void (*done)(const struct fcm_topic_sent *sent, void *user), void *user);

#endif
