/* One claimed push on its way through the outbox worker: read from the claim's row, rendered, and
 * turned into a result. */
#ifndef LOA_ENGINE_OUTBOX_ITEM_H
#define LOA_ENGINE_OUTBOX_ITEM_H

#include <glib.h>
#include <libpq-fe.h>

#include "engine/channel.h"
#include "engine/outbox_writer.h"
#include "engine/retry_policy.h"

struct outbox_item {
    GList link; /* in a queue of the worker; data is the item */
    struct push push;
    struct outbox_result result; /* grows until it is handed to the writer */
    const struct channel_ops *ops;
    struct channel_payload *payload; /* owned */
    void *owner;                     /* the queue's */
    int64_t lease_until_mono_us;     /* then it may be another's */
    int64_t expires_utc_us;
    int64_t token_at_us;
    int64_t hold_until_utc_us; /* not stored at APNs before: an emergency is; 0 = no hold */
    int64_t emergencies;       /* OUTBOX_COL_EMERGENCIES of the claim */
    bool proven;               /* the token was accepted before */
    bool unstored;             /* this push was, without being stored */
};

/* Reads row of a claim for a channel; the strings are copied. Its push is owned by the item; the
 * caller sets done, and what of the item is its own. Owned. */
struct outbox_item *outbox_item_new(const PGresult *res, int row, struct channel *channel,
                                    int64_t now_utc_us);
void outbox_item_free(struct outbox_item *item);
LOA_AUTO_DEFINE(outbox_item, outbox_item_free)

/* Whether it is to be sent now; renders it then. Else *result says what becomes of it at once:
 * the device is gone or moved, it is too late, an emergency still holds it. */
bool outbox_item_prepare(struct outbox_item *item, const PGresult *res, int row,
                         struct channel *channel, int64_t now_utc_us);

/* Completes result: an outcome or a state to wait in. reason is static. */
void outbox_item_settle(struct outbox_item *item, const char *state, int64_t delay_ms,
                        const char *reason);
/* Unsent: it waits again as it did before this claim. */
void outbox_item_put_back(struct outbox_item *item);
/* The provider has answered. *out says what the channel has to learn from it. */
void outbox_item_judge(struct outbox_item *item, const struct verdict *verdict, int64_t now_utc_us,
                       struct retry_decision *out);

#endif
