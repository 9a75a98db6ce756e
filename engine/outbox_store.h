/* SQL of the outbox worker. Each statement is its own transaction and may be repeated. */
#ifndef LOA_ENGINE_OUTBOX_STORE_H
#define LOA_ENGINE_OUTBOX_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/db_async.h"

enum outbox_column { /* of outbox_take and outbox_claim */
                     OUTBOX_COL_ID,
                     OUTBOX_COL_DEVICE,  /* null: nothing of it was claimed */
                     OUTBOX_COL_EPOCH,   /* of this claim */
                     OUTBOX_COL_ATTEMPT, /* attempts made so far */
                     OUTBOX_COL_TITLE,
                     OUTBOX_COL_BODY,
                     OUTBOX_COL_URL,
                     OUTBOX_COL_CLASS,
                     OUTBOX_COL_CREATED,
                     OUTBOX_COL_EXPIRES,
                     OUTBOX_COL_CHANNEL, /* the device's now; null = gone */
                     OUTBOX_COL_TOKEN,   /* null for mqtt */
                     OUTBOX_COL_FID,     /* null for mqtt */
                     OUTBOX_COL_SANDBOX, /* null but for apns */
                     OUTBOX_COL_TOKEN_AT,
                     OUTBOX_COL_PROVEN,
                     OUTBOX_COL_UNSTORED, /* accepted before, but not stored */
                     OUTBOX_COL_HOLD_MS,  /* an emergency keeps others out of APNs' store so long;
                                             null = none */
                     OUTBOX_COL_EMERGENCIES, /* a number that changes when an emergency begins or
                                                ends */
};

/* Who claims. */
struct outbox_claimer {
    const char *owner;
    int64_t lease_ms;
};
/* Turns at most batch due notifications into pushes and claims up to room of them on these
 * channels. The first row has OUTBOX_COL_EMERGENCIES only; call again when others follow, with or
 * without a device. */
void outbox_take(struct db_async *db, const struct outbox_claimer *claimer, int batch,
                 const char *const *channels, size_t n_channels, int room, db_async_cb cb,
                 void *user);
/* Claims up to room pushes that wait on a channel and are due, most urgent first; none under a stop
 * switch. */
void outbox_claim(struct db_async *db, const struct outbox_claimer *claimer, const char *channel,
                  int room, db_async_cb cb, void *user);
/* Ends what has expired, of at most batch notifications. */
void outbox_expire(struct db_async *db, int batch, db_async_cb cb, void *user);

/* What became of n claimed pushes; arrays are borrowed until the call returns. state: an outcome,
 * "queued" to try again after delay_ms (on the channel where the device is by then), or "unstored"
 * to be looked at after delay_ms. One row: how many were still ours. */
struct outbox_results {
    size_t n;
    const int64_t *notification;
    const int64_t *device;
    const int32_t *epoch;
    const char *const *state;
    const int64_t *delay_ms;
    const int32_t *attempt;
    const char *const *reason;
};
void outbox_settle(struct db_async *db, const struct outbox_results *results, db_async_cb cb,
                   void *user);

/* Tokens that are dead (retired) or accepted for the first time, unless the device has told a new
 * one meanwhile. */
struct outbox_tokens {
    size_t n_dead;
    const int64_t *dead_device;
    const char *const *dead_token;
    size_t n_proven;
    const int64_t *proven_device;
    const char *const *proven_token;
};
void outbox_learn_tokens(struct db_async *db, const struct outbox_tokens *tokens, db_async_cb cb,
                         void *user);

#endif
