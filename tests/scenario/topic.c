/* Topics as an operator uses them: subscriptions follow the devices by difference, a released
 * broadcast goes out once per topic, and nothing else does. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

#define FCM  4000
#define DEAD 40 /* one in a hundred */
#define AN   " --as an --key @an.key"
#define BINH " --as binh --key @binh.key"
#define WHY  " --reason 'hết hạn mức' --yes"
#define LIVE "channel = 'fcm' AND id_kind IN ('token', 'fid')"

static struct rig *rig;

/* Communes of the devices: a fifth is in another one, a tenth in none; some are installation ids,
 * some of a rehearsal. */
static int setup(void **state)
{
    static const struct rig_options options = {
        .fcm = FCM, .apns = 10, .dead_percent = 1, .extra_conf = "[fcm]\ntopic_rate=8000\n"};

    (void)state;
    rig = rig_new(&options);
    rig_exec(rig,
             "UPDATE device SET commune = CASE WHEN id % 10 = 3 THEN NULL WHEN id % 5 = 1 THEN "
             "'01279' ELSE commune END WHERE channel = 'fcm'");
    rig_exec(rig, "UPDATE device SET id_kind = 'fid' WHERE channel = 'fcm' AND id % 40 = 7");
    rig_exec(rig, "UPDATE device SET realm = 'test' WHERE channel = 'fcm' AND id % 50 = 9");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

/* Both outputs of a line, which must end so. Owned. */
static char *type_line(int expected, const char *format, ...) G_GNUC_PRINTF(2, 3);
static char *type_line(int expected, const char *format, ...)
{
    g_autofree char *line = NULL, *out = NULL, *errors = NULL;
    va_list args;
    int code;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    code = rig_loa_line(rig, line, &out, &errors);
    if (code != expected)
        fail_msg("loa %s: exit %d, not %d\n%s%s", line, code, expected, out, errors);
    return g_strconcat(out, errors, NULL);
}

static void assert_says(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("does not say \"%s\":\n%s", what, text);
}

static void assert_silent(const char *text, const char *what)
{
    if (strstr(text, what) != NULL)
        fail_msg("says \"%s\":\n%s", what, text);
}

/* Types a line that must end so and say so. */
#define EXPECT(code, what, ...)                                                                    \
    do {                                                                                           \
        g_autofree char *text_ = type_line(code, __VA_ARGS__);                                     \
        assert_says(text_, what);                                                                  \
    } while (0)

/* ---- the simulator's side ---- */

static int64_t topic_stat(const char *topic, const char *name)
{
    g_autoptr(json_t) topics = rig_sim(rig, "{\"cmd\":\"topics\"}");

    return json_integer_value(json_object_get(json_object_get(topics, topic), name));
}

static char *topic_last(const char *topic)
{
    g_autoptr(json_t) topics = rig_sim(rig, "{\"cmd\":\"topics\"}");

    return g_strdup(json_string_value(json_object_get(json_object_get(topics, topic), "last")));
}

static void clear_faults(void)
{
    json_decref(rig_sim(rig, "{\"cmd\":\"clear\"}"));
}

/* What FCM has is what the devices want and what Loa believes. */
static void assert_in_step(void)
{
    static const struct {
        const char *topic, *wanted;
    } topics[] = {
        {"loa-all", "realm = 'live'"},
        {"loa-area-01273", "realm = 'live' AND commune = '01273'"},
        {"loa-area-01279", "realm = 'live' AND commune = '01279'"},
        {"loa-test-all", "realm = 'test'"},
        {"loa-test-area-01273", "realm = 'test' AND commune = '01273'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        g_autofree char *sql =
            g_strdup_printf("SELECT count(*) FROM device WHERE " LIVE " AND %s", topics[i].wanted);
        assert_int_equal(topic_stat(topics[i].topic, "subscribers"), rig_i64(rig, sql));
    }
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM topic_subscription"),
                     rig_i64(rig, "SELECT sum(1 + (commune IS NOT NULL)::int)::bigint FROM device"
                                  " WHERE " LIVE));
}

/* The counts of a run that ends so. */
static json_t *sync_counts(int expected)
{
    g_autofree char *text = type_line(expected, "topic sync --json");
    const char *start = strchr(text, '{');
    json_t *json = start != NULL ? json_loads(start, JSON_DISABLE_EOF_CHECK, NULL) : NULL;

    if (json == NULL)
        fail_msg("no counts: %s", text);
    return json;
}

static int64_t count_of(const json_t *counts, const char *name)
{
    return json_integer_value(json_object_get(counts, name));
}

/* ---- sync ---- */

static void test_everybody_is_subscribed_once(void **state)
{
    g_autoptr(json_t) first = NULL, second = NULL;

    (void)state;
    EXPECT(EX_OK, "off: loa topic sync has not been run", "doctor");
    first = sync_counts(EX_OK);
    assert_int_equal(count_of(first, "dead"), DEAD);
    assert_int_equal(
        rig_i64(rig, "SELECT count(*) FROM device WHERE retired_reason = 'dead_token'"), DEAD);
    assert_int_equal(count_of(first, "added"),
                     rig_i64(rig, "SELECT count(*) FROM topic_subscription"));
    assert_in_step();
    second = sync_counts(EX_OK);
    assert_int_equal(count_of(second, "added") + count_of(second, "removed"), 0);
    EXPECT(EX_OK, "loa-all", "topic status");
    EXPECT(EX_OK, "messages and subscriptions accepted", "doctor");
}

static void test_devices_move(void **state)
{
    g_autoptr(json_t) counts = NULL, topics = NULL;
    g_autofree char *list = NULL;

    (void)state;
    rig_exec(rig, "UPDATE device SET commune = '01279' WHERE id BETWEEN 1000 AND 1009");
    rig_exec(rig, "UPDATE device SET channel = 'none', push_token = NULL, id_kind = NULL,"
                  " retired_at = now(), retired_reason = 'unregistered'"
                  " WHERE id BETWEEN 1010 AND 1019");
    rig_exec(rig, "UPDATE device SET push_token = 'renewed-1020' WHERE id = 1020");
    counts = sync_counts(EX_OK);
    assert_true(count_of(counts, "removed") > 20);
    assert_in_step();
    topics = rig_sim(rig, "{\"cmd\":\"topics\",\"registration\":\"rig-1004\"}");
    list = json_dumps(topics, JSON_COMPACT);
    assert_string_equal(list, "{\"topics\":[\"loa-all\",\"loa-area-01279\"]}");
    json_decref(g_steal_pointer(&topics));
    topics = rig_sim(rig, "{\"cmd\":\"topics\",\"registration\":\"rig-1015\"}");
    assert_int_equal(json_array_size(json_object_get(topics, "topics")), 0);
}

static void test_a_busy_provider(void **state)
{
    g_autoptr(json_t) counts = NULL, stats = NULL;

    (void)state;
    rig_exec(rig, "UPDATE device SET commune = '01273' WHERE id BETWEEN 1000 AND 1009");
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"iid\",\"count\":2,"
                             "\"do\":{\"status\":429,\"retry_after\":1}}"));
    counts = sync_counts(EX_OK);
    assert_int_equal(count_of(counts, "again"), 0);
    stats = rig_sim(rig, "{\"cmd\":\"stats\"}");
    assert_int_equal(
        json_integer_value(json_object_get(
            json_object_get(json_object_get(stats, "iid"), "rejected"), "RESOURCE_EXHAUSTED")),
        2);
    assert_in_step();
}

/* The registry is not emptied by a wrong service account. */
static void test_too_many_dead_at_once(void **state)
{
    g_autoptr(json_t) counts = NULL;

    (void)state;
    rig_exec(rig, "UPDATE device SET push_token = 'dead-' || id WHERE id BETWEEN 2000 AND 2029"
                  " AND channel = 'fcm' AND id_kind = 'token'");
    counts = sync_counts(EX_TEMPFAIL);
    assert_true(count_of(counts, "suspect") > 20);
    assert_int_equal(count_of(counts, "dead"), 0);
    assert_int_equal(
        rig_i64(rig, "SELECT count(*) FROM device WHERE push_token LIKE 'dead-%'") > 20, true);
    rig_exec(rig, "UPDATE device SET push_token = 'rig-' || id WHERE id BETWEEN 2000 AND 2029"
                  " AND channel = 'fcm' AND push_token LIKE 'dead-%'");
    json_decref(sync_counts(EX_OK));
    assert_in_step();
}

static bool something_subscribed(void *user)
{
    (void)user;
    return rig_i64(rig, "SELECT count(*) FROM topic_subscription WHERE realm = 'exercise'") > 0;
}

/* Killed in the middle, the next run does the rest. */
static void test_a_killed_run_is_continued(void **state)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *tests = g_path_get_dirname(self);
    g_autofree char *build = g_path_get_dirname(tests);
    g_autofree char *loa = g_build_filename(build, "loa", NULL);
    char *argv[] = {loa, "--config", rig->conf, "topic", "sync", NULL};
    g_autoptr(json_t) counts = NULL;
    int64_t half;
    GPid pid;

    (void)state;
    rig_exec(rig, "UPDATE device SET realm = 'exercise' WHERE realm = 'live' AND channel = 'fcm'");
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"iid\",\"match\":{\"prefix\":"
                             "\"loa-exercise-area\"},\"do\":{\"no_answer\":true}}"));
    assert_true(g_spawn_async(NULL, argv, NULL,
                              G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL |
                                  G_SPAWN_STDOUT_TO_DEV_NULL,
                              NULL, NULL, &pid, NULL));
    assert_true(test_wait_until(something_subscribed, NULL, 60000));
    EXPECT(EX_DATAERR, "one at a time", "topic sync");
    kill(pid, SIGKILL);
    g_spawn_close_pid(pid);
    clear_faults();
    half = rig_i64(rig, "SELECT count(*) FROM topic_subscription WHERE realm = 'exercise'");
    rig_exec(rig, "UPDATE topic_sync SET lease_until = now()");
    counts = sync_counts(EX_OK);
    assert_true(count_of(counts, "added") > 0);
    assert_int_equal(
        rig_i64(rig, "SELECT count(*) FROM topic_subscription WHERE realm = 'exercise'"),
        half + count_of(counts, "added"));
    rig_exec(rig, "UPDATE device SET realm = 'live' WHERE realm = 'exercise'");
    json_decref(sync_counts(EX_OK));
    assert_in_step();
}

/* ---- send ---- */

static int64_t create(const char *options)
{
    g_autofree char *text = type_line(
        EX_OK,
        "broadcast create --kind CANH_BAO --level khan_cap --title 'Lũ quét' --instruction "
        "'Lên chỗ cao ngay' --expires 2h --again --json %s" AN,
        options);
    g_autoptr(json_t) json = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);

    assert_non_null(json);
    return json_integer_value(json_object_get(json, "broadcast"));
}

static int64_t release(const char *options)
{
    int64_t id = create(options);

    EXPECT(EX_OK, "RELEASED", "broadcast approve %ld --yes --again" BINH, (long)id);
    return id;
}

static void test_one_message_for_the_province(void **state)
{
    int64_t id = release("--province --body 'Nước lên nhanh.'");
    int64_t subscribers = topic_stat("loa-all", "subscribers");
    g_autofree char *sql = g_strdup_printf(
        "SELECT count(*) FROM audit WHERE object = 'broadcast:%ld' AND act IN ('topic_requested',"
        " 'topic_sent') AND actor = 'an'",
        (long)id);
    g_autofree char *status = NULL, *json = NULL, *last = NULL;

    (void)state;
    EXPECT(EX_DATAERR, "nothing was sent", "topic send %ld --reason x" AN, (long)id);
    EXPECT(EX_USAGE, "give a --reason", "topic send %ld" AN, (long)id);
    EXPECT(EX_DATAERR, "--as NAME --key FILE", "topic send %ld" WHY, (long)id);
    assert_int_equal(topic_stat("loa-all", "messages"), 0);
    EXPECT(EX_OK, "topic loa-all: accepted by FCM as projects/", "topic send %ld" WHY AN, (long)id);
    assert_int_equal(topic_stat("loa-all", "messages"), 1);
    assert_int_equal(topic_stat("loa-all", "reached"), subscribers);
    assert_int_equal(topic_stat("loa-test-all", "messages"), 0);
    last = topic_last("loa-all");
    assert_true(g_str_has_suffix(last, "/1"));
    assert_int_equal(rig_i64(rig, sql), 2);
    status = type_line(EX_OK, "broadcast status %ld", (long)id);
    assert_says(status, "sent to topic loa-all at ");
    assert_says(status, "accepted by FCM; no per-device outcome");
    assert_says(status, "all          0 targeted        0 accepted"); /* never mixed */
    json = type_line(EX_OK, "broadcast status %ld --json", (long)id);
    assert_says(json, "\"topics\":{\"messages\":[{\"topic\":\"loa-all\",\"state\":\"accepted\"");
    assert_says(json, "\"targeted\":0");
    EXPECT(EX_DATAERR, "say --again", "topic send %ld" WHY AN, (long)id);
    assert_int_equal(topic_stat("loa-all", "messages"), 1);
    EXPECT(EX_OK, "accepted by FCM", "topic send %ld --again" WHY AN, (long)id);
    assert_int_equal(topic_stat("loa-all", "messages"), 2);
    rig_assert_checks(rig);
}

static void test_a_correction_follows_at_once(void **state)
{
    int64_t id = release("--communes 01273,01279 --body 'Sạt lở.'");
    int64_t all = topic_stat("loa-all", "messages");
    g_autofree char *text = NULL, *status = NULL, *last = NULL;

    (void)state;
    EXPECT(EX_OK, "topic loa-area-01279: accepted", "topic send %ld" WHY BINH, (long)id);
    assert_int_equal(topic_stat("loa-area-01273", "messages"), 1);
    assert_int_equal(topic_stat("loa-area-01279", "messages"), 1);
    assert_int_equal(topic_stat("loa-all", "messages"), all);
    text = type_line(EX_OK, "broadcast cancel %ld --reason 'sai địa bàn'" AN, (long)id);
    assert_says(text, "topic loa-all: accepted"); /* phones move */
    assert_silent(text, "OWED");
    assert_int_equal(topic_stat("loa-area-01273", "messages"), 2);
    assert_int_equal(topic_stat("loa-all", "messages"), all + 1);
    last = topic_last("loa-area-01279");
    assert_true(g_str_has_suffix(last, "/2"));
    status = type_line(EX_OK, "broadcast status %ld", (long)id);
    assert_silent(status, "OWED");
    EXPECT(EX_DATAERR, "was taken back", "topic send %ld --again" WHY AN, (long)id);
}

static void test_a_correction_stays_owed(void **state)
{
    int64_t id = release("--province --body 'Vỡ đập.'");
    int64_t correction;
    g_autofree char *status = NULL, *owed = NULL;

    (void)state;
    EXPECT(EX_OK, "accepted", "topic send %ld" WHY AN, (long)id);
    json_decref(rig_sim(rig,
                        "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{\"prefix\":\"loa-\"},"
                        "\"do\":{\"reason\":\"PERMISSION_DENIED\"}}"));
    EXPECT(EX_OK, "still OWED there", "broadcast cancel %ld --reason 'nhầm'" AN, (long)id);
    correction = rig_i64(rig, "SELECT max(id) FROM broadcast WHERE corrects IS NOT NULL");
    owed = g_strdup_printf("loa topic send %ld", (long)correction);
    status = type_line(EX_OK, "broadcast status %ld", (long)id);
    assert_says(status, "OWED");
    assert_says(status, owed);
    EXPECT(EX_DATAERR, owed, "topic send %ld" WHY AN, (long)id);
    EXPECT(1, owed, "doctor");
    EXPECT(EX_UNAVAILABLE, "PERMISSION_DENIED", "topic send %ld" WHY AN, (long)correction);
    clear_faults();
    EXPECT(EX_OK, "accepted", "topic send %ld" WHY AN, (long)correction);
    g_free(status);
    status = type_line(EX_OK, "broadcast status %ld", (long)correction);
    assert_says(status, "REFUSED by FCM: PERMISSION_DENIED");
    assert_silent(status, "OWED");
}

/* ---- what is not sent ---- */

static int64_t forge(int64_t genuine)
{
    g_autofree char *row = g_strdup_printf(
        "INSERT INTO broadcast (alert_id, version, message_type, realm, kind, level, class, state,"
        " area_scope, communes, expires_at, receipt_window_s, content_hash, created_by,"
        " creator_signature, approved_by, approver_signature, released_at, key_id,"
        " release_signature) SELECT 'FORGED-1', version, message_type, realm, kind, level, class,"
        " state, area_scope, communes, expires_at, receipt_window_s, content_hash, created_by,"
        " creator_signature, approved_by, approver_signature, released_at, key_id,"
        " release_signature FROM broadcast WHERE id = %ld",
        (long)genuine);
    int64_t id;

    rig_exec(rig, row);
    id = rig_i64(rig, "SELECT id FROM broadcast WHERE alert_id = 'FORGED-1'");
    g_free(row);
    row =
        g_strdup_printf("INSERT INTO broadcast_text SELECT %ld, language, title, body, instruction,"
                        " correction_title, correction_body, signature FROM broadcast_text WHERE"
                        " broadcast_id = %ld",
                        (long)id, (long)genuine);
    rig_exec(rig, row);
    return id;
}

static void test_a_forged_row_is_not_sent(void **state)
{
    int64_t forged = forge(release("--province --body 'Thật.'"));
    int64_t messages = topic_stat("loa-all", "messages");

    (void)state;
    EXPECT(EX_NOPERM, "is not genuine", "topic send %ld" WHY AN, (long)forged);
    assert_int_equal(topic_stat("loa-all", "messages"), messages);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM topic_message m JOIN broadcast b ON b.id ="
                                  " m.broadcast_id WHERE b.alert_id = 'FORGED-1'"),
                     0);
    rig_exec(rig, "DELETE FROM broadcast_text t USING broadcast b WHERE b.id = t.broadcast_id AND"
                  " b.alert_id = 'FORGED-1'");
    rig_exec(rig, "DELETE FROM broadcast WHERE alert_id = 'FORGED-1'");
}

static void test_what_is_not_ready_is_not_sent(void **state)
{
    int64_t draft = create("--province --body 'Nháp.'");
    int64_t late = release("--province --body 'Muộn.'"), held = release("--province --body 'Giữ.'");
    int64_t messages = topic_stat("loa-all", "messages");
    g_autofree char *expire = g_strdup_printf(
        "UPDATE broadcast SET expires_at = now() - interval '1 s' WHERE id = %ld", (long)late);

    (void)state;
    EXPECT(EX_DATAERR, "is draft", "topic send %ld" WHY AN, (long)draft);
    rig_exec(rig, expire);
    EXPECT(EX_DATAERR, "has expired", "topic send %ld" WHY AN, (long)late);
    EXPECT(EX_OK, "stopped", "stop --broadcast %ld --reason x" AN, (long)held);
    EXPECT(EX_DATAERR, "is stopped by an", "topic send %ld" WHY AN, (long)held);
    EXPECT(EX_NOINPUT, "no broadcast", "topic send 999999" WHY AN);
    assert_int_equal(topic_stat("loa-all", "messages"), messages);
}

static void test_a_text_that_is_too_long(void **state)
{
    g_autofree char *body = g_strnfill(2000, 'a');
    g_autofree char *options = g_strdup_printf("--province --body '%s'", body);
    int64_t id = create(options);
    g_autofree char *approved = NULL;

    (void)state;
    approved = type_line(EX_OK, "broadcast approve %ld --yes --again" BINH, (long)id);
    assert_says(approved, "too long for topics");
    EXPECT(EX_DATAERR, "more than the 2048", "topic send %ld" WHY AN, (long)id);
    EXPECT(EX_DATAERR, "what helps: shorten", "topic send %ld" WHY AN, (long)id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_is_subscribed_once),
        cmocka_unit_test(test_devices_move),
        cmocka_unit_test(test_a_busy_provider),
        cmocka_unit_test(test_too_many_dead_at_once),
        cmocka_unit_test(test_a_killed_run_is_continued),
        cmocka_unit_test(test_one_message_for_the_province),
        cmocka_unit_test(test_a_correction_follows_at_once),
        cmocka_unit_test(test_a_correction_stays_owed),
        cmocka_unit_test(test_a_forged_row_is_not_sent),
        cmocka_unit_test(test_what_is_not_ready_is_not_sent),
        cmocka_unit_test(test_a_text_that_is_too_long),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
