/* lib: loa_engine loa_teststage */
/* Targeted notifications: written once, sent at least once, visible when they die, and second to
 * any emergency. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "engine/outbox.h"
#include "engine/outbox_worker.h"
#include "tests/support/stage.h"

#define SETTLED                                                                                    \
    "SELECT ((SELECT count(*) FROM notification) = (SELECT count(*) FROM notification_end))::int"

static struct stage *stage;
static struct script_channel *fcm, *mqtt;
static struct stage_loop *loop;
static struct outbox_worker *worker;

static struct outbox_worker *start_worker(struct stage_loop *with, int64_t lease_ms)
{
    static struct channel *channels[2];
    struct outbox_worker_options options = {.owner = "w",
                                            .db = with->db,
                                            .fanout = with->fanout,
                                            .clock = &with->clock.clock,
                                            .channels = channels,
                                            .n_channels = 2,
                                            .poll_ms = 50,
                                            .lease_ms = lease_ms};

    channels[0] = &fcm->channel;
    channels[1] = &mqtt->channel;
    return outbox_worker_new(&options);
}

static void start(int64_t lease_ms)
{
    struct script_channel *scripts[2];

    fcm = scripts[0] = script_channel_new("fcm");
    mqtt = scripts[1] = script_channel_new("mqtt");
    loop = stage_loop_new(stage, "outbox", scripts, 2);
    worker = start_worker(loop, lease_ms);
}

/* As in a kill -9: nothing more is written. */
static void stop(void)
{
    if (loop == NULL)
        return;
    db_async_free(loop->db);
    db_async_free(loop->db_plan);
    db_async_free(loop->db_scan);
    outbox_worker_free(worker);
    fanout_free(loop->fanout);
    g_free(loop);
    fcm->channel.ops->free(&fcm->channel);
    mqtt->channel.ops->free(&mqtt->channel);
    loop = NULL;
}

/* Devices 1–6: 1–3 on fcm, 4 on mqtt belong to account "an", 5 and 6 (fcm) to nobody. */
static int set_up(void **state)
{
    (void)state;
    stage = stage_new("outbox");
    stage_devices(stage, "fcm", 3, true);
    stage_devices(stage, "mqtt", 1, false);
    stage_devices(stage, "fcm", 2, false);
    stage_exec(stage, "UPDATE device SET account_id = (SELECT id FROM account WHERE name = 'an')"
                      " WHERE id <= 4");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    stage_assert_sums(stage);
    stage_free(stage);
    return 0;
}

static struct notification sample(const char *key, int64_t device_id)
{
    return (struct notification){
        .key = key,
        .account_id = device_id == 0 ? stage->creator->id : 0,
        .device_id = device_id,
        .title = "Kết quả xử lý",
        .body = "Phản ánh của ông/bà đã được giải quyết.",
        .expires_utc_us = g_get_real_time() + 3600 * USEC_PER_SEC,
    };
}

static void enqueue(const char *key, int64_t device_id)
{
    struct notification n = sample(key, device_id);
    g_autoptr(GError) error = NULL;

    if (!outbox_enqueue(stage->db, &n, 1, &error))
        fail_msg("%s", error->message);
}

static int64_t one(const char *sql)
{
    return stage_i64(stage, sql);
}

static void test_check(void **state)
{
    struct notification n;

    (void)state;
    n = sample("k", 1);
    assert_true(outbox_check(&n, NULL));
    n.key = "";
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.account_id = 1;
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.device_id = 0;
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.cls = "khan_cap"; /* loudness of an emergency is for broadcasts */
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.priority = 10;
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.title = "\xff";
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.body = "";
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.url = "http://a.vn";
    assert_false(outbox_check(&n, NULL));
    n = sample("k", 1);
    n.not_before_utc_us = n.expires_utc_us;
    assert_false(outbox_check(&n, NULL));
}

/* The row stands or falls with its cause, and a key counts once. */
static void test_enqueue_in_the_callers_transaction(void **state)
{
    (void)state;
    assert_true(db_begin(stage->db, NULL));
    enqueue("case:1", 0);
    db_rollback(stage->db);
    assert_int_equal(one("SELECT count(*) FROM notification"), 0);
    assert_true(db_begin(stage->db, NULL));
    enqueue("case:1", 0);
    enqueue("case:1", 0);
    assert_true(db_commit(stage->db, NULL));
    enqueue("case:1", 5);
    assert_int_equal(one("SELECT count(*) FROM notification WHERE account_id IS NOT NULL"), 1);
}

/* The database knows it a moment before the worker's callback has counted it. */
static bool three_are_counted(void *before)
{
    return metric_get(METRIC_OUTBOX_SENT, "fcm/ACCEPTED") == *(double *)before + 3;
}

static void test_reaches_every_device_of_the_account(void **state)
{
    double before;

    (void)state;
    enqueue("case:2", 0);
    before = metric_get(METRIC_OUTBOX_SENT, "fcm/ACCEPTED");
    start(0);
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 1), 1);
    assert_int_equal(script_sends(fcm, 2), 1);
    assert_int_equal(script_sends(fcm, 3), 1);
    assert_int_equal(script_sends(mqtt, 4), 1);
    assert_int_equal(script_sends(fcm, 5), 0);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'done'"), 1);
    stage_until_true(three_are_counted, &before);
    /* NOTIFY wakes a running worker; a token accepted for the first time is remembered. */
    enqueue("case:2b", 5);
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 5), 1);
    stage_until(stage, "SELECT (proven_at IS NOT NULL)::int FROM device WHERE id = 5");
}

static void test_not_before(void **state)
{
    struct notification later = sample("case:3", 1);

    (void)state;
    start(0);
    later.not_before_utc_us = g_get_real_time() + 1800 * USEC_PER_SEC;
    assert_true(outbox_enqueue(stage->db, &later, 1, NULL));
    enqueue("case:3b", 2);
    stage_until(stage, "SELECT count(*) FROM notification_status WHERE state = 'done'");
    assert_int_equal(script_sends(fcm, 1), 0);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'pending'"), 1);
    stage_exec(stage, "UPDATE notification_due SET not_before = now()");
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 1), 1);
}

static void test_dead_letters(void **state)
{
    struct notification late = sample("late", 1);

    (void)state;
    stage_exec(stage, "UPDATE device SET channel = 'none', push_token = NULL, id_kind = NULL,"
                      " retired_at = now() WHERE id = 6");
    enqueue("gone", 6);
    assert_true(outbox_enqueue(stage->db, &late, 1, NULL));
    stage_exec(stage, "UPDATE notification SET expires_at = now() WHERE dedupe_key = 'late'");
    start(0);
    stage_until(stage, SETTLED);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'dead'"
                         " AND dead_reason = 'no_device' AND dedupe_key = 'gone'"),
                     1);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'dead'"
                         " AND dead_reason = 'expired' AND dedupe_key = 'late'"),
                     1);
    assert_int_equal(script_sends(fcm, 1), 0);
}

static bool judge_dead(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)push;
    out->kind = VERDICT_DEAD_TOKEN;
    out->reason = "UNREGISTERED";
    return true;
}

static void test_dead_token(void **state)
{
    (void)state;
    start(0);
    fcm->judge = judge_dead;
    enqueue("dead", 2);
    stage_until(stage, SETTLED);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'dead'"
                         " AND dead_reason = 'dead_token:UNREGISTERED'"),
                     1);
    stage_until(stage, "SELECT (channel = 'none')::int FROM device WHERE id = 2");
    /* Another device of the same account got it: not dead. */
    enqueue("partly", 0);
    stage_until(stage, SETTLED);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'done' AND "
                         "dedupe_key = 'partly'"),
                     1);
}

static bool judge_twice_bad(struct script_channel *self, const struct push *push,
                            struct verdict *out)
{
    static const enum verdict_kind kinds[] = {VERDICT_TRANSIENT, VERDICT_UNKNOWN, VERDICT_ACCEPTED};
    int n = script_sends(self, push->device_id);

    out->kind = kinds[MIN(n, 3) - 1];
    out->retry_after_ms = 100;
    return true;
}

/* A 503, then an answer that never came: sent again both times (the app drops a repeat). */
static void test_tried_again(void **state)
{
    (void)state;
    start(0);
    fcm->judge = judge_twice_bad;
    enqueue("again", 1);
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 1), 3);
    assert_int_equal(one("SELECT attempt::int FROM notification_push"), 3);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'done'"), 1);
}

static bool judge_hold(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)push;
    (void)out;
    return false;
}

static bool holds_one(void *user)
{
    return ((struct script_channel *)user)->held->len > 0;
}

/* Killed while the request is out: another process sends it again after the lease. */
static void test_takeover(void **state)
{
    (void)state;
    start(300);
    fcm->judge = judge_hold;
    enqueue("takeover", 1);
    stage_until_true(holds_one, fcm);
    stop();
    stage_assert_sums(stage);
    start(300);
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 1), 1);
    assert_int_equal(one("SELECT epoch FROM notification_push"), 2);
}

/* A frozen process writes its answer after another one took the push over: refused. */
static void test_late_write_is_refused(void **state)
{
    (void)state;
    start(0);
    fcm->judge = judge_hold;
    enqueue("late-write", 1);
    stage_until_true(holds_one, fcm);
    stage_exec(stage, "UPDATE notification_push SET epoch = epoch + 1, lease_owner = 'other',"
                      " next_at = now() + interval '1 second'");
    script_answer_all(fcm, VERDICT_REJECTED_PAYLOAD);
    fcm->judge = NULL;
    stage_until(stage, SETTLED);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'done'"), 1);
    assert_int_equal(script_sends(fcm, 1), 2);
}

static int emergency_sends, sends_before_targeted;

static bool judge_order(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)out;
    if (push->broadcast_id != 0)
        emergency_sends++;
    else
        sends_before_targeted = emergency_sends;
    return emergency_sends > 1; /* the first waits for its answer */
}

/* While an emergency has pushes waiting for the channel's room, nothing targeted takes it. */
static void test_emergency_first(void **state)
{
    (void)state;
    emergency_sends = sends_before_targeted = 0;
    start(0);
    fcm->room = 1;
    fcm->judge = judge_order;
    stage_release(stage, true);
    stage_until_true(holds_one, fcm);
    enqueue("second", 1);
    stage_until(stage, "SELECT (state = 'sending')::int FROM notification_status");
    script_answer_all(fcm, VERDICT_ACCEPTED);
    stage_until(stage, SETTLED);
    assert_int_equal(sends_before_targeted, 5);
}

static void test_stop_switch(void **state)
{
    (void)state;
    stage_exec(stage, "INSERT INTO fanout_stop VALUES ('channel:fcm', 'x', 'an', now())");
    enqueue("stopped", 1);
    enqueue("passes", 4);
    start(0);
    stage_until(stage, "SELECT count(*) FROM notification_status WHERE dedupe_key = 'passes'"
                       " AND state = 'done'");
    assert_int_equal(script_sends(fcm, 1), 0);
    stage_exec(stage, "DELETE FROM fanout_stop");
    stage_exec(stage, "NOTIFY loa_fanout");
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 1), 1);
}

/* The device registered a push token meanwhile: the push follows it. */
static void test_moved_device(void **state)
{
    (void)state;
    enqueue("moved", 4);
    stage_exec(stage, "SELECT outbox_take(10, '{}', 10, 'other', 1000)");
    stage_exec(stage, "UPDATE device SET channel = 'fcm', id_kind = 'token', push_token = 'new'"
                      " WHERE id = 4");
    start(0);
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 4), 1);
    assert_int_equal(script_sends(mqtt, 4), 0);
}

static void test_retry_of_a_dead_letter(void **state)
{
    g_autoptr(GPtrArray) dead = NULL;
    g_autoptr(GError) error = NULL;
    const struct outbox_row *row;

    (void)state;
    start(0);
    stage_exec(stage, "UPDATE device SET channel = 'none', push_token = NULL, id_kind = NULL,"
                      " retired_at = now() WHERE id = 6");
    enqueue("comes-back", 6);
    stage_until(stage, SETTLED);
    dead = outbox_list(stage->db, "dead", 10, NULL);
    assert_int_equal(dead->len, 1);
    row = dead->pdata[0];
    assert_string_equal(row->reason, "no_device");
    stage_exec(stage, "UPDATE device SET channel = 'fcm', push_token = 't6', id_kind = 'token',"
                      " retired_at = NULL WHERE id = 6");
    assert_true(outbox_retry(stage->db, row->id, 3600, NULL));
    stage_until(stage, SETTLED);
    assert_int_equal(script_sends(fcm, 6), 1);
    assert_false(outbox_retry(stage->db, row->id, 3600, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    g_clear_error(&error);
    assert_false(outbox_retry(stage->db, 99999, 3600, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
}

static bool drained;

static void on_drained(void *user)
{
    (void)user;
    drained = true;
}

static bool is_drained(void *user)
{
    (void)user;
    return drained;
}

/* An orderly end: what is out is answered and written, the rest goes back at once. */
static void test_drain(void **state)
{
    (void)state;
    start(0);
    fcm->room = 1;
    fcm->judge = judge_hold;
    enqueue("drain", 0);
    stage_until_true(holds_one, fcm);
    drained = false;
    outbox_worker_drain(worker, on_drained, NULL);
    assert_false(drained);
    script_answer_all(fcm, VERDICT_ACCEPTED);
    stage_until_true(is_drained, NULL);
    assert_int_equal(one("SELECT count(*) FROM notification_push WHERE state = 'flying'"), 0);
    assert_int_equal(fcm->sent, 1);
    stop();
    start(0);
    stage_until(stage, SETTLED);
    assert_int_equal(one("SELECT count(*) FROM notification_push WHERE state = 'ACCEPTED'"), 4);
}

/* Many, on two channels, through two workers: each is settled, none is lost or sent twice. */
static void test_two_workers(void **state)
{
    struct stage_loop *second;
    struct outbox_worker *other;
    struct script_channel *scripts[2];
    struct script_channel *first_fcm, *first_mqtt;
    uint64_t total;

    (void)state;
    stage_exec(stage, "WITH n AS (INSERT INTO notification (dedupe_key, account_id, title, body,"
                      " expires_at) SELECT 'bulk:' || g, a.id, 't', 'b', now() + interval '1 hour'"
                      " FROM generate_series(1, 2000) AS g, account a WHERE a.name = 'an'"
                      " RETURNING id, priority, not_before)"
                      " INSERT INTO notification_due SELECT * FROM n");
    start(0);
    first_fcm = fcm;
    first_mqtt = mqtt;
    fcm = scripts[0] = script_channel_new("fcm");
    mqtt = scripts[1] = script_channel_new("mqtt");
    second = stage_loop_new(stage, "second", scripts, 2);
    other = start_worker(second, 0);
    stage_until(stage, SETTLED);
    total = fcm->sent + mqtt->sent + first_fcm->sent + first_mqtt->sent;
    assert_int_equal(total, 8000);
    assert_int_equal(one("SELECT count(*) FROM notification_push WHERE state = 'ACCEPTED'"), 8000);
    assert_int_equal(one("SELECT count(*) FROM notification_status WHERE state = 'done'"), 2000);
    db_async_free(second->db);
    db_async_free(second->db_plan);
    db_async_free(second->db_scan);
    outbox_worker_free(other);
    fanout_free(second->fanout);
    g_free(second);
    fcm->channel.ops->free(&fcm->channel);
    mqtt->channel.ops->free(&mqtt->channel);
    fcm = first_fcm;
    mqtt = first_mqtt;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_check),
        TEST(test_enqueue_in_the_callers_transaction),
        TEST(test_reaches_every_device_of_the_account),
        TEST(test_not_before),
        TEST(test_dead_letters),
        TEST(test_dead_token),
        TEST(test_tried_again),
        TEST(test_takeover),
        TEST(test_late_write_is_refused),
        TEST(test_emergency_first),
        TEST(test_stop_switch),
        TEST(test_moved_device),
        TEST(test_retry_of_a_dead_letter),
        TEST(test_drain),
        TEST(test_two_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
