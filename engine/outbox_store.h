/* SQL of the outbox worker. Each statement is its own transaction and may be repeated. */
#ifndef LOA_ENGINE_OUTBOX_STORE_H
#define LOA_ENGINE_OUTBOX_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/db_async.h"

/* Turns due notifications into pushes and ends expired ones. One row: how many were due, at most
 * batch. */
void outbox_expand(struct db_async *db, int batch, db_async_cb cb, void *user);

enum outbox_column {
    OUTBOX_COL_ID,
    OUTBOX_COL_DEVICE,
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
};
/* Claims up to limit pushes that are due on a channel, most urgent first, for lease_ms; none
 * under a stop switch. */
void outbox_claim(struct db_async *db, const char *channel, int limit, const char *owner,
                  int64_t lease_ms, db_async_cb cb, void *user);

/* What became of n claimed pushes; arrays are borrowed until the call returns. state: an outcome,
 * or "queued" to try again after delay_ms (on the channel where the device is by then). One row:
 * how many were still ours. */
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
