/* lib: loa_feedback */
/* Dates and instants of Viet Nam: what is understood, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "feedback/day.h"

static void test_days(void **state)
{
    static const struct {
        const char *text;
        int32_t day; /* -1 = refused */
        int weekday;
    } rows[] = {
        {"2000-01-01", 10957, 5}, {"2000-02-29", 11016, 1},
        {"2024-02-29", 19782, 3}, {"2025-10-03", 20364, 4},
        {"2099-12-31", 47481, 3}, {"2025-02-29", -1, 0},
        {"2025-13-01", -1, 0},    {"2025-00-01", -1, 0},
        {"2025-01-00", -1, 0},    {"1999-12-31", -1, 0},
        {"2100-01-01", -1, 0},    {"2025-1-01", -1, 0},
        {"2025-01-01 ", -1, 0},   {"", -1, 0},
        {"+025-01-01", -1, 0},    {"2025-01-01T00:00", -1, 0},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        int32_t day = -1;
        bool ok = day_parse(rows[i].text, &day);
        if (ok != (rows[i].day >= 0) || day != rows[i].day)
            fail_msg("%s: %d", rows[i].text, day);
        if (!ok)
            continue;
        g_autofree char *back = day_format(day);
        assert_string_equal(back, rows[i].text);
        assert_int_equal(day_weekday(day), rows[i].weekday);
    }
    assert_int_equal(day_weekday(-1), 2);
    assert_string_equal(day_weekday_name(10957), "thứ Bảy");
    assert_string_equal(day_weekday_name(10958), "Chủ nhật");
}

static void test_instants(void **state)
{
    static const struct {
        const char *text, *formatted; /* NULL = refused */
        bool date_only;
    } rows[] = {
        {"2025-10-03T16:30+07:00", "2025-10-03T16:30:00+07:00", false},
        {"2025-10-03T16:30:05+07:00", "2025-10-03T16:30:05+07:00", false},
        {"2025-10-03T16:30", "2025-10-03T16:30:00+07:00", false},
        {"2025-10-03 16:30", "2025-10-03T16:30:00+07:00", false},
        {"2025-10-03T09:30Z", "2025-10-03T16:30:00+07:00", false},
        {"2025-10-03T09:30:00z", "2025-10-03T16:30:00+07:00", false},
        {"2025-10-03T17:00-00:30", "2025-10-04T00:30:00+07:00", false},
        {"2025-12-31T23:59:59-12:00", "2026-01-01T18:59:59+07:00", false},
        {"2025-10-03", "2025-10-03T00:00:00+07:00", true},
        {"2025-10-03T", NULL, false},
        {"2025-10-03T24:00", NULL, false},
        {"2025-10-03T16:60", NULL, false},
        {"2025-10-03T16:30:60", NULL, false},
        {"2025-10-03T16", NULL, false},
        {"2025-10-03T16:30:", NULL, false},
        {"2025-10-03T16:30+7:00", NULL, false},
        {"2025-10-03T16:30+0700", NULL, false},
        {"2025-10-03T16:30+24:00", NULL, false},
        {"2025-10-03T16:30 +07:00", NULL, false},
        {"2025-02-30T16:30", NULL, false},
        {"03/10/2025", NULL, false},
        {"", NULL, false},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        int64_t utc_us = -1;
        bool date_only = false;
        if (instant_parse(rows[i].text, &utc_us, &date_only) != (rows[i].formatted != NULL))
            fail_msg("\"%s\"", rows[i].text);
        if (rows[i].formatted == NULL)
            continue;
        g_autofree char *formatted = instant_format(utc_us);
        assert_string_equal(formatted, rows[i].formatted);
        assert_int_equal(date_only, rows[i].date_only);
    }
}

static void test_a_day_begins_at_17_utc(void **state)
{
    int64_t us_of_day;
    (void)state;

    assert_int_equal(instant_day(0, &us_of_day), 0);
    assert_int_equal(us_of_day, DAY_UTC_OFFSET_S * INT64_C(1000000));
    assert_int_equal(instant_day(17 * INT64_C(3600000000) - 1, &us_of_day), 0);
    assert_int_equal(us_of_day, DAY_US - 1);
    assert_int_equal(instant_day(17 * INT64_C(3600000000), &us_of_day), 1);
    assert_int_equal(us_of_day, 0);
    assert_int_equal(instant_day(-DAY_US, &us_of_day), -1);
    assert_int_equal(instant_of(1, DAY_US), instant_of(2, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_instants),
        cmocka_unit_test(test_a_day_begins_at_17_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
