/* Gathers receipts on the loop and stores them in statements of up to RECEIPT_BATCH_MAX rows, at
 * most FLYING_MAX at once. A batch whose statement fails is dropped: nothing was confirmed, so its
 * devices repeat, and the memory stays bounded however long the database is away. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/receipt_store.h"

#define GATHER_MS   50
#define FLYING_MAX  2
#define WAITING_MAX 20000 /* receipts */

struct flying {
    struct receipt_batch_async *owner; /* NULL after free: the answer is dropped */
    struct receipt *receipts;
    size_t n;
};

struct receipt_batch_async {
    struct db_async *db;
    receipt_durable_cb cb;
    void *user;
    GArray *waiting; /* struct receipt */
    struct flying *flying[FLYING_MAX];
    guint timer; /* GATHER_MS after the first receipt; 0 = none */
};

static void send_batches(struct receipt_batch_async *batch, size_t at_least);

static void flying_free(struct flying *flying)
{
    g_free(flying->receipts);
    g_free(flying);
}

static void on_stored(PGresult *res, const GError *error, void *user)
{
    struct flying *flying = user;
    struct receipt_batch_async *batch = flying->owner;

    if (batch == NULL) {
        flying_free(flying);
        return;
    }
    for (size_t i = 0; i < FLYING_MAX; i++)
        if (batch->flying[i] == flying)
            batch->flying[i] = NULL;
    if (error != NULL) {
        log_event(LOG_LEVEL_ERROR, "receipts_failed", LOG_INT("receipts", flying->n),
                  LOG_STR("error", error->message));
        metric_add(METRIC_RECEIPTS_REFUSED, "database", (double)flying->n);
    } else {
        g_autofree enum receipt_result *results = g_new(enum receipt_result, flying->n);
        receipt_store_results(res, flying->receipts, flying->n, results);
        batch->cb(flying->receipts, results, flying->n, batch->user);
    }
    flying_free(flying);
    send_batches(batch, batch->timer == 0 ? 1 : RECEIPT_BATCH_MAX);
}

static void send_one(struct receipt_batch_async *batch, struct flying **slot)
{
    struct flying *flying = g_new0(struct flying, 1);

    flying->owner = batch;
    flying->n = MIN(batch->waiting->len, RECEIPT_BATCH_MAX);
    flying->receipts = g_memdup2(batch->waiting->data, flying->n * sizeof(struct receipt));
    g_array_remove_range(batch->waiting, 0, (guint)flying->n);
    *slot = flying;
    db_async_query(batch->db, receipt_store_sql, receipt_store_params(flying->receipts, flying->n),
                   on_stored, flying);
}

/* Sends while a slot is free and at least so many wait. */
static void send_batches(struct receipt_batch_async *batch, size_t at_least)
{
    for (size_t i = 0; i < FLYING_MAX; i++)
        if (batch->flying[i] == NULL && batch->waiting->len >= at_least)
            send_one(batch, &batch->flying[i]);
}

static gboolean on_gathered(gpointer user)
{
    struct receipt_batch_async *batch = user;

    batch->timer = 0;
    send_batches(batch, 1);
    return G_SOURCE_REMOVE;
}

struct receipt_batch_async *receipt_batch_async_new(struct db_async *db, receipt_durable_cb cb,
                                                    void *user)
{
    struct receipt_batch_async *batch = g_new0(struct receipt_batch_async, 1);

    batch->db = db;
    batch->cb = cb;
    batch->user = user;
    batch->waiting = g_array_new(FALSE, FALSE, sizeof(struct receipt));
    return batch;
}

void receipt_batch_async_free(struct receipt_batch_async *batch)
{
    if (batch == NULL)
        return;
    for (size_t i = 0; i < FLYING_MAX; i++)
        if (batch->flying[i] != NULL)
            batch->flying[i]->owner = NULL;
    if (batch->timer != 0)
        g_source_remove(batch->timer);
    g_array_unref(batch->waiting);
    g_free(batch);
}

bool receipt_batch_async_add(struct receipt_batch_async *batch, const struct receipt *receipt)
{
    if (batch->waiting->len >= WAITING_MAX) {
        metric_add(METRIC_RECEIPTS_REFUSED, "full", 1);
        return false;
    }
    g_array_append_val(batch->waiting, *receipt);
    if (batch->waiting->len >= RECEIPT_BATCH_MAX)
        send_batches(batch, RECEIPT_BATCH_MAX);
    else if (batch->timer == 0)
        batch->timer = g_timeout_add(GATHER_MS, on_gathered, batch);
    return true;
}
