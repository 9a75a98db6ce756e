/* Group commit: requests queue their jobs and go on; one thread takes up to RECEIPT_BATCH_MAX
 * receipts, commits them and tells each job. The batch grows with the load: while one commits, the
 * next gathers. A lone receipt waits GATHER_US for company, so that a trickle costs the database
 * twenty small commits a second, not one per receipt. Every job comes back, because every
 * statement has a time limit. */
#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "engine/receipt.h"

#define WAITING_MAX 20000 /* receipts queued */
#define GATHER_US   (50 * USEC_PER_MSEC)

struct receipt_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* something is queued, a batch is full, or stop */
    char *conninfo;
    struct receipt_job *head, *tail;
    size_t waiting;   /* receipts queued */
    int64_t since_us; /* when the queue got its first job, monotonic */
    bool stop;
};

static int64_t now_us(void)
{
    return clock_system()->mono_us(clock_system());
}

/* Sleeps until there is a batch worth committing; false at the end. Under the lock. */
static bool wait_for_batch(struct receipt_writer *writer)
{
    while (!writer->stop && writer->waiting < RECEIPT_BATCH_MAX) {
        if (writer->head == NULL) {
            pthread_cond_wait(&writer->work, &writer->lock);
            continue;
        }
        int64_t until = writer->since_us + GATHER_US;
        struct timespec limit = {.tv_sec = until / USEC_PER_SEC,
                                 .tv_nsec = until % USEC_PER_SEC * 1000};
        if (until <= now_us() || pthread_cond_timedwait(&writer->work, &writer->lock, &limit) != 0)
            break;
    }
    return writer->head != NULL;
}

/* Takes jobs off the queue while their receipts fit one statement. Under the lock. */
static struct receipt_job *take_batch(struct receipt_writer *writer, size_t *out_n)
{
    struct receipt_job *first = writer->head;
    struct receipt_job *last = NULL;
    size_t n = 0;

    for (struct receipt_job *job = first; job != NULL && n + job->n <= RECEIPT_BATCH_MAX;
         job = job->next) {
        n += job->n;
        last = job;
    }
    writer->head = last->next;
    if (writer->head == NULL)
        writer->tail = NULL;
    last->next = NULL;
    writer->waiting -= n;
    *out_n = n;
    return first;
}

static bool store_batch(struct db **db, const char *conninfo, struct receipt_job *batch, size_t n,
                        GError **error)
{
    g_autofree struct receipt *receipts = g_new(struct receipt, n);
    g_autofree enum receipt_result *results = g_new(enum receipt_result, n);
    size_t at = 0;

    if (*db == NULL && (*db = db_open(conninfo, error)) == NULL)
        return false;
    for (struct receipt_job *job = batch; job != NULL; job = job->next) {
        memcpy(receipts + at, job->receipts, job->n * sizeof(*receipts));
        at += job->n;
    }
    if (!receipt_store(*db, receipts, n, results, error))
        return false;
    at = 0;
    for (struct receipt_job *job = batch; job != NULL; job = job->next) {
        memcpy(job->results, results + at, job->n * sizeof(*results));
        at += job->n;
    }
    return true;
}

static void finish_batch(struct receipt_job *batch, const GError *error)
{
    while (batch != NULL) {
        struct receipt_job *next = batch->next; /* it may be freed by done */
        batch->error = error != NULL ? g_error_copy(error) : NULL;
        batch->done(batch);
        batch = next;
    }
}

static void *writer_main(void *user)
{
    struct receipt_writer *writer = user;
    struct db *db = NULL;

    pthread_mutex_lock(&writer->lock);
    while (wait_for_batch(writer)) {
        g_autoptr(GError) error = NULL;
        size_t n;
        struct receipt_job *batch = take_batch(writer, &n);
        pthread_mutex_unlock(&writer->lock);
        if (!store_batch(&db, writer->conninfo, batch, n, &error)) {
            log_event(LOG_LEVEL_ERROR, "receipts_failed", LOG_INT("receipts", n),
                      LOG_STR("error", error->message));
            metric_add(METRIC_RECEIPTS_REFUSED, "database", (double)n);
        }
        finish_batch(batch, error);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    db_close(db);
    return NULL;
}

static void writer_free(struct receipt_writer *writer)
{
    pthread_cond_destroy(&writer->work);
    pthread_mutex_destroy(&writer->lock);
    g_free(writer->conninfo);
    g_free(writer);
}

struct receipt_writer *receipt_writer_start(const char *conninfo, GError **error)
{
    struct receipt_writer *writer = g_new0(struct receipt_writer, 1);
    pthread_condattr_t attr;
    int failed;

    pthread_mutex_init(&writer->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->work, &attr);
    pthread_condattr_destroy(&attr);
    writer->conninfo = g_strdup(conninfo);
    failed = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (failed == 0)
        return writer;
    g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "receipt thread: %s", g_strerror(failed));
    writer_free(writer);
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
    writer_free(writer);
}

bool receipt_writer_submit(struct receipt_writer *writer, struct receipt_job *job, GError **error)
{
    bool taken;

    assert(job->n > 0 && job->n <= RECEIPT_BATCH_MAX);
    job->next = NULL;
    pthread_mutex_lock(&writer->lock);
    taken = writer->waiting + job->n <= WAITING_MAX;
    if (taken) {
        if (writer->tail != NULL)
            writer->tail->next = job;
        else
            writer->head = job;
        if (writer->head == job)
            writer->since_us = now_us();
        writer->tail = job;
        writer->waiting += job->n;
        if (writer->head == job || writer->waiting >= RECEIPT_BATCH_MAX)
            pthread_cond_signal(&writer->work);
    }
    pthread_mutex_unlock(&writer->lock);
    if (taken)
        return true;
    metric_add(METRIC_RECEIPTS_REFUSED, "full", (double)job->n);
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "too many receipts wait; repeat it later");
    return false;
}
