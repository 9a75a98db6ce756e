/* lib: loa_feedback */
/* The working calendar: the shipped one on the days that were announced, and small ones for each
 * rule and each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "feedback/calendar.h"
#include "feedback/day.h"

#define HEADER "record,from,to,what,status,document,name\n"
#define HOURS  "hours,2021-01-01,,mon-fri 07:30-11:30 13:00-17:00,official,d,x\n"
#define LAW                                                                                        \
    HEADER HOURS "holiday,2021-01-01,,new-year solar 01-01 in-lieu,official,law,New Year\n"        \
                 "holiday,2021-01-01,,tet tet 1 4 in-lieu,official,law,Tet\n"                      \
                 "holiday,2021-01-01,,victory-day solar 04-30 in-lieu,official,law,Victory\n"      \
                 "holiday,2021-01-01,,labour-day solar 05-01 in-lieu,official,law,Labour\n"        \
                 "holiday,2021-01-01,,national-day national-day in-lieu,official,law,National\n"   \
                 "holiday,2021-01-01,,hung-kings lunar 03-10 in-lieu,official,law,Hung\n"

static int32_t day_of(const char *text)
{
    int32_t day;

    assert_true(day_parse(text, &day));
    return day;
}

static struct calendar *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct calendar *calendar = calendar_parse(text, strlen(text), &error);

    if (calendar == NULL)
        fail_msg("%s", error->message);
    return calendar;
}

static struct calendar *shipped(void)
{
    g_autofree char *text = NULL;

    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/etc/holidays.csv", &text, NULL, NULL));
    return parse(text);
}

static struct calendar_day at(const struct calendar *calendar, const char *date)
{
    g_autoptr(GError) error = NULL;
    struct calendar_day day;

    if (!calendar_day_at(calendar, day_of(date), &day, &error))
        fail_msg("%s", error->message);
    return day;
}

struct expected {
    const char *date;
    enum calendar_day_kind kind;
    bool estimated;
    const char *name; /* part of it; NULL = none */
};

static void expect(const struct calendar *calendar, const struct expected *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct calendar_day day = at(calendar, rows[i].date);
        if (day.kind != rows[i].kind || day.estimated != rows[i].estimated ||
            (day.name != NULL) != (rows[i].name != NULL) ||
            (day.name != NULL && strstr(day.name, rows[i].name) == NULL))
            fail_msg("%s: kind %d%s \"%s\"", rows[i].date, day.kind,
                     day.estimated ? " estimated" : "", day.name);
        assert_int_equal(day.n_spans > 0,
                         day.kind == CALENDAR_WORK || day.kind == CALENDAR_SWAP_WORK);
    }
}

/* Working days between two dates, both included. */
static int working_days(const struct calendar *calendar, const char *from, const char *to)
{
    int n = 0;

    for (int32_t day = day_of(from); day <= day_of(to); day++) {
        struct calendar_day info;
        assert_true(calendar_day_at(calendar, day, &info, NULL));
        n += info.n_spans > 0;
    }
    return n;
}

static void test_announced_days(void **state)
{
    static const struct expected rows[] = {
        {"2025-01-01", CALENDAR_HOLIDAY, false, "Tết Dương lịch"},
        {"2025-01-24", CALENDAR_WORK, false, NULL},
        {"2025-01-25", CALENDAR_HOLIDAY, false, "Tết Âm lịch"},
        {"2025-02-02", CALENDAR_HOLIDAY, false, "Tết Âm lịch"},
        {"2025-02-03", CALENDAR_WORK, false, NULL},
        {"2025-04-07", CALENDAR_HOLIDAY, false, "Giỗ Tổ"},
        {"2025-04-26", CALENDAR_SWAP_WORK, false, "Nghỉ hoán đổi dịp 30/4"},
        {"2025-04-27", CALENDAR_WEEKLY_REST, false, NULL},
        {"2025-04-30", CALENDAR_HOLIDAY, false, "Ngày Chiến thắng"},
        {"2025-05-01", CALENDAR_HOLIDAY, false, "lao động"},
        {"2025-05-02", CALENDAR_SWAP_OFF, false, "Nghỉ hoán đổi dịp 30/4"},
        {"2025-05-05", CALENDAR_WORK, false, NULL},
        {"2025-08-30", CALENDAR_HOLIDAY, false, "Quốc khánh"},
        {"2025-09-02", CALENDAR_HOLIDAY, false, "Quốc khánh"},
        {"2025-09-03", CALENDAR_WORK, false, NULL},
        {"2026-01-01", CALENDAR_HOLIDAY, false, "Tết Dương lịch"},
        {"2026-01-02", CALENDAR_SWAP_OFF, false, "Tết Dương lịch"},
        {"2026-01-10", CALENDAR_SWAP_WORK, false, "Tết Dương lịch"},
        {"2026-02-13", CALENDAR_WORK, false, NULL},
        {"2026-02-14", CALENDAR_HOLIDAY, false, "Tết Âm lịch"},
        {"2026-02-22", CALENDAR_HOLIDAY, false, "Tết Âm lịch"},
        {"2026-02-23", CALENDAR_WORK, false, NULL},
        {"2026-04-26", CALENDAR_HOLIDAY, false, "Giỗ Tổ"},
        {"2026-04-27", CALENDAR_HOLIDAY, false, "Giỗ Tổ"},
        {"2026-04-28", CALENDAR_WORK, false, NULL},
        {"2026-08-22", CALENDAR_SWAP_WORK, false, "Quốc khánh"},
        {"2026-08-31", CALENDAR_SWAP_OFF, false, "Quốc khánh"},
        {"2026-09-02", CALENDAR_HOLIDAY, false, "Quốc khánh"},
        {"2026-09-03", CALENDAR_WORK, false, NULL},
        {"2026-11-24", CALENDAR_WORK, false, NULL}, /* its row is disabled */
        {"2024-05-04", CALENDAR_SWAP_WORK, false, "30/4"},
    };
    loa_auto(calendar) calendar = shipped();
    (void)state;

    expect(calendar, rows, G_N_ELEMENTS(rows));
    assert_string_equal(at(calendar, "2026-01-02").document, "12729/VPCP-KGVX");
    /* 261 weekdays less 5 Tết, 2 Quốc khánh, Giỗ Tổ, 1/1, 30/4, 1/5; each swap gives one back. */
    assert_int_equal(working_days(calendar, "2025-01-01", "2025-12-31"), 261 - 11);
    assert_int_equal(working_days(calendar, "2026-01-01", "2026-12-31"), 261 - 11);
}

/* What is not announced is computed: certain for dates of the solar calendar, else an estimate. */
static void test_estimates(void **state)
{
    static const struct expected rows[] = {
        {"2027-01-01", CALENDAR_HOLIDAY, false, "Tết Dương lịch"},
        {"2027-02-04", CALENDAR_WORK, false, NULL},
        {"2027-02-05", CALENDAR_HOLIDAY, true, "Tết Âm lịch"}, /* the last day of the old year */
        {"2027-02-06", CALENDAR_HOLIDAY, true, "Tết Âm lịch"}, /* Saturday */
        {"2027-02-09", CALENDAR_HOLIDAY, true, "Tết Âm lịch"},
        {"2027-02-10", CALENDAR_HOLIDAY, true, "Nghỉ bù Tết Âm lịch"},
        {"2027-02-11", CALENDAR_HOLIDAY, true, "Nghỉ bù Tết Âm lịch"},
        {"2027-02-12", CALENDAR_WORK, false, NULL},
        {"2027-04-16", CALENDAR_HOLIDAY, true, "Giỗ Tổ"},
        {"2027-05-01", CALENDAR_HOLIDAY, false, "lao động"}, /* Saturday */
        {"2027-05-03", CALENDAR_HOLIDAY, false, "Nghỉ bù Ngày Quốc tế lao động"},
        {"2027-09-02", CALENDAR_HOLIDAY, true, "Quốc khánh"},
        {"2027-09-03", CALENDAR_HOLIDAY, true, "Quốc khánh"},
        {"2030-02-01", CALENDAR_HOLIDAY, true, "Tết Âm lịch"},
        {"2030-02-06", CALENDAR_HOLIDAY, true, "Nghỉ bù Tết Âm lịch"},
        {"2030-02-08", CALENDAR_WORK, false, NULL}, /* by China's calendar it would be off */
        {"2099-12-31", CALENDAR_WORK, false, NULL},
    };
    loa_auto(calendar) calendar = shipped();
    (void)state;

    expect(calendar, rows, G_N_ELEMENTS(rows));
}

/* The day beside 2 September, by the weekday of that. */
static void test_beside_national_day(void **state)
{
    static const char *const beside[] = {"2025-09-01", "2026-09-01", "2027-09-03", "2028-09-01",
                                         "2029-09-03", "2030-09-03", "2031-09-01"};
    static const char *const other[] = {"2025-09-03", "2026-09-03", "2027-09-01", "2028-09-05",
                                        "2029-09-05", "2030-09-04", "2031-09-03"};
    loa_auto(calendar) calendar = parse(LAW);
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(beside); i++) {
        assert_int_equal(at(calendar, beside[i]).kind, CALENDAR_HOLIDAY);
        assert_int_equal(at(calendar, other[i]).kind, CALENDAR_WORK);
    }
    /* 2028: the second is a Saturday; 2029: a Sunday whose Monday is taken. */
    assert_string_equal(at(calendar, "2028-09-04").name, "Nghỉ bù National");
    assert_string_equal(at(calendar, "2029-09-04").name, "Nghỉ bù National");
}

/* 2023: Giỗ Tổ on Saturday, 30/4 on Sunday, 1/5 on Monday gave five days off in a row. */
static void test_days_in_lieu_queue(void **state)
{
    static const struct expected rows[] = {
        {"2023-04-28", CALENDAR_WORK, false, NULL},
        {"2023-04-29", CALENDAR_HOLIDAY, true, "Hung"},
        {"2023-04-30", CALENDAR_HOLIDAY, false, "Victory"},
        {"2023-05-01", CALENDAR_HOLIDAY, false, "Labour"},
        {"2023-05-02", CALENDAR_HOLIDAY, true, "Nghỉ bù Hung"},
        {"2023-05-03", CALENDAR_HOLIDAY, false, "Nghỉ bù Victory"},
        {"2023-05-04", CALENDAR_WORK, false, NULL},
    };
    loa_auto(calendar) calendar = parse(LAW);
    (void)state;

    expect(calendar, rows, G_N_ELEMENTS(rows));
}

/* An official row replaces the computed days and estimated rows of its holiday and year, no other.
 */
static void test_official_replaces_estimate(void **state)
{
    static const char estimate[] = "off,2027-02-03,2027-02-11,tet,estimate,,Proposal\n";
    static const char official[] = "off,2027-02-04,2027-02-10,tet,official,1/TB,Decision\n";
    static const struct expected computed[] = {
        {"2027-02-04", CALENDAR_WORK, false, NULL},
        {"2027-02-11", CALENDAR_HOLIDAY, true, "Nghỉ bù Tet"},
    };
    static const struct expected proposed[] = {
        {"2027-02-03", CALENDAR_HOLIDAY, true, "Proposal"},
        {"2027-02-11", CALENDAR_HOLIDAY, true, "Proposal"},
        {"2027-02-12", CALENDAR_WORK, false, NULL},
    };
    static const struct expected decided[] = {
        {"2027-02-03", CALENDAR_WORK, false, NULL},
        {"2027-02-04", CALENDAR_HOLIDAY, false, "Decision"},
        {"2027-02-10", CALENDAR_HOLIDAY, false, "Decision"},
        {"2027-02-11", CALENDAR_WORK, false, NULL},
        {"2027-04-16", CALENDAR_HOLIDAY, true, "Hung"},
        {"2028-01-26", CALENDAR_HOLIDAY, true, "Tet"},
    };
    g_autofree char *with_estimate = g_strconcat(LAW, estimate, NULL);
    g_autofree char *with_both = g_strconcat(LAW, estimate, official, NULL);
    loa_auto(calendar) a = parse(LAW);
    loa_auto(calendar) b = parse(with_estimate);
    loa_auto(calendar) c = parse(with_both);
    (void)state;

    expect(a, computed, G_N_ELEMENTS(computed));
    expect(b, proposed, G_N_ELEMENTS(proposed));
    expect(c, decided, G_N_ELEMENTS(decided));
}

/* A block of New Year may begin in the old year: it belongs to the year of its last day. */
static void test_a_block_belongs_to_its_last_year(void **state)
{
    static const struct expected rows[] = {
        {"2027-12-31", CALENDAR_HOLIDAY, false, "Block"},
        {"2028-01-01", CALENDAR_HOLIDAY, false, "Block"},
        {"2028-01-03", CALENDAR_WORK, false, NULL}, /* no day in lieu beside the block */
        {"2027-01-01", CALENDAR_HOLIDAY, false, "New Year"},
    };
    loa_auto(calendar) calendar =
        parse(LAW "off,2027-12-31,2028-01-02,new-year,official,1/TB,Block\n");
    (void)state;

    expect(calendar, rows, G_N_ELEMENTS(rows));
}

static void expect_spans(const struct calendar *calendar, const char *date, const char *expected)
{
    struct calendar_day day = at(calendar, date);
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < day.n_spans; i++)
        g_string_append_printf(text, "%s%02d:%02d-%02d:%02d", i > 0 ? " " : "",
                               day.spans[i].from_min / 60, day.spans[i].from_min % 60,
                               day.spans[i].to_min / 60, day.spans[i].to_min % 60);
    if (strcmp(text->str, expected) != 0)
        fail_msg("%s: %s, not %s", date, text->str, expected);
}

/* A later decision with two seasons, one of them over New Year, and a Saturday morning for a year.
 */
static void test_seasons(void **state)
{
    loa_auto(calendar) calendar =
        parse(HEADER HOURS
              "hours,2026-06-01,,mon-thu 07:00-11:00 13:30-17:30 season 04-15..10-14,official,d,x\n"
              "hours,2026-06-01,,mon-thu 08:00-12:00 13:00-17:00 season 10-15..04-14,official,d,x\n"
              "hours,2026-06-01,2026-12-31,sat 07:30-11:30,official,d,x\n"
              "hours,2026-06-01,,sun 00:00-24:00,disabled,d,x\n");
    (void)state;

    expect_spans(calendar, "2026-05-28", "07:30-11:30 13:00-17:00");
    expect_spans(calendar, "2026-06-01", "07:00-11:00 13:30-17:30");
    expect_spans(calendar, "2026-10-14", "07:00-11:00 13:30-17:30");
    expect_spans(calendar, "2026-10-15", "08:00-12:00 13:00-17:00");
    expect_spans(calendar, "2027-01-04", "08:00-12:00 13:00-17:00");
    expect_spans(calendar, "2027-04-14", "08:00-12:00 13:00-17:00");
    expect_spans(calendar, "2027-04-15", "07:00-11:00 13:30-17:30");
    expect_spans(calendar, "2026-06-05", "07:30-11:30 13:00-17:00"); /* Friday: the older row */
    expect_spans(calendar, "2026-06-06", "07:30-11:30");
    expect_spans(calendar, "2027-01-02", "");
    expect_spans(calendar, "2026-06-07", "");
}

/* Who works on a Saturday instead of a Friday works Friday's hours. */
static void test_a_swap_brings_its_hours(void **state)
{
    loa_auto(calendar) calendar =
        parse(HEADER "hours,2021-01-01,,mon-thu 07:30-11:30 13:00-17:00,official,d,x\n"
                     "hours,2021-01-01,,fri 07:30-11:30,official,d,x\n"
                     "swap,2026-01-02,2026-01-10,other,official,d,x\n");
    (void)state;

    expect_spans(calendar, "2026-01-02", "");
    expect_spans(calendar, "2026-01-09", "07:30-11:30");
    expect_spans(calendar, "2026-01-10", "07:30-11:30");
}

static void test_status_of_swaps(void **state)
{
    static const struct expected rows[] = {
        {"2026-11-23", CALENDAR_SWAP_OFF, true, "Proposal"},
        {"2026-11-28", CALENDAR_SWAP_WORK, true, "Proposal"},
        {"2026-12-24", CALENDAR_WORK, false, NULL},
        {"2026-12-26", CALENDAR_WEEKLY_REST, false, NULL},
    };
    loa_auto(calendar) calendar = parse(LAW "swap,2026-11-23,2026-11-28,other,estimate,,Proposal\n"
                                            "swap,2026-12-24,2026-12-26,other,disabled,,No\n");
    (void)state;

    expect(calendar, rows, G_N_ELEMENTS(rows));
}

static void test_what_the_file_does_not_cover(void **state)
{
    loa_auto(calendar) calendar =
        parse(HEADER "hours,2021-01-01,2026-12-31,mon-fri 07:30-11:30,official,d,x\n");
    struct calendar_day day;
    g_autoptr(GError) before = NULL, after = NULL;
    (void)state;

    assert_false(calendar_day_at(calendar, day_of("2020-12-31"), &day, &before));
    assert_true(g_error_matches(before, LOA_ERROR, LOA_ERROR_INVALID));
    assert_string_equal(before->message, "calendar: no working hours for 2020-12-31");
    assert_false(calendar_day_at(calendar, day_of("2027-01-01"), &day, &after));
    assert_true(calendar_day_at(calendar, day_of("2026-12-31"), &day, NULL));
}

static void test_missing_official_rows(void **state)
{
    static const struct {
        const char *today, *missing;
    } rows[] = {
        {"2025-06-15", NULL},
        {"2025-12-31", NULL},
        {"2026-01-01", NULL},
        {"2026-12-01", NULL},
        {"2026-12-02", "Tết Âm lịch 2027, Quốc khánh 2027"},
        {"2026-12-31", "Tết Âm lịch 2027, Quốc khánh 2027"},
        {"2027-01-01", "Tết Âm lịch 2027, Quốc khánh 2027"},
        {"2027-12-02", "Tết Âm lịch 2027, Quốc khánh 2027, Tết Âm lịch 2028, Quốc khánh 2028"},
        {"2099-12-31", "Tết Âm lịch 2099, Quốc khánh 2099"},
    };
    loa_auto(calendar) calendar = shipped();
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *missing = calendar_missing_official(calendar, day_of(rows[i].today));
        if (g_strcmp0(missing, rows[i].missing) != 0)
            fail_msg("%s: %s", rows[i].today, missing);
    }
}

/* An estimated row is not what the alarm waits for. */
static void test_an_estimate_ends_no_alarm(void **state)
{
    static const char tet[] = "off,2027-02-04,2027-02-10,tet,official,1/TB,x\n";
    g_autofree char *half =
        g_strconcat(LAW, tet, "off,2027-09-02,2027-09-03,national-day,estimate,,x\n", NULL);
    g_autofree char *whole =
        g_strconcat(LAW, tet, "off,2027-09-02,2027-09-03,national-day,official,1/TB,x\n", NULL);
    loa_auto(calendar) a = parse(half);
    loa_auto(calendar) b = parse(whole);
    g_autofree char *missing = calendar_missing_official(a, day_of("2027-03-01"));
    (void)state;

    assert_string_equal(missing, "National 2027");
    assert_null(calendar_missing_official(b, day_of("2027-03-01")));
}

static void test_versions(void **state)
{
    loa_auto(calendar) a = parse(LAW);
    loa_auto(calendar) b = parse("# a comment\r\n" LAW "\n\n");
    loa_auto(calendar) c = parse(LAW "off,2027-02-04,,tet,official,1/TB,x\n");
    (void)state;

    assert_string_equal(calendar_version(a), calendar_version(b));
    assert_string_not_equal(calendar_version(a), calendar_version(c));
}

static void test_refusals(void **state)
{
    static const struct {
        const char *row, *message;
    } rows[] = {
        {"hour,2021-01-01,,mon 07:30-11:30,official,d,x", "line 3: record: must be"},
        {"hours,01/01/2021,,mon 07:30-11:30,official,d,x", "from: must be a date"},
        {"hours,2021-01-01,2020-01-01,mon 07:30-11:30,official,d,x", "to: must be empty or"},
        {"hours,2022-01-01,,mon 07:30-11:30,yes,d,x", "status: must be official, estimate or"},
        {"hours,2022-01-01,,mon 07:30-11:30,estimate,d,x", "status: hours are official or"},
        {"hours,2022-01-01,,mon 07:30-11:30,official,,x", "document: an official row names"},
        {"hours,2022-01-01,,mon 07:30-11:30,official,d,", "name: must not be empty"},
        {"hours,2022-01-01,,monday 07:30-11:30,official,d,x", "what: must begin with weekdays"},
        {"hours,2022-01-01,,fri-mon 07:30-11:30,official,d,x", "what: must begin with weekdays"},
        {"hours,2022-01-01,,,official,d,x", "what: must begin with weekdays"},
        {"hours,2022-01-01,,mon,official,d,x", "ascending intervals"},
        {"hours,2022-01-01,,mon 7:30-11:30,official,d,x", "ascending intervals"},
        {"hours,2022-01-01,,mon 11:30-07:30,official,d,x", "ascending intervals"},
        {"hours,2022-01-01,,mon 07:30-24:01,official,d,x", "ascending intervals"},
        {"hours,2022-01-01,,mon 07:30-11:30 11:30-12:00,official,d,x", "ascending intervals"},
        {"hours,2022-01-01,,mon 01:00-02:00 03:00-04:00 05:00-06:00 07:00-08:00 09:00-10:00,"
         "official,d,x",
         "ascending intervals"},
        {"hours,2022-01-01,,mon 07:30-11:30 season,official,d,x", "season 10-15..04-14"},
        {"hours,2022-01-01,,mon 07:30-11:30 season 10-15..02-30,official,d,x", "season 10-15"},
        {"hours,2022-01-01,,mon season 10-15..04-14,official,d,x", "ascending intervals"},
        {"hours,2021-01-01,,fri-sat 07:30-11:30,official,d,x",
         "line 3: line 2 has hours for these days from the same date on"},
        {"holiday,2021-01-01,,Key solar 01-01,official,d,x", "what: must begin with a key"},
        {"holiday,2021-01-01,,other solar 01-01,official,d,x", "what: must begin with a key"},
        {"holiday,2021-01-01,,key,official,d,x", "what: after the key must stand"},
        {"holiday,2021-01-01,,key solar 02-30,official,d,x", "what: after the key must stand"},
        {"holiday,2021-01-01,,key lunar 11-10,official,d,x", "what: after the key must stand"},
        {"holiday,2021-01-01,,key lunar 03-30,official,d,x", "what: after the key must stand"},
        {"holiday,2021-01-01,,key tet 0 0,official,d,x", "what: after the key must stand"},
        {"holiday,2021-01-01,,key tet 9 1,official,d,x", "what: after the key must stand"},
        {"holiday,2021-01-01,,key solar 01-01 lieu,official,d,x", "what: only in-lieu may"},
        {"holiday,2021-01-01,,key solar 01-01 in-lieu x,official,d,x", "what: only in-lieu may"},
        {"holiday,2021-01-01,,key solar 01-01,estimate,d,x", "status: a holiday is official or"},
        {"holiday,2021-01-01,,a solar 01-01,official,d,x\n"
         "holiday,2022-01-01,,a solar 01-02,official,d,x",
         "line 4: a stands in line 3 for some of these days"},
        {"off,2022-01-01,,tet,official,d,x", "what: no holiday row has the key tet"},
        {"off,2022-01-01,,,official,d,x", "what: must be the key of a holiday"},
        {"off,2022-01-01,2022-02-01,other,official,d,x", "to: more than 31 days off"},
        {"off,2022-01-01,2022-01-05,other,official,d,x\noff,2022-01-05,,other,official,d,x",
         "line 4: line 3 has some of these days off"},
        {"swap,2026-01-02,,other,official,d,x", "to: the day worked, at most 60 days"},
        {"swap,2026-01-02,2026-03-14,other,official,d,x", "to: the day worked, at most 60 days"},
        {"swap,2026-01-03,2026-01-10,other,official,d,x", "from: the day off is a weekly day off"},
        {"swap,2026-01-02,2026-01-09,other,official,d,x", "to: the day worked is a working day"},
        {"swap,2026-01-02,2026-01-10,other,official,d,x\n"
         "swap,2026-01-05,2026-01-10,other,official,d,x",
         "line 4: line 3 swaps one of these days already"},
        {"hours,2021-01-01,,sun 08:00-09:00 season 06-01..06-07,official,d,x\n"
         "swap,2026-06-07,2026-06-13,other,official,d,x",
         "line 4: to: no hours are known for working on that day"},
        {"swap,2026-01-02,2026-01-10,none,official,d,x", "what: no holiday row has the key none"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strconcat(HEADER, HOURS, rows[i].row, "\n", NULL);
        g_autoptr(GError) error = NULL;
        loa_auto(calendar) calendar = calendar_parse(text, strlen(text), &error);
        if (calendar != NULL || strstr(error->message, rows[i].message) == NULL)
            fail_msg("%s: %s", rows[i].row, calendar != NULL ? "accepted" : error->message);
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    }
}

static void test_hours_must_be_there(void **state)
{
    static const char text[] = HEADER "off,2022-01-01,,other,official,d,x\n";
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_null(calendar_parse(text, strlen(text), &error));
    assert_non_null(strstr(error->message, "no row says the working hours"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announced_days),
        cmocka_unit_test(test_estimates),
        cmocka_unit_test(test_beside_national_day),
        cmocka_unit_test(test_days_in_lieu_queue),
        cmocka_unit_test(test_official_replaces_estimate),
        cmocka_unit_test(test_a_block_belongs_to_its_last_year),
        cmocka_unit_test(test_seasons),
        cmocka_unit_test(test_a_swap_brings_its_hours),
        cmocka_unit_test(test_status_of_swaps),
        cmocka_unit_test(test_what_the_file_does_not_cover),
        cmocka_unit_test(test_missing_official_rows),
        cmocka_unit_test(test_an_estimate_ends_no_alarm),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hours_must_be_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
