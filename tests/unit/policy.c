/* lib: loa_feedback */
/* The legal constants as data: the shipped ones, a change on a date, and every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "feedback/day.h"
#include "feedback/policy.h"

#define HEADER "kind,from,to,amount,unit,urgent_target_minutes,citation,name\n"
/* One row of each kind, but for intake. */
#define OTHERS                                                                                     \
    "dispatch,2021-01-01,,4,working-hours,15,Điều 9.2b,x\n"                                     \
    "redispatch,2021-01-01,,4,working-hours,,Điều 9.2b,x\n"                                     \
    "handling,2021-01-01,,7,working-days,,Điều 9.2c,x\n"                                        \
    "urgent,2021-01-01,,4,working-hours,240,Điều 9.2c,x\n"                                      \
    "clarify-window,2021-01-01,,2,days,,Điều 10.1,x\n"                                          \
    "clarify-answer,2021-01-01,,7,working-days,,Điều 10.1,x\n"                                  \
    "maintenance,2021-01-01,,3,working-days,,Điều 20.3,x\n"

static int32_t day_of(const char *text)
{
    int32_t day;

    assert_true(day_parse(text, &day));
    return day;
}

static struct policy *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct policy *policy = policy_parse(text, strlen(text), &error);

    if (policy == NULL)
        fail_msg("%s", error->message);
    return policy;
}

static void test_the_regulation(void **state)
{
    static const struct {
        enum deadline_kind kind;
        const char *word;
        int amount;
        enum policy_unit unit;
        int urgent_target_min;
        const char *citation;
    } rows[] = {
        {DEADLINE_INTAKE, "intake", 8, POLICY_WORKING_HOURS, 60, "Điều 9.2a"},
        {DEADLINE_DISPATCH, "dispatch", 4, POLICY_WORKING_HOURS, 15, "Điều 9.2b"},
        {DEADLINE_REDISPATCH, "redispatch", 4, POLICY_WORKING_HOURS, 15, "Điều 9.2b (tương tự)"},
        {DEADLINE_HANDLING, "handling", 7, POLICY_WORKING_DAYS, 0, "Điều 9.2c"},
        {DEADLINE_URGENT, "urgent", 4, POLICY_WORKING_HOURS, 240, "Điều 9.2c"},
        {DEADLINE_CLARIFY_WINDOW, "clarify-window", 2, POLICY_DAYS, 0, "Điều 10.1"},
        {DEADLINE_CLARIFY_ANSWER, "clarify-answer", 7, POLICY_WORKING_DAYS, 0, "Điều 10.1"},
        {DEADLINE_MAINTENANCE, "maintenance", 3, POLICY_WORKING_DAYS, 0, "Điều 20.3"},
    };
    g_autofree char *text = NULL;
    loa_auto(policy) policy = NULL;
    (void)state;

    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/etc/policy.csv", &text, NULL, NULL));
    policy = parse(text);
    assert_int_equal(G_N_ELEMENTS(rows), DEADLINE_KINDS);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct policy_rule *rule =
            policy_find(policy, rows[i].kind, day_of("2025-10-06"), NULL);
        enum deadline_kind kind;
        assert_non_null(rule);
        assert_int_equal(rule->amount, rows[i].amount);
        assert_int_equal(rule->unit, rows[i].unit);
        assert_int_equal(rule->urgent_target_min, rows[i].urgent_target_min);
        assert_string_equal(rule->citation, rows[i].citation);
        assert_string_equal(deadline_kind_word(rows[i].kind), rows[i].word);
        assert_true(deadline_kind_parse(rows[i].word, &kind));
        assert_int_equal(kind, rows[i].kind);
    }
    assert_int_equal(strlen(policy_version(policy)), CSV_VERSION_LEN);
}

static void test_a_change_has_a_date(void **state)
{
    loa_auto(policy) policy =
        parse(HEADER "intake,2021-01-01,2026-06-30,8,working-hours,,Điều 9.2a,x\n"
                     "intake,2026-07-01,,6,working-hours,,Điều 9.2a,x\n" OTHERS);
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_int_equal(policy_find(policy, DEADLINE_INTAKE, day_of("2026-06-30"), NULL)->amount, 8);
    assert_int_equal(policy_find(policy, DEADLINE_INTAKE, day_of("2026-07-01"), NULL)->amount, 6);
    assert_null(policy_find(policy, DEADLINE_INTAKE, day_of("2020-12-31"), &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    assert_string_equal(error->message, "policy: no rule for intake on 2020-12-31");
}

/* A comment changes no version; a number does. */
static void test_versions(void **state)
{
    static const char intake[] = "intake,2021-01-01,,8,working-hours,,Điều 9.2a,x\n";
    g_autofree char *plain = g_strconcat(HEADER, intake, OTHERS, NULL);
    g_autofree char *spaced =
        g_strconcat("\xef\xbb\xbf# a comment\r\n", HEADER, "\n", intake, "\r\n", OTHERS, NULL);
    g_autofree char *other =
        g_strconcat(HEADER, "intake,2021-01-01,,9,working-hours,,Điều 9.2a,x\n", OTHERS, NULL);
    loa_auto(policy) a = parse(plain);
    loa_auto(policy) b = parse(spaced);
    loa_auto(policy) c = parse(other);
    (void)state;

    assert_string_equal(policy_version(a), policy_version(b));
    assert_string_not_equal(policy_version(a), policy_version(c));
}

static void test_refusals(void **state)
{
    static const struct {
        const char *row, *message;
    } rows[] = {
        {"intake,2021-01-01,,8,working-hours,,Điều 9.2a", "line 2: must have the 8 fields"},
        {"intake,2021-01-01,,8,working-hours,,Điều 9.2a,x,y", "line 2: must have the 8 fields"},
        {"", "no rule for intake"},
        {"Intake,2021-01-01,,8,working-hours,,c,x", "kind: no kind \"Intake\""},
        {"intake,2021-02-29,,8,working-hours,,c,x", "from: must be a date"},
        {"intake,2021-01-01,2020-01-01,8,working-hours,,c,x", "to: must be empty or a date"},
        {"intake,2021-01-01,,0,working-hours,,c,x", "amount: must be a number from 1"},
        {"intake,2021-01-01,,8h,working-hours,,c,x", "amount: must be a number from 1"},
        {"intake,2021-01-01,,1001,working-hours,,c,x", "amount: must be a number from 1"},
        {"intake,2021-01-01,,8,hours,,c,x", "unit: must be"},
        {"intake,2021-01-01,,8,working-hours,0,c,x", "urgent_target_minutes: must be"},
        {"intake,2021-01-01,,8,working-hours,,,x", "citation and name: must not be empty"},
        {"intake,2021-01-01,,8,working-hours,,c,", "citation and name: must not be empty"},
        {"intake,2021-01-01,,8,working-hours,,\"c\",x", "no quote"},
        {"intake,2021-01-01,,8,working-hours,,c\xff,x", "printable UTF-8"},
        {"intake,2021-01-01,,8,working-hours,,c,x\nintake,2025-01-01,,8,working-hours,,c,x",
         "line 3: some days have a rule for intake in line 2 already"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strconcat(HEADER, rows[i].row, "\n", OTHERS, NULL);
        g_autoptr(GError) error = NULL;
        assert_null(policy_parse(text, strlen(text), &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
        if (strstr(error->message, rows[i].message) == NULL)
            fail_msg("%s: %s", rows[i].row, error->message);
    }
}

static void test_what_is_no_table(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *message;
    } rows[] = {
        {"", 0, "has no rows"},
        {HEADER, sizeof(HEADER) - 1, "has no rows"},
        {"kind,from\n", 10, "the first row must be kind,from,to,amount"},
        {"a\0b", 3, "not a text of at most"},
        {HEADER, (size_t)CSV_FILE_BYTES_MAX + 1, "not a text of at most"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(policy_parse(rows[i].text, rows[i].len, &error));
        if (strstr(error->message, rows[i].message) == NULL)
            fail_msg("%s", error->message);
    }
}

/* A file of faults lists twenty of them; a file of rows ends at the limit. */
static void test_limits(void **state)
{
    g_autoptr(GString) text = g_string_new(HEADER);
    g_autoptr(GError) faults = NULL, rows = NULL;
    (void)state;

    for (int i = 0; i < 100; i++)
        g_string_append(text, "nothing\n");
    assert_null(policy_parse(text->str, text->len, &faults));
    assert_non_null(strstr(faults->message, "line 21:"));
    assert_null(strstr(faults->message, "line 22:"));
    g_string_assign(text, HEADER);
    for (int i = 0; i <= CSV_ROWS_MAX; i++)
        g_string_append(text, "intake,2021-01-01,,8,working-hours,,c,x\n");
    assert_null(policy_parse(text->str, text->len, &rows));
    assert_non_null(strstr(rows->message, "too many rows"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_regulation),   cmocka_unit_test(test_a_change_has_a_date),
        cmocka_unit_test(test_versions),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_what_is_no_table), cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
