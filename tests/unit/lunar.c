/* lib: loa_feedback */
/* The lunar calendar against published dates, above all those in which Viet Nam's differs from
 * China's: a calendar at UTC+8 would fail here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "feedback/lunar.h"
#include "feedback/sun_moon.h"

struct month {
    int year, month;
    const char *first; /* its first day */
};

static void expect(int year, int month, const char *first)
{
    g_autofree char *day = day_format(lunar_month_start(year, month));

    if (g_strcmp0(day, first) != 0)
        fail_msg("lunar %d/%d begins on %s, not on %s", month, year, day, first);
}

static const struct {
    int year;
    const char *tet;
} tet_days[] = {
    {1990, "1990-01-27"}, {1991, "1991-02-15"}, {1992, "1992-02-04"}, {1993, "1993-01-23"},
    {1994, "1994-02-10"}, {1995, "1995-01-31"}, {1996, "1996-02-19"}, {1997, "1997-02-07"},
    {1998, "1998-01-28"}, {1999, "1999-02-16"}, {2000, "2000-02-05"}, {2001, "2001-01-24"},
    {2002, "2002-02-12"}, {2003, "2003-02-01"}, {2004, "2004-01-22"}, {2005, "2005-02-09"},
    {2006, "2006-01-29"}, {2007, "2007-02-17"}, {2008, "2008-02-07"}, {2009, "2009-01-26"},
    {2010, "2010-02-14"}, {2011, "2011-02-03"}, {2012, "2012-01-23"}, {2013, "2013-02-10"},
    {2014, "2014-01-31"}, {2015, "2015-02-19"}, {2016, "2016-02-08"}, {2017, "2017-01-28"},
    {2018, "2018-02-16"}, {2019, "2019-02-05"}, {2020, "2020-01-25"}, {2021, "2021-02-12"},
    {2022, "2022-02-01"}, {2023, "2023-01-22"}, {2024, "2024-02-10"}, {2025, "2025-01-29"},
    {2026, "2026-02-17"}, {2027, "2027-02-06"}, {2028, "2028-01-26"}, {2029, "2029-02-13"},
    {2030, "2030-02-02"}, {2031, "2031-01-23"}, {2032, "2032-02-11"}, {2033, "2033-01-31"},
    {2034, "2034-02-19"}, {2035, "2035-02-08"}, {2036, "2036-01-28"}, {2037, "2037-02-15"},
    {2038, "2038-02-04"}, {2039, "2039-01-24"}, {2040, "2040-02-12"}, {2041, "2041-02-01"},
    {2042, "2042-01-22"}, {2043, "2043-02-10"}, {2044, "2044-01-30"}, {2045, "2045-02-17"},
    {2046, "2046-02-06"}, {2047, "2047-01-26"}, {2048, "2048-02-14"}, {2049, "2049-02-02"},
    {2050, "2050-01-23"},
};

static void test_tet(void **state)
{
    (void)state;

    assert_int_equal(G_N_ELEMENTS(tet_days), 61);
    for (size_t i = 0; i < G_N_ELEMENTS(tet_days); i++)
        expect(tet_days[i].year, 1, tet_days[i].tet);
}

/* Tết a day, in 1985 a month, before the Chinese New Year. */
static void test_not_the_chinese_calendar(void **state)
{
    static const struct {
        int year;
        const char *viet_nam, *china;
    } rows[] = {
        {1968, "1968-01-29", "1968-01-30"}, {1969, "1969-02-16", "1969-02-17"},
        {1985, "1985-01-21", "1985-02-20"}, {2007, "2007-02-17", "2007-02-18"},
        {2030, "2030-02-02", "2030-02-03"}, {2053, "2053-02-18", "2053-02-19"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *day = day_format(lunar_month_start(rows[i].year, 1));
        assert_string_not_equal(day, rows[i].china);
        assert_string_equal(day, rows[i].viet_nam);
    }
}

/* The tenth of the third month. */
static void test_gio_to(void **state)
{
    static const struct {
        int year;
        const char *day;
    } rows[] = {
        {2019, "2019-04-14"}, {2020, "2020-04-02"}, {2021, "2021-04-21"}, {2022, "2022-04-10"},
        {2023, "2023-04-29"}, {2024, "2024-04-18"}, {2025, "2025-04-07"}, {2026, "2026-04-26"},
        {2027, "2027-04-16"}, {2028, "2028-04-04"}, {2029, "2029-04-23"}, {2030, "2030-04-12"},
        {2031, "2031-04-01"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *day = day_format(lunar_month_start(rows[i].year, 3) + 9);
        assert_string_equal(day, rows[i].day);
    }
}

/* A leap month moves those behind it: the second in 1985 (China: the tenth of 1984), the seventh in
 * 1987 (China: the sixth), the second in 2004 and 2023, the eleventh of 2033 moves Tết 2034. */
static void test_leap_months(void **state)
{
    static const struct month rows[] = {
        {1985, 2, "1985-02-20"}, {1985, 3, "1985-04-20"}, {1987, 6, "1987-06-26"},
        {1987, 7, "1987-07-26"}, {1987, 8, "1987-09-23"}, {2004, 2, "2004-02-20"},
        {2004, 3, "2004-04-19"}, {2023, 2, "2023-02-20"}, {2023, 3, "2023-04-20"},
        {2025, 6, "2025-06-25"}, {2025, 7, "2025-08-23"}, {2033, 10, "2033-10-23"},
        {2034, 1, "2034-02-19"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        expect(rows[i].year, rows[i].month, rows[i].first);
}

/* 29 or 30 days each, thirteen of them only in a year with a leap month. */
static void test_months_follow_each_other(void **state)
{
    (void)state;

    for (int year = LUNAR_YEAR_MIN; year < LUNAR_YEAR_MAX; year++) {
        int32_t days = lunar_month_start(year + 1, 1) - lunar_month_start(year, 1);
        int leaps = 0;
        assert_true((days >= 353 && days <= 355) || (days >= 383 && days <= 385));
        for (int month = 1; month < 10; month++) {
            int32_t length = lunar_month_start(year, month + 1) - lunar_month_start(year, month);
            bool leap = length >= 58;
            assert_true(length == 29 || length == 30 || (leap && length <= 60));
            leaps += leap;
        }
        assert_true(leaps == 0 || (leaps == 1 && days >= 383));
    }
}

static void assert_near_s(int64_t utc_us, const char *expected, int64_t tolerance_s)
{
    int64_t expected_us;
    bool date_only;
    g_autofree char *text = instant_format(utc_us);

    assert_true(instant_parse(expected, &expected_us, &date_only));
    if (ABS(utc_us - expected_us) > tolerance_s * 1000000)
        fail_msg("%s is not near %s", text, expected);
}

static void test_new_moons(void **state)
{
    (void)state;

    assert_near_s(new_moon_utc_us(0), "2000-01-06T18:14Z", 60);
    assert_near_s(new_moon_utc_us(87), "2007-01-19T04:01Z", 60);
    assert_near_s(new_moon_utc_us(88), "2007-02-17T16:14Z", 60); /* 23:14 in Ha Noi */
    assert_near_s(new_moon_utc_us(372), "2030-02-02T16:07Z", 60);
}

/* Equinoxes and solstices as the almanacs have them, to the minute. */
static void test_the_sun(void **state)
{
    static const struct {
        const char *when;
        double longitude;
    } rows[] = {
        {"2000-03-20T07:35Z", 0},   {"2010-06-21T11:28Z", 90}, {"2015-09-23T08:21Z", 180},
        {"2020-12-21T10:02Z", 270}, {"2024-03-20T03:06Z", 0},  {"2025-12-21T15:03Z", 270},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        int64_t utc_us;
        bool date_only;
        assert_true(instant_parse(rows[i].when, &utc_us, &date_only));
        double off = fmod(sun_longitude(utc_us) - rows[i].longitude + 540.0, 360.0) - 180.0;
        if (fabs(off) > 0.0015) /* two minutes of time */
            fail_msg("%s: %.5f off", rows[i].when, off);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tet),
        cmocka_unit_test(test_not_the_chinese_calendar),
        cmocka_unit_test(test_gio_to),
        cmocka_unit_test(test_leap_months),
        cmocka_unit_test(test_months_follow_each_other),
        cmocka_unit_test(test_new_moons),
        cmocka_unit_test(test_the_sun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
