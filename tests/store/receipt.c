/* lib: loa_engine loa_teststage */
/* Receipts against PostgreSQL: counted once per device, confirmed only when durable. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/receipt.h"
#include "tests/support/stage.h"

#define DEVICES 200

static int64_t alert; /* the released broadcast */
static char alert_id[RECEIPT_ALERT_ID_MAX + 1];

static struct receipt receipt(int64_t device_id, enum receipt_event event)
{
    struct receipt one = {.version = 1, .device_id = device_id, .event = event};

    g_strlcpy(one.alert_id, alert_id, sizeof(one.alert_id));
    return one;
}

static void store(struct stage *stage, const struct receipt *receipts, size_t n,
                  enum receipt_result *results)
{
    g_autoptr(GError) error = NULL;

    if (!receipt_store(stage->db, receipts, n, results, &error))
        fail_msg("%s", error->message);
}

static void test_once_per_device(void **state)
{
    struct stage *stage = *state;
    struct receipt receipts[] = {receipt(1, RECEIPT_SHOWN), receipt(1, RECEIPT_SHOWN),
                                 receipt(2, RECEIPT_OPENED), receipt(3, RECEIPT_SHOWN)};
    enum receipt_result results[4];
    int64_t first;

    for (int again = 0; again < 2; again++) {
        store(stage, receipts, 4, results);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(results[i], RECEIPT_STORED);
        assert_int_equal(stage_i64(stage, "SELECT count(*) FROM receipt"), 3);
        assert_int_equal(stage_i64(stage, "SELECT count(shown_at) FROM receipt"), 3);
        assert_int_equal(stage_i64(stage, "SELECT count(opened_at) FROM receipt"), 1);
    }
    /* Opened after shown completes the row, and the first instant stays. */
    first = stage_i64(stage, "SELECT (extract(epoch FROM shown_at) * 1000000)::bigint FROM receipt "
                             "WHERE device_id = 3");
    receipts[3].event = RECEIPT_OPENED;
    store(stage, &receipts[3], 1, results);
    assert_int_equal(stage_i64(stage, "SELECT count(opened_at) FROM receipt"), 2);
    assert_int_equal(stage_i64(stage, "SELECT (extract(epoch FROM shown_at) * 1000000)::bigint "
                                      "FROM receipt WHERE device_id = 3"),
                     first);
    stage_exec(stage, "DELETE FROM receipt");
}

static void test_unknown(void **state)
{
    struct stage *stage = *state;
    struct receipt receipts[] = {receipt(1, RECEIPT_SHOWN), receipt(1, RECEIPT_SHOWN),
                                 receipt(999999, RECEIPT_SHOWN), receipt(2, RECEIPT_SHOWN)};
    enum receipt_result results[4];

    receipts[0].version = 2;
    g_strlcpy(receipts[1].alert_id, "20000101-NOSUCH", sizeof(receipts[1].alert_id));
    store(stage, receipts, 4, results);
    assert_int_equal(results[0], RECEIPT_UNKNOWN);
    assert_int_equal(results[1], RECEIPT_UNKNOWN);
    assert_int_equal(results[2], RECEIPT_UNKNOWN);
    assert_int_equal(results[3], RECEIPT_STORED);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM receipt"), 1);
    stage_exec(stage, "DELETE FROM receipt");
}

/* ---- the writer of the HTTP threads ---- */

#define THREADS 8

/* Jobs of all callers; what the writer's thread has handed back. */
struct crowd {
    struct receipt_writer *writer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t done, failed, retry;
};

struct pair {
    struct receipt_job job; /* first */
    struct crowd *crowd;
    struct receipt receipts[2];
    enum receipt_result results[2];
};

static void pair_done(struct receipt_job *job)
{
    struct pair *pair = (struct pair *)job;
    struct crowd *crowd = pair->crowd;

    pthread_mutex_lock(&crowd->lock);
    crowd->done++;
    crowd->failed += job->error != NULL || job->results[0] != RECEIPT_STORED ||
                     job->results[1] != RECEIPT_STORED;
    crowd->retry += g_error_matches(job->error, LOA_ERROR, LOA_ERROR_RETRY);
    pthread_cond_signal(&crowd->changed);
    pthread_mutex_unlock(&crowd->lock);
    g_clear_error(&job->error);
    g_free(pair);
}

static bool submit_pair(struct crowd *crowd, int64_t device)
{
    struct pair *pair = g_new0(struct pair, 1);
    g_autoptr(GError) error = NULL;

    pair->crowd = crowd;
    pair->receipts[0] = receipt(device, RECEIPT_SHOWN);
    pair->receipts[1] = receipt(device, RECEIPT_OPENED);
    pair->job = (struct receipt_job){
        .receipts = pair->receipts, .n = 2, .results = pair->results, .done = pair_done};
    if (receipt_writer_submit(crowd->writer, &pair->job, &error))
        return true;
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    g_free(pair);
    return false;
}

static void wait_done(struct crowd *crowd, size_t n)
{
    pthread_mutex_lock(&crowd->lock);
    while (crowd->done < n)
        pthread_cond_wait(&crowd->changed, &crowd->lock);
    pthread_mutex_unlock(&crowd->lock);
}

static void crowd_init(struct crowd *crowd, const char *conninfo)
{
    g_autoptr(GError) error = NULL;

    *crowd = (struct crowd){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    crowd->writer = receipt_writer_start(conninfo, &error);
    assert_non_null(crowd->writer);
}

struct caller {
    struct crowd *crowd;
    size_t number;
};

static void *call(void *user)
{
    const struct caller *caller = user;

    for (int64_t device = 1 + (int64_t)caller->number; device <= DEVICES; device += THREADS)
        if (!submit_pair(caller->crowd, device))
            return GINT_TO_POINTER(1);
    return NULL;
}

/* All of them are told, those that wait at the stop, too; and only when the rows are there. */
static void test_writer(void **state)
{
    struct stage *stage = *state;
    struct crowd crowd;
    pthread_t threads[THREADS];
    struct caller callers[THREADS];
    void *failed;

    crowd_init(&crowd, stage->conninfo);
    assert_true(submit_pair(&crowd, 1));
    wait_done(&crowd, 1);
    assert_int_equal(stage_i64(stage, "SELECT count(opened_at) FROM receipt"), 1);
    for (size_t i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){&crowd, i};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    receipt_writer_stop(crowd.writer);
    assert_int_equal(crowd.done, DEVICES + 1);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(stage_i64(stage, "SELECT count(opened_at) FROM receipt"), DEVICES);
    stage_exec(stage, "DELETE FROM receipt");
}

static void test_writer_without_database(void **state)
{
    struct crowd crowd;

    (void)state;
    crowd_init(&crowd, "host=/nonexistent dbname=x");
    assert_true(submit_pair(&crowd, 1));
    wait_done(&crowd, 1);
    assert_int_equal(crowd.retry, 1);
    receipt_writer_stop(crowd.writer);
}

/* A commit that hangs: what waits for it has a limit, what is above is told at once; then all of
 * the others are stored. */
static void test_writer_is_bounded(void **state)
{
    struct stage *stage = *state;
    g_autoptr(GError) error = NULL;
    loa_auto(db) other = db_open(stage->conninfo, &error);
    struct crowd crowd;
    size_t taken = 0;

    assert_non_null(other);
    assert_true(db_begin(other, &error) &&
                db_exec(other, "LOCK TABLE receipt IN ACCESS EXCLUSIVE MODE", NULL, &error));
    crowd_init(&crowd, stage->conninfo);
    while (taken < 100000 && submit_pair(&crowd, 1 + (int64_t)(taken % DEVICES)))
        taken++;
    assert_in_range(taken, 10000, 10000 + RECEIPT_BATCH_MAX / 2);
    assert_true(db_commit(other, &error));
    receipt_writer_stop(crowd.writer);
    assert_int_equal(crowd.done, taken);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(stage_i64(stage, "SELECT count(opened_at) FROM receipt"), DEVICES);
    stage_exec(stage, "DELETE FROM receipt");
}

/* ---- the batcher of the event loop ---- */

struct seen {
    size_t stored, unknown, calls;
};

static void on_durable(const struct receipt *receipts, const enum receipt_result *results, size_t n,
                       void *user)
{
    struct seen *seen = user;

    (void)receipts;
    seen->calls++;
    for (size_t i = 0; i < n; i++)
        (*(results[i] == RECEIPT_STORED ? &seen->stored : &seen->unknown))++;
}

static bool all_seen(void *user)
{
    const struct seen *seen = user;

    return seen->stored + seen->unknown == 2 * DEVICES + 1;
}

static void test_async(void **state)
{
    struct stage *stage = *state;
    loa_auto(db_async) db = db_async_new(stage->conninfo, 100, clock_system());
    struct seen seen = {0};
    loa_auto(receipt_batch_async) batch = receipt_batch_async_new(db, on_durable, &seen);
    struct receipt one;

    for (int64_t device = 1; device <= DEVICES; device++) {
        one = receipt(device, RECEIPT_SHOWN);
        assert_true(receipt_batch_async_add(batch, &one));
        one.event = RECEIPT_OPENED;
        assert_true(receipt_batch_async_add(batch, &one));
    }
    one = receipt(999999, RECEIPT_SHOWN);
    assert_true(receipt_batch_async_add(batch, &one));
    assert_int_equal(seen.calls, 0);
    stage_until_true(all_seen, &seen);
    assert_int_equal(seen.stored, 2 * DEVICES);
    assert_int_equal(stage_i64(stage, "SELECT count(opened_at) FROM receipt"), DEVICES);
    stage_exec(stage, "DELETE FROM receipt");
}

/* A database that is away confirms nothing; what waits has a limit. */
static void test_async_is_bounded(void **state)
{
    loa_auto(db_async) db = db_async_new("host=/nonexistent dbname=x", 100, clock_system());
    struct seen seen = {0};
    loa_auto(receipt_batch_async) batch = receipt_batch_async_new(db, on_durable, &seen);
    struct receipt one = receipt(1, RECEIPT_SHOWN);
    size_t taken = 0;

    (void)state;
    while (taken < 100000 && receipt_batch_async_add(batch, &one))
        taken++;
    assert_in_range(taken, 20000, 30000);
    assert_int_equal(seen.calls, 0);
}

static int setup(void **state)
{
    struct stage *stage = stage_new("receipt");
    g_autoptr(PGresult) res = NULL;

    stage_devices(stage, "fcm", DEVICES, true);
    alert = stage_release(stage, true);
    res = db_query(stage->db, "SELECT alert_id FROM broadcast", NULL, NULL);
    g_strlcpy(alert_id, db_get_text(res, 0, 0), sizeof(alert_id));
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    stage_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_per_device),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_without_database),
        cmocka_unit_test(test_writer_is_bounded),
        cmocka_unit_test(test_async),
        cmocka_unit_test(test_async_is_bounded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
