/* The ledger and the fault rules, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "tests/sim/faults.h"
#include "tests/sim/ledger.h"
#include "tests/sim/pace.h"

static void enter(struct ledger *ledger, const char *token, const char *alert, const char *version,
                  bool accepted, uint64_t seq)
{
    const struct ledger_entry entry = {
        .token = {token, strlen(token)},
        .alert = {alert, alert != NULL ? strlen(alert) : 0},
        .version = {version, version != NULL ? strlen(version) : 0},
        .seq = seq,
        .now_us = (int64_t)seq * 10,
        .accepted = accepted,
    };

    ledger_enter(ledger, &entry);
}

static void test_duplicates_are_per_token_alert_version(void **state)
{
    loa_auto(ledger) ledger = ledger_new(100);
    const struct ledger_totals *totals = ledger_totals(ledger);

    (void)state;
    enter(ledger, "t1", "A", "1", false, 1);
    enter(ledger, "t1", "A", "1", true, 2); /* first */
    enter(ledger, "t1", "A", "1", true, 3); /* repeat */
    enter(ledger, "t1", "A", "2", true, 4); /* a correction is another message */
    enter(ledger, "t1", "B", "1", true, 5);
    enter(ledger, "t2", "A", "1", true, 6);
    enter(ledger, "t2", "A", "1", true, 7); /* repeat */
    enter(ledger, "t1", NULL, NULL, true, 8);
    assert_int_equal(totals->accepted, 7);
    assert_int_equal(totals->distinct, 5);
    assert_int_equal(totals->duplicates, 2);
    assert_int_equal(totals->first_us, 20);
    assert_int_equal(totals->last_us, 80);
}

static void test_alerts_are_told_apart(void **state)
{
    loa_auto(ledger) ledger = ledger_new(100);
    g_autoptr(json_t) alerts = NULL;
    const json_t *a;

    (void)state;
    enter(ledger, "t1", "A", "1", true, 1);
    enter(ledger, "t1", "B", "1", true, 2);
    enter(ledger, "t1", "A", "1", true, 3);
    enter(ledger, "t2", "A", "1", false, 4);
    alerts = ledger_alerts(ledger);
    assert_int_equal(json_object_size(alerts), 2);
    a = json_object_get(alerts, "A/1");
    assert_int_equal(json_integer_value(json_object_get(a, "requests")), 3);
    assert_int_equal(json_integer_value(json_object_get(a, "accepted")), 2);
    assert_int_equal(json_integer_value(json_object_get(a, "distinct")), 1);
    assert_int_equal(json_integer_value(json_object_get(a, "duplicates")), 1);
    assert_int_equal(json_integer_value(json_object_get(a, "first_seq")), 1);
    assert_int_equal(json_integer_value(json_object_get(a, "last_seq")), 4);
    assert_int_equal(json_integer_value(json_object_get(a, "others_between")), 1);
}

static void test_pace(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace);
    assert_int_equal(pace_at(&pace, 1000), 0);
    pace_note(&pace, 1000, 1);
    pace_note(&pace, 1100, 2); /* within a step */
    pace_note(&pace, 1200, 3);
    pace_note(&pace, 5000, 4);
    assert_int_equal(pace_at(&pace, 999), 0);
    assert_int_equal(pace_at(&pace, 1000), 1);
    assert_int_equal(pace_at(&pace, 1150), 1);
    assert_int_equal(pace_at(&pace, 4999), 3);
    assert_int_equal(pace_at(&pace, 9000), 4);
    for (uint64_t i = 0; i < PACE_MAX; i++)
        pace_note(&pace, 10000 + (int64_t)i * PACE_STEP_US, 5 + i);
    assert_true(pace.steps->len <= PACE_MAX);
    assert_int_equal(pace_at(&pace, INT64_MAX), 4 + PACE_MAX);
    pace_clear(&pace);
}

/* Far beyond the first sizes of the tables, against plain arithmetic. */
static void test_grows_without_losing_anybody(void **state)
{
    enum { TOKENS = 150000 };
    loa_auto(ledger) ledger = ledger_new(LEDGER_TOKENS_MAX);
    const struct ledger_totals *totals = ledger_totals(ledger);
    char path[] = "/tmp/loa-ledger-XXXXXX";
    char line[64], want[64];
    uint64_t seq = 0;
    int fd = g_mkstemp(path);
    FILE *file = fdopen(fd, "r");

    (void)state;
    assert_non_null(file);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < TOKENS; i++) {
            char token[32];
            g_snprintf(token, sizeof(token), "token-%d", i);
            enter(ledger, token, "A", round == 2 ? "2" : "1", true, ++seq);
        }
    }
    assert_int_equal(totals->distinct, 2 * TOKENS);
    assert_int_equal(totals->duplicates, TOKENS);
    assert_true(ledger_dump(ledger, path, NULL));
    for (int i = 0; i < TOKENS; i++) {
        g_snprintf(want, sizeof(want), "token-%d\t3\t3\t%d\t%d\n", i, i + 1, i + 1 + 2 * TOKENS);
        assert_non_null(fgets(line, sizeof(line), file));
        assert_string_equal(line, want);
    }
    assert_null(fgets(line, sizeof(line), file));
    fclose(file);
    g_unlink(path);
}

static void test_full_ledger_says_so(void **state)
{
    loa_auto(ledger) ledger = ledger_new(2);
    const struct ledger_totals *totals = ledger_totals(ledger);

    (void)state;
    enter(ledger, "t1", "A", "1", true, 1);
    enter(ledger, "t2", "A", "1", true, 2);
    enter(ledger, "t3", "A", "1", true, 3);
    enter(ledger, "t1", "A", "1", true, 4);
    assert_int_equal(totals->untracked, 1);
    assert_int_equal(totals->distinct, 2);
    assert_int_equal(totals->duplicates, 1);
    ledger_reset(ledger);
    assert_int_equal(totals->untracked, 0);
    assert_int_equal(totals->accepted, 0);
}

static void test_dump_that_cannot_be_written(void **state)
{
    loa_auto(ledger) ledger = ledger_new(2);
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(ledger_dump(ledger, "/nonexistent/dump", &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INTERNAL));
}

/* ---- faults ---- */

static uint64_t add(struct faults *faults, const char *rule, int64_t now_us, GError **error)
{
    g_autoptr(json_t) json = json_loads(rule, 0, NULL);

    assert_non_null(json);
    return faults_add(faults, json, now_us, error);
}

static const struct fault_action *pick(struct faults *faults, const char *token, int64_t now_us)
{
    return faults_pick(faults, SIM_FCM, (struct text){token, strlen(token)}, now_us);
}

static void test_rules_are_checked(void **state)
{
    static const struct {
        const char *rule, *field; /* that is named */
    } cases[] = {
        {"{}", "channel"},
        {"{\"channel\":\"sms\",\"do\":{\"rst\":true}}", "channel"},
        {"{\"channel\":\"fcm\"}", "do"},
        {"{\"channel\":\"fcm\",\"do\":{}}", "do"},
        {"{\"channel\":\"fcm\",\"do\":{\"stauts\":503}}", "stauts"},
        {"{\"channel\":\"fcm\",\"do\":{\"status\":\"503\"}}", "status"},
        {"{\"channel\":\"fcm\",\"do\":{\"status\":99}}", "status"},
        {"{\"channel\":\"fcm\",\"do\":{\"reason\":\"BadDeviceToken\"}}", "reason"},
        {"{\"channel\":\"apns\",\"do\":{\"reason\":\"UNREGISTERED\"}}", "reason"},
        {"{\"channel\":\"fcm\",\"do\":{\"rst\":\"OOPS\"}}", "rst"},
        {"{\"channel\":\"fcm\",\"do\":{\"goaway\":1}}", "goaway"},
        {"{\"channel\":\"fcm\",\"do\":{\"delay_ms\":-1}}", "delay_ms"},
        {"{\"channel\":\"fcm\",\"do\":{\"max_streams\":0}}", "max_streams"},
        {"{\"channel\":\"fcm\",\"match\":[],\"do\":{\"rst\":true}}", "match"},
        {"{\"channel\":\"fcm\",\"match\":{\"share\":1.5},\"do\":{\"rst\":true}}", "share"},
        {"{\"channel\":\"fcm\",\"match\":{\"every\":0},\"do\":{\"rst\":true}}", "every"},
        {"{\"channel\":\"fcm\",\"match\":{\"prefix\":1},\"do\":{\"rst\":true}}", "prefix"},
        {"{\"channel\":\"fcm\",\"match\":{\"token\":\"x\"},\"do\":{\"rst\":true}}", "token"},
        {"{\"channel\":\"fcm\",\"do\":{\"rst\":true},\"for\":1}", "for"},
        {"{\"channel\":\"fcm\",\"do\":{\"rst\":true},\"count\":0}", "count"},
    };
    loa_auto(faults) faults = faults_new(1);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *start = g_strconcat(cases[i].field, ": ", NULL);
        assert_int_equal(add(faults, cases[i].rule, 0, &error), 0);
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
        if (!g_str_has_prefix(error->message, start))
            fail_msg("%s: %s", cases[i].rule, error->message);
    }
    assert_null(pick(faults, "abc", 0));
}

static void test_status_and_reason_complete_each_other(void **state)
{
    static const struct {
        const char *rule;
        int status;
        const char *reason; /* NULL = HTML */
    } cases[] = {
        {"{\"channel\":\"fcm\",\"do\":{\"status\":404},\"count\":1}", 404, "UNREGISTERED"},
        {"{\"channel\":\"fcm\",\"do\":{\"reason\":\"UNAVAILABLE\"},\"count\":1}", 503,
         "UNAVAILABLE"},
        {"{\"channel\":\"fcm\",\"do\":{\"status\":403,\"reason\":\"PERMISSION_DENIED\"},\"count\":"
         "1}",
         403, "PERMISSION_DENIED"},
        {"{\"channel\":\"fcm\",\"do\":{\"status\":504},\"count\":1}", 504, NULL},
    };
    loa_auto(faults) faults = faults_new(1);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const struct fault_action *action;
        assert_true(add(faults, cases[i].rule, 0, NULL) > 0);
        action = pick(faults, "abc", 0);
        assert_int_equal(action->status, cases[i].status);
        assert_int_equal(action->reason != NULL, cases[i].reason != NULL);
        if (cases[i].reason != NULL)
            assert_string_equal(action->reason->word, cases[i].reason);
    }
}

static void test_prefix_every_count_and_time(void **state)
{
    loa_auto(faults) faults = faults_new(1);
    int met = 0;

    (void)state;
    add(faults,
        "{\"channel\":\"fcm\",\"match\":{\"prefix\":\"x-\",\"every\":3},\"do\":{\"status\":500}}",
        0, NULL);
    for (int i = 0; i < 9; i++) {
        assert_null(pick(faults, "y-1", 0));
        met += pick(faults, "x-1", 0) != NULL;
        assert_int_equal(met, (i + 1) / 3);
    }
    assert_null(faults_pick(faults, SIM_APNS, TEXT_LITERAL("x-1"), 0));
    assert_int_equal(faults_clear(faults, 0), 1);

    add(faults, "{\"channel\":\"fcm\",\"do\":{\"status\":500},\"count\":2}", 0, NULL);
    assert_non_null(pick(faults, "a", 0));
    assert_non_null(pick(faults, "a", 0));
    assert_null(pick(faults, "a", 0));

    add(faults, "{\"channel\":\"fcm\",\"do\":{\"status\":500},\"for_ms\":20}", 1000, NULL);
    assert_non_null(pick(faults, "a", 20999));
    assert_null(pick(faults, "a", 21000));
}

static void test_first_rule_wins_and_is_cleared_by_id(void **state)
{
    loa_auto(faults) faults = faults_new(1);
    uint64_t first, second;
    g_autoptr(json_t) list = NULL;

    (void)state;
    first = add(faults, "{\"channel\":\"fcm\",\"do\":{\"status\":500}}", 0, NULL);
    second = add(faults, "{\"channel\":\"fcm\",\"do\":{\"status\":503}}", 0, NULL);
    assert_int_not_equal(first, second);
    assert_int_equal(pick(faults, "a", 0)->status, 500);
    assert_int_equal(faults_clear(faults, first), 1);
    assert_int_equal(faults_clear(faults, first), 0);
    assert_int_equal(pick(faults, "a", 0)->status, 503);
    list = faults_list(faults);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "applied")), 1);
}

static void test_share_is_seeded(void **state)
{
    static const char rule[] =
        "{\"channel\":\"fcm\",\"match\":{\"share\":0.25},\"do\":{\"status\":500}}";
    loa_auto(faults) one = faults_new(7);
    loa_auto(faults) same = faults_new(7);
    loa_auto(faults) other = faults_new(8);
    int met = 0, differ = 0;

    (void)state;
    add(one, rule, 0, NULL);
    add(same, rule, 0, NULL);
    add(other, rule, 0, NULL);
    for (int i = 0; i < 10000; i++) {
        bool hit = pick(one, "a", 0) != NULL;
        assert_int_equal(hit, pick(same, "a", 0) != NULL);
        differ += hit != (pick(other, "a", 0) != NULL);
        met += hit;
    }
    assert_in_range(met, 2300, 2700);
    assert_true(differ > 0);
}

static void test_rules_are_bounded(void **state)
{
    loa_auto(faults) faults = faults_new(1);
    g_autoptr(GError) error = NULL;

    (void)state;
    for (int i = 0; i < FAULTS_MAX; i++)
        assert_true(add(faults, "{\"channel\":\"fcm\",\"do\":{\"rst\":true}}", 0, NULL) > 0);
    assert_int_equal(add(faults, "{\"channel\":\"fcm\",\"do\":{\"rst\":true}}", 0, &error), 0);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_LIMIT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duplicates_are_per_token_alert_version),
        cmocka_unit_test(test_alerts_are_told_apart),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_grows_without_losing_anybody),
        cmocka_unit_test(test_full_ledger_says_so),
        cmocka_unit_test(test_dump_that_cannot_be_written),
        cmocka_unit_test(test_rules_are_checked),
        cmocka_unit_test(test_status_and_reason_complete_each_other),
        cmocka_unit_test(test_prefix_every_count_and_time),
        cmocka_unit_test(test_first_rule_wins_and_is_cleared_by_id),
        cmocka_unit_test(test_share_is_seeded),
        cmocka_unit_test(test_rules_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
