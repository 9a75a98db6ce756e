/* lib: loa_engine loa_teststage */
/* While an emergency is live for a phone behind APNs, a targeted push displaces nothing, stays
 * owed, and is sent once more unless the phone's receipt comes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "engine/outbox.h"
#include "engine/outbox_worker.h"
#include "engine/receipt.h"
#include "tests/support/stage.h"

#define APNS    1 /* devices */
#define IOS     2 /* through FCM */
#define ANDROID 3
#define DEVICES 3

#define PUSH_OF(device) " FROM notification_push WHERE device_id = " G_STRINGIFY(device) " AND "
#define SETTLED                                                                                    \
    "SELECT ((SELECT count(*) FROM notification) = (SELECT count(*) FROM notification_end))::int"

static struct stage *stage;
static struct script_channel *apns, *fcm;
static struct stage_loop *loop;
static struct outbox_worker *worker;
static int stored[DEVICES + 1], unstored[DEVICES + 1]; /* targeted sends, per device */
static bool hold_answers;

static bool judge(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)out;
    if (push->broadcast_id != 0)
        return true;
    (script_stored(push) ? stored : unstored)[push->device_id]++;
    return !hold_answers;
}

static void start(int64_t lease_ms)
{
    static struct channel *channels[2];
    struct script_channel *scripts[2];
    struct outbox_worker_options options = {
        .owner = "w", .channels = channels, .n_channels = 2, .poll_ms = 50, .lease_ms = lease_ms};

    apns = scripts[0] = script_channel_new("apns");
    fcm = scripts[1] = script_channel_new("fcm");
    apns->judge = fcm->judge = judge;
    channels[0] = &apns->channel;
    channels[1] = &fcm->channel;
    loop = stage_loop_new(stage, "unstored", scripts, 2);
    options.db = loop->db_plan;
    options.fanout = loop->fanout;
    options.clock = &loop->clock.clock;
    worker = outbox_worker_new(&options);
}

/* As in a kill -9. */
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
    apns->channel.ops->free(&apns->channel);
    fcm->channel.ops->free(&fcm->channel);
    loop = NULL;
}

static int set_up(void **state)
{
    (void)state;
    stage = stage_new("outbox_unstored");
    stage_devices(stage, "apns", 1, true);
    stage_devices(stage, "fcm", 2, true);
    stage_exec(stage, "UPDATE device SET os = 'iOS 17.5' WHERE id = " G_STRINGIFY(IOS));
    stage_exec(stage, "UPDATE device SET os = 'Android 14' WHERE id = " G_STRINGIFY(ANDROID));
    memset(stored, 0, sizeof(stored));
    memset(unstored, 0, sizeof(unstored));
    hold_answers = false;
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

static void enqueue(int64_t device_id)
{
    g_autofree char *key = g_strdup_printf("key:%" G_GINT64_FORMAT, device_id);
    struct notification n = {.key = key,
                             .device_id = device_id,
                             .title = "Kết quả xử lý",
                             .body = "Đã giải quyết.",
                             .expires_utc_us = g_get_real_time() + 86400 * USEC_PER_SEC};

    assert_true(outbox_enqueue(stage->db, &n, 1, NULL));
}

/* A live emergency, sent to everybody. */
static void emergency(void)
{
    stage_release(stage, true);
    stage_until(stage, "SELECT (finished_at IS NOT NULL)::int FROM broadcast");
}

static void emergency_over(void)
{
    stage_exec(stage, "UPDATE broadcast SET first_pass_at = now() - interval '61 minutes'");
    stage_exec(stage, "UPDATE notification_push SET next_at = now() WHERE state = 'unstored'");
}

/* The apns device has a push that is unstored. */
static void make_unstored(void)
{
    start(0);
    emergency();
    enqueue(APNS);
    stage_until(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'unstored'");
}

static enum receipt_result tell(const char *alert, int version, int64_t device_id,
                                enum receipt_event event)
{
    struct receipt receipt = {.version = version, .device_id = device_id, .event = event};
    enum receipt_result result;

    g_strlcpy(receipt.alert_id, alert, sizeof(receipt.alert_id));
    assert_true(receipt_store(stage->db, &receipt, 1, &result, NULL));
    return result;
}

static void test_who_is_behind_apns(void **state)
{
    static const struct {
        const char *device;
        bool behind;
    } cases[] = {
        {"'apns', ''", true},         {"'apns', 'Android'", true}, {"'fcm', 'iOS 17.5'", true},
        {"'fcm', 'iPadOS 18'", true}, {"'fcm', 'ios'", true},      {"'fcm', 'iPhone OS 12'", true},
        {"'fcm', 'Android'", false},  {"'fcm', ''", false},        {"'fcm', 'HarmonyOS'", false},
        {"'mqtt', 'iOS 17'", false},  {"'none', 'iOS 17'", false},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *sql =
            g_strdup_printf("SELECT device_behind_apns(%s)::int", cases[i].device);
        if (stage_i64(stage, sql) != cases[i].behind)
            fail_msg("%s", cases[i].device);
    }
}

static void test_only_phones_behind_apns(void **state)
{
    double before = metric_get(METRIC_OUTBOX_UNSTORED, "apns");

    (void)state;
    start(0);
    emergency();
    for (int64_t device = 1; device <= DEVICES; device++)
        enqueue(device);
    stage_until(stage, "SELECT (count(*) = 3)::int FROM notification_push"
                       " WHERE state IN ('unstored', 'ACCEPTED')");
    assert_int_equal(stored[APNS] + stored[IOS], 0);
    assert_int_equal(unstored[APNS], 1);
    assert_int_equal(unstored[IOS], 1);
    assert_int_equal(stored[ANDROID], 1);
    assert_true(metric_get(METRIC_OUTBOX_UNSTORED, "apns") == before + 1);
    /* Looked at when the hold can be over: an hour after the emergency's last send. */
    assert_int_equal(stage_i64(stage,
                               "SELECT count(*) FROM notification_push p, broadcast"
                               " WHERE p.state = 'unstored' AND abs(extract(epoch FROM next_at"
                               " - coalesce(first_pass_at, finished_at)) - 3600) < 5"),
                     2);
    stage_assert_sums(stage);
}

static void test_elsewhere(void **state)
{
    (void)state;
    stage_exec(stage, "INSERT INTO commune VALUES ('01273', 'A'), ('01279', 'B')");
    stage_exec(stage, "UPDATE device SET commune = '01273'");
    start(0);
    emergency();
    stage_exec(stage, "UPDATE broadcast SET area_scope = 'communes', communes = '{01279}'");
    enqueue(APNS);
    stage_until(stage, SETTLED);
    assert_int_equal(stored[APNS], 1);
}

static void test_sent_again_afterwards(void **state)
{
    (void)state;
    make_unstored();
    emergency_over();
    stage_until(stage, SETTLED);
    assert_int_equal(unstored[APNS], 1);
    assert_int_equal(stored[APNS], 1);
    assert_int_equal(stage_i64(stage, "SELECT attempt::int" PUSH_OF(APNS) "state = 'ACCEPTED'"), 2);
}

/* Its time has come, but another emergency is live by then: it is not even sent. */
static void test_held_again(void **state)
{
    (void)state;
    make_unstored();
    stage_exec(stage, "UPDATE notification_push SET next_at = now()");
    stage_until(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'unstored' AND reason = 'held'"
                                                       " AND next_at > now() + interval '50 min'");
    assert_int_equal(unstored[APNS] + stored[APNS], 1);
}

/* Rendered to be stored, and still waiting when the emergency is released. */
static void test_released_while_it_waits(void **state)
{
    (void)state;
    start(0);
    apns->room = 0;
    enqueue(APNS);
    stage_until(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'flying'");
    stage_release(stage, true);
    stage_until(stage, "SELECT count(*) FROM fanout_plan WHERE done");
    apns->room = 100;
    stage_until(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'unstored'");
    assert_int_equal(stored[APNS], 0);
    assert_int_equal(unstored[APNS], 1);
}

static void test_receipt_instead(void **state)
{
    (void)state;
    make_unstored();
    assert_int_equal(tell("n1", 1, APNS, RECEIPT_SHOWN), RECEIPT_STORED);
    assert_int_equal(stage_i64(stage, SETTLED), 1);
    assert_int_equal(stage_i64(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'ACCEPTED' AND"
                                                                      " reason = 'receipt'"),
                     1);
    emergency_over();
    enqueue(IOS); /* a turn of the worker */
    stage_until(stage, SETTLED);
    assert_int_equal(unstored[APNS] + stored[APNS], 1);
}

/* The receipt is faster than the provider's answer, which then changes nothing. */
static void test_receipt_before_the_answer(void **state)
{
    (void)state;
    start(0);
    hold_answers = true;
    enqueue(APNS);
    stage_until(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'flying'");
    while (stored[APNS] == 0)
        g_main_context_iteration(NULL, TRUE);
    assert_int_equal(tell("n1", 1, APNS, RECEIPT_OPENED), RECEIPT_STORED);
    assert_int_equal(stage_i64(stage, SETTLED), 1);
    stage_assert_sums(stage);
    script_answer_all(apns, VERDICT_TRANSIENT);
    hold_answers = false;
    enqueue(ANDROID);
    stage_until(stage, SETTLED);
    assert_int_equal(stage_i64(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'ACCEPTED'"), 1);
    assert_int_equal(stored[APNS], 1);
}

static void test_which_receipts_count(void **state)
{
    static const char *const unknown[] = {
        "n2", "n0", "n01", "nx", "n", "n1-", "n9999999999999999999999"};
    int64_t first;

    (void)state;
    make_unstored();
    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
        assert_int_equal(tell(unknown[i], 1, APNS, RECEIPT_SHOWN), RECEIPT_UNKNOWN);
    assert_int_equal(tell("n1", 2, APNS, RECEIPT_SHOWN), RECEIPT_UNKNOWN);
    assert_int_equal(tell("n1", 1, IOS, RECEIPT_SHOWN), RECEIPT_UNKNOWN); /* not its own */
    assert_int_equal(stage_i64(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'unstored'"), 1);
    assert_int_equal(tell("n1", 1, APNS, RECEIPT_SHOWN), RECEIPT_STORED);
    first = stage_i64(stage, "SELECT (extract(epoch FROM shown_at) * 1e6)::bigint" PUSH_OF(
                                 APNS) "opened_at IS NULL");
    assert_int_equal(tell("n1", 1, APNS, RECEIPT_OPENED), RECEIPT_STORED);
    assert_int_equal(tell("n1", 1, APNS, RECEIPT_SHOWN), RECEIPT_STORED); /* a repeat */
    assert_int_equal(stage_i64(stage, "SELECT (extract(epoch FROM shown_at) * 1e6)::bigint" PUSH_OF(
                                          APNS) "opened_at IS NOT NULL"),
                     first);
}

/* Of any kind in one batch, each with its own result. */
static void test_receipts_mixed(void **state)
{
    struct receipt receipts[] = {{"", 1, ANDROID, RECEIPT_SHOWN},
                                 {"n1", 1, APNS, RECEIPT_SHOWN},
                                 {"n7", 1, APNS, RECEIPT_SHOWN},
                                 {"n1", 1, APNS, RECEIPT_OPENED}};
    enum receipt_result results[4];
    g_autoptr(PGresult) res = NULL;

    (void)state;
    make_unstored();
    res = db_query(stage->db, "SELECT alert_id FROM broadcast", NULL, NULL);
    g_strlcpy(receipts[0].alert_id, db_get_text(res, 0, 0), sizeof(receipts[0].alert_id));
    assert_true(receipt_store(stage->db, receipts, 4, results, NULL));
    assert_int_equal(results[0], RECEIPT_STORED);
    assert_int_equal(results[1], RECEIPT_STORED);
    assert_int_equal(results[2], RECEIPT_UNKNOWN);
    assert_int_equal(results[3], RECEIPT_STORED);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM receipt"), 1);
    assert_int_equal(stage_i64(stage, "SELECT count(opened_at)" PUSH_OF(APNS) "true"), 1);
}

/* Nobody knows whether it was seen: a dead letter that says so. */
static void test_expires_unstored(void **state)
{
    (void)state;
    make_unstored();
    stage_exec(stage, "UPDATE notification_push SET next_at = now(), expires_at = now()");
    stage_exec(stage, "UPDATE notification SET expires_at = now()");
    stage_until(stage, SETTLED);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM notification_status"
                                      " WHERE state = 'dead'"
                                      " AND dead_reason = 'expired:unstored'"),
                     1);
    assert_int_equal(tell("n1", 1, APNS, RECEIPT_SHOWN), RECEIPT_STORED); /* late: only noted */
    assert_int_equal(stage_i64(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'EXPIRED'"), 1);
}

/* Killed before the answer of the unstored push, and again before that of the stored one. */
static void test_kills(void **state)
{
    (void)state;
    start(300);
    emergency();
    hold_answers = true;
    enqueue(APNS);
    while (unstored[APNS] == 0)
        g_main_context_iteration(NULL, TRUE);
    stop();
    stage_assert_sums(stage);
    hold_answers = false;
    start(300);
    stage_until(stage, "SELECT count(*)" PUSH_OF(APNS) "state = 'unstored'");
    hold_answers = true;
    emergency_over();
    while (stored[APNS] == 0)
        g_main_context_iteration(NULL, TRUE);
    stop();
    stage_assert_sums(stage);
    hold_answers = false;
    start(300);
    stage_until(stage, SETTLED);
    assert_int_equal(unstored[APNS], 2);
    assert_int_equal(stored[APNS], 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_is_behind_apns),
        TEST(test_only_phones_behind_apns),
        TEST(test_elsewhere),
        TEST(test_sent_again_afterwards),
        TEST(test_held_again),
        TEST(test_released_while_it_waits),
        TEST(test_receipt_instead),
        TEST(test_receipt_before_the_answer),
        TEST(test_which_receipts_count),
        TEST(test_receipts_mixed),
        TEST(test_expires_unstored),
        TEST(test_kills),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
