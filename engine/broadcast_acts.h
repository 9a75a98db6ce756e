/* What people do with broadcasts: create, approve (= release), cancel. Each is one transaction that
 * writes the change, the audit row and the wake-up together. Blocking. The command line uses it,
 * and so will HTTP: every rule about who may do what stands here and below. */
#ifndef LOA_ENGINE_BROADCAST_ACTS_H
#define LOA_ENGINE_BROADCAST_ACTS_H

#include "base/db.h"
#include "engine/account.h"
#include "engine/broadcast.h"
#include "engine/release.h"

/* Who acts and with what. Everything is borrowed. */
struct broadcast_actor {
    struct db *db;
    const struct account *account;
    const struct signing_key *account_key;
    const struct signing_key *release_key;   /* approve, cancel of a released one; else NULL */
    const char *release_key_id;              /* name of the signing key in every alert */
    const struct release_keys *release_keys; /* cancel: who may have released the original */
    const struct broadcast_meter *meter;     /* create, approve: where the payloads must fit;
                                                NULL = no channel is set up here */
};

struct broadcast_create_options {
    const char *idempotency_key; /* NULL = none; a repeat returns the first one's row */
    bool again;                  /* the same title was released minutes ago: meant so */
};
/* Prepares, checks, measures, signs and stores a draft; sets id, alert_id and hash. When the
 * idempotency key was used before, loads nothing new: out_existing is its id (else 0). INVALID for
 * everything wrong with the content; CONFLICT for a duplicate title or another content under the
 * same key; DENIED. notes as in broadcast_prepare. */
bool broadcast_create(const struct broadcast_actor *actor, struct broadcast *broadcast,
                      const struct broadcast_create_options *options, GPtrArray *notes,
                      int64_t *out_existing, GError **error);

/* Releases a draft whose content hash is the one that the approver was shown. *out_already: the
 * same account had released it before; nothing was done. DENIED for the creator itself; CONFLICT
 * for a wrong state, an expired or altered draft, a duplicate title without again. */
bool broadcast_approve(const struct broadcast_actor *actor, int64_t id,
                       const uint8_t shown_hash[SHA256_LEN], bool again, bool *out_already,
                       GError **error);

/* Takes back: a draft is withdrawn; of a released broadcast the correction is signed and released
 * to exactly its frozen members. One person suffices. */
struct broadcast_cancel_result {
    bool already;          /* it was taken back before; nothing was done */
    bool withdrawn;        /* it was a draft: nobody had got it */
    int64_t correction_id; /* else: the correction */
};
bool broadcast_cancel(const struct broadcast_actor *actor, int64_t id, const char *reason,
                      struct broadcast_cancel_result *out, GError **error);

#endif
