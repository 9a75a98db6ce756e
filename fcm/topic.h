/* FCM topics: their names, what is sent to one, and the answers of subscription management. Pure:
 * no network. (Firebase, "Manage topic subscriptions", "Topic messaging"; Instance ID,
 * "Manage relationship maps for multiple app instances".) */
#ifndef LOA_FCM_TOPIC_H
#define LOA_FCM_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/message.h"

#define FCM_TOPIC_PAYLOAD_MAX 2048 /* keys and values of data in a message to a topic */
#define FCM_TOPIC_BATCH_MAX   1000 /* registration tokens in one batch */

/* "loa-all" or, with a commune's code, "loa-area-01273"; realms other than live have topics of
 * their own: "loa-exercise-all". commune "" = the whole province. Owned. */
char *fcm_topic_name(const char *realm, const char *commune);

/* Bytes of the message as FCM counts them. */
size_t fcm_topic_size(const struct message *message);
/* INVALID when it is larger than FCM_TOPIC_PAYLOAD_MAX: says by how much, how long each text is and
 * what helps, one line each. */
bool fcm_topic_fits(const struct message *message, GError **error);
/* The body of messages:send: the same signed fields as in a push to one device. now_s: for the time
 * to live. INVALID as above. Owned. */
char *fcm_topic_body(const struct message *message, const char *topic, int64_t now_s,
                     bool validate_only, GError **error);

enum fcm_topic_op { FCM_TOPIC_ADD, FCM_TOPIC_REMOVE };
/* The body of iid/v1:batchAdd and :batchRemove. Owned. */
char *fcm_topic_batch_body(const char *topic, const char *const *tokens, size_t n);

/* What came of one registration. */
enum fcm_topic_result {
    FCM_TOPIC_DONE,    /* it is as asked */
    FCM_TOPIC_DEAD,    /* no such registration (NOT_FOUND, INVALID_ARGUMENT) */
    FCM_TOPIC_REFUSED, /* TOO_MANY_TOPICS, PERMISSION_DENIED, or an unknown word */
    FCM_TOPIC_AGAIN,   /* RESOURCE_EXHAUSTED and the like: worth another try later */
};
struct fcm_topic_answer {
    enum fcm_topic_result result;
    const char *reason; /* static: the provider's word where it is a documented one; "" when DONE */
};

/* Reads {"results":[{},{"error":"NOT_FOUND"},…]} of exactly n entries into out. False: it is not of
 * this form, and out is untouched. */
bool fcm_topic_batch_read(const char *body, size_t len, size_t n, struct fcm_topic_answer *out);
/* The answer of the API that takes one registration a call (a Firebase installation id). Removing
 * what is not there counts as done, like adding what is there. 401, 429 and 5xx are AGAIN. */
struct fcm_topic_answer fcm_topic_single_read(enum fcm_topic_op op, long status, const char *body,
                                              size_t len);

#endif
