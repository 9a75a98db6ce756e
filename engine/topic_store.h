/* SQL of topics: which registrations of the push service are subscribed, and what was published to
 * a topic. A topic is (realm, commune); commune "" is the whole province. Its name is the channel's
 * affair. */
#ifndef LOA_ENGINE_TOPIC_STORE_H
#define LOA_ENGINE_TOPIC_STORE_H

#include "base/db.h"
#include "engine/account.h"

/* ---- subscriptions ---- */

/* Takes or renews the right to change subscriptions, for seconds. CONFLICT: another run has it. */
bool topic_store_lease(struct db *db, const char *owner, int64_t seconds, GError **error);
/* Gives it back. completed: everything is as it should be. */
bool topic_store_release_lease(struct db *db, const char *owner, bool completed, GError **error);

struct topic_counts {
    int64_t missing; /* subscriptions that are wanted and not there */
    int64_t surplus; /* there, and not wanted any more: moved, retired, replaced */
};
/* FCM devices want the topic of the province and that of their commune. */
bool topic_store_counts(struct db *db, struct topic_counts *out, GError **error);

/* The next FCM devices after an id, at most limit; fewer = the end. Columns: id, push_token,
 * id_kind, realm, commune (''), lacks the province's topic, lacks the commune's. */
PGresult *topic_store_missing(struct db *db, int64_t after_id, int limit, GError **error);
/* The next subscriptions after a cursor (all NULL at first), at most limit; fewer = the end.
 * Columns: push_token, id_kind, realm, commune, is surplus. The last row is the next cursor. */
struct topic_cursor {
    char *push_token, *id_kind, *realm, *commune; /* owned */
};
void topic_cursor_clear(struct topic_cursor *cursor);
PGresult *topic_store_surplus(struct db *db, const struct topic_cursor *after, int limit,
                              GError **error);

/* What a batch of one topic has brought: one statement, so that it is all there or not at all. */
struct topic_change {
    const char *realm, *commune, *id_kind;
    const char *const *added; /* subscribed now */
    size_t n_added;
    const char *const *removed; /* not subscribed any more */
    size_t n_removed;
};
bool topic_store_change(struct db *db, const struct topic_change *change, GError **error);
/* Retires FCM registrations that the provider calls dead, as after a push. *out_retired: devices.
 */
bool topic_store_retire(struct db *db, const char *id_kind, const char *const *registrations,
                        size_t n, int64_t *out_retired, GError **error);

/* One topic. */
struct topic_row {
    char *realm, *commune;
    int64_t subscribed, wanted;
};
/* Every topic that is wanted or subscribed: struct topic_row *, owned with the array.
 * *out_completed: when a run last ended with everything in place, 0 never. */
GPtrArray *topic_store_list(struct db *db, int64_t *out_completed_utc_us, GError **error);
/* Whether topics are in use here: something is subscribed or was published. */
bool topic_store_used(struct db *db, bool *out_used, GError **error);

/* ---- messages ---- */

#define TOPIC_MESSAGE_STATES(X)                                                                    \
    X(TOPIC_SENDING, "sending")   /* committed before it leaves; next: any other */                \
    X(TOPIC_ACCEPTED, "accepted") /* final */                                                      \
    X(TOPIC_REFUSED, "refused")   /* final: the provider's word */                                 \
    X(TOPIC_UNKNOWN, "unknown")   /* final: it may have been taken */                              \
    X(TOPIC_FAILED, "failed")     /* final: surely not taken */
#define TOPIC_ENUM(id, word) id,
enum topic_message_state { TOPIC_MESSAGE_STATES(TOPIC_ENUM) TOPIC_STATE_COUNT };
#undef TOPIC_ENUM
const char *topic_state_name(enum topic_message_state state);

struct topic_message {
    int64_t id;
    char *commune, *topic;
    char *by_name, *reason;
    enum topic_message_state state;
    char *message_name, *detail; /* "" */
    int64_t requested_utc_us, answered_utc_us;
};
/* Of one broadcast, in order: struct topic_message *, owned with the array. */
GPtrArray *topic_store_messages(struct db *db, int64_t broadcast_id, GError **error);
/* Inserts one in state sending, in the caller's transaction; sets *out_id. */
bool topic_store_add_message(struct db *db, int64_t broadcast_id, const struct account *account,
                             const char *commune, const char *topic, const char *reason,
                             int64_t *out_id, GError **error);
/* sending → state; nothing when it is not sending. */
bool topic_store_settle_message(struct db *db, int64_t id, enum topic_message_state state,
                                const char *message_name, const char *detail, GError **error);
/* What a process that is gone left in state sending for longer than seconds becomes unknown. */
bool topic_store_settle_lost(struct db *db, int64_t broadcast_id, int64_t seconds, GError **error);

/* A correction that has not reached every topic to which its alert went. */
struct topic_owed {
    int64_t correction_id;
    char *alert_id;
};
/* Of one cancelled broadcast, or of all with 0, while they have not expired: struct topic_owed *,
 * owned with the array. */
GPtrArray *topic_store_owed(struct db *db, int64_t broadcast_id, GError **error);

#endif
