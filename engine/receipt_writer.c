/* Group commit: callers queue and sleep; one thread takes up to RECEIPT_BATCH_MAX receipts, commits
 * them and wakes their callers. While it commits, the next batch gathers, so the batch grows with
 * the load and nobody waits for a timer. The caller's frame owns the memory: it sleeps until its
 * entry is done, and the thread always comes back (every statement has a time limit). */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "engine/receipt.h"

#define WAITING_MAX 10000 /* receipts queued */

struct waiter {
    const struct receipt *receipts;
    enum receipt_result *results;
    size_t n;
    bool done;
    GError *error;
    struct waiter *next;
};

struct receipt_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;  /* something is queued, or stop */
    pthread_cond_t ready; /* a batch is done */
    char *conninfo;
    struct waiter *head, *tail;
    size_t waiting; /* receipts queued */
    bool stop;
};

/* Takes waiters off the queue while their receipts fit one statement. Under the lock. */
static struct waiter *take_batch(struct receipt_writer *writer, size_t *out_n)
{
    struct waiter *first = writer->head;
    struct waiter *last = NULL;
    size_t n = 0;

    for (struct waiter *w = first; w != NULL && n + w->n <= RECEIPT_BATCH_MAX; w = w->next) {
        n += w->n;
        last = w;
    }
    writer->head = last->next;
    if (writer->head == NULL)
        writer->tail = NULL;
    last->next = NULL;
    writer->waiting -= n;
    *out_n = n;
    return first;
}

static bool store_batch(struct db **db, const char *conninfo, struct waiter *batch, size_t n,
                        GError **error)
{
    g_autofree struct receipt *receipts = g_new(struct receipt, n);
    g_autofree enum receipt_result *results = g_new(enum receipt_result, n);
    size_t at = 0;

    if (*db == NULL && (*db = db_open(conninfo, error)) == NULL)
        return false;
    for (struct waiter *w = batch; w != NULL; w = w->next) {
        memcpy(receipts + at, w->receipts, w->n * sizeof(*receipts));
        at += w->n;
    }
    if (!receipt_store(*db, receipts, n, results, error))
        return false;
    at = 0;
    for (struct waiter *w = batch; w != NULL; w = w->next) {
        memcpy(w->results, results + at, w->n * sizeof(*results));
        at += w->n;
    }
    return true;
}

static void finish_batch(struct receipt_writer *writer, struct waiter *batch, const GError *error)
{
    while (batch != NULL) {
        struct waiter *next = batch->next; /* its frame may end once done is set */
        batch->error = error != NULL ? g_error_copy(error) : NULL;
        batch->done = true;
        batch = next;
    }
    pthread_cond_broadcast(&writer->ready);
}

static void *writer_main(void *user)
{
    struct receipt_writer *writer = user;
    struct db *db = NULL;

    pthread_mutex_lock(&writer->lock);
    for (;;) {
        g_autoptr(GError) error = NULL;
        struct waiter *batch;
        size_t n;

        while (writer->head == NULL && !writer->stop)
            pthread_cond_wait(&writer->work, &writer->lock);
        if (writer->head == NULL)
            break;
        batch = take_batch(writer, &n);
        pthread_mutex_unlock(&writer->lock);
        if (!store_batch(&db, writer->conninfo, batch, n, &error))
            log_event(LOG_LEVEL_ERROR, "receipts_failed", LOG_INT("receipts", n),
                      LOG_STR("error", error->message));
        pthread_mutex_lock(&writer->lock);
        finish_batch(writer, batch, error);
    }
    pthread_mutex_unlock(&writer->lock);
    db_close(db);
    return NULL;
}

struct receipt_writer *receipt_writer_start(const char *conninfo, GError **error)
{
    struct receipt_writer *writer = g_new0(struct receipt_writer, 1);
    int failed;

    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->work, NULL);
    pthread_cond_init(&writer->ready, NULL);
    writer->conninfo = g_strdup(conninfo);
    failed = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (failed == 0)
        return writer;
    g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "receipt thread: %s", g_strerror(failed));
    g_free(writer->conninfo);
    g_free(writer);
    return NULL;
}

void receipt_writer_stop(struct receipt_writer *writer)
{
    if (writer == NULL)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stop = true;
    pthread_cond_signal(&writer->work);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->ready);
    pthread_cond_destroy(&writer->work);
    pthread_mutex_destroy(&writer->lock);
    g_free(writer->conninfo);
    g_free(writer);
}

bool receipt_writer_store(struct receipt_writer *writer, const struct receipt *receipts, size_t n,
                          enum receipt_result *out_results, GError **error)
{
    struct waiter waiter = {.receipts = receipts, .results = out_results, .n = n};

    assert(n > 0 && n <= RECEIPT_BATCH_MAX);
    pthread_mutex_lock(&writer->lock);
    if (writer->waiting + n > WAITING_MAX) {
        pthread_mutex_unlock(&writer->lock);
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "too many receipts wait; repeat it later");
        return false;
    }
    if (writer->tail != NULL)
        writer->tail->next = &waiter;
    else
        writer->head = &waiter;
    writer->tail = &waiter;
    writer->waiting += n;
    pthread_cond_signal(&writer->work);
    while (!waiter.done)
        pthread_cond_wait(&writer->ready, &writer->lock);
    pthread_mutex_unlock(&writer->lock);
    if (waiter.error != NULL)
        g_propagate_error(error, waiter.error);
    return waiter.error == NULL;
}
