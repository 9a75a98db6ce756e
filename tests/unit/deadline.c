/* lib: loa_feedback */
/* Legal deadlines: worked vectors, the edges of a day, what is explained, and properties that hold
 * for any start. The properties' seed is printed; LOA_DEADLINE_SEED repeats a course. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "feedback/day.h"
#include "feedback/deadline.h"

#define HOUR_US (3600 * USEC_PER_SEC)

static struct calendar *shipped, *seasonal;
static struct policy *policy;

/* Friday afternoon is free, Saturday morning is worked in summer; nothing is announced. */
static const char seasonal_text[] =
    "record,from,to,what,status,document,name\n"
    "hours,2021-01-01,,mon-thu 07:00-11:30 13:30-17:00 season 04-15..10-14,official,d,x\n"
    "hours,2021-01-01,,mon-thu 07:30-12:00 13:00-16:30 season 10-15..04-14,official,d,x\n"
    "hours,2021-01-01,,fri 07:30-11:30,official,d,x\n"
    "hours,2021-01-01,,sat 08:00-11:00 season 04-15..10-14,official,d,x\n"
    "holiday,2021-01-01,,tet tet 2 3 in-lieu,official,d,Tết\n"
    "swap,2026-01-02,2026-01-10,other,official,d,x\n";

static struct calendar *calendar_of(const char *text)
{
    g_autoptr(GError) error = NULL;
    struct calendar *calendar = calendar_parse(text, strlen(text), &error);

    if (calendar == NULL)
        fail_msg("%s", error->message);
    return calendar;
}

static int setup(void **state)
{
    g_autofree char *days = NULL, *rules = NULL;
    gsize len;

    (void)state;
    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/etc/holidays.csv", &days, NULL, NULL));
    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/etc/policy.csv", &rules, &len, NULL));
    shipped = calendar_of(days);
    seasonal = calendar_of(seasonal_text);
    policy = policy_parse(rules, len, NULL);
    assert_non_null(policy);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    calendar_free(shipped);
    calendar_free(seasonal);
    policy_free(policy);
    return 0;
}

static int64_t instant(const char *text)
{
    int64_t utc_us;
    bool date_only;

    if (!instant_parse(text, &utc_us, &date_only))
        fail_msg("\"%s\" is no time", text);
    return utc_us;
}

static struct deadline *compute_with(const struct calendar *calendar, int64_t start_utc_us,
                                     enum deadline_kind kind)
{
    g_autoptr(GError) error = NULL;
    struct deadline *deadline = deadline_compute(start_utc_us, kind, calendar, policy, &error);

    if (deadline == NULL)
        fail_msg("%s", error->message);
    return deadline;
}

static struct deadline *compute(const char *start, enum deadline_kind kind)
{
    return compute_with(shipped, instant(start), kind);
}

/* --- vectors --- */

struct vector {
    const char *start;
    enum deadline_kind kind;
    const char *due, *last_day;
};

static void expect_vectors(const struct calendar *calendar, const struct vector *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        loa_auto(deadline) d = compute_with(calendar, instant(rows[i].start), rows[i].kind);
        g_autofree char *due = instant_format(d->due_utc_us);
        g_autofree char *last_day = day_format(d->last_day);
        if (!g_str_has_prefix(due, rows[i].due) || strcmp(last_day, rows[i].last_day) != 0)
            fail_msg("%s %s: %s (%s), not %s (%s)", rows[i].start, deadline_kind_word(rows[i].kind),
                     due, last_day, rows[i].due, rows[i].last_day);
    }
}

static void test_the_regulation(void **state)
{
    static const struct vector rows[] = {
        {"2025-10-06T07:30", DEADLINE_INTAKE, "2025-10-06T17:00", "2025-10-06"},
        {"2025-10-06T10:00", DEADLINE_INTAKE, "2025-10-07T10:00", "2025-10-07"},
        {"2025-10-03T16:30", DEADLINE_INTAKE, "2025-10-06T16:30", "2025-10-06"},
        {"2025-10-06T11:00", DEADLINE_DISPATCH, "2025-10-06T16:30", "2025-10-06"},
        {"2025-10-06T17:00", DEADLINE_DISPATCH, "2025-10-07T11:30", "2025-10-07"},
        {"2025-10-01T03:10", DEADLINE_URGENT, "2025-10-01T11:30", "2025-10-01"},
        {"2026-01-01T20:00", DEADLINE_INTAKE, "2026-01-05T17:00", "2026-01-05"},
        {"2025-10-06", DEADLINE_HANDLING, "2025-10-16T00:00", "2025-10-15"},
        {"2025-08-25", DEADLINE_HANDLING, "2025-09-06T00:00", "2025-09-05"},
        {"2025-04-22", DEADLINE_HANDLING, "2025-05-06T00:00", "2025-05-05"},
        {"2026-02-06", DEADLINE_HANDLING, "2026-02-25T00:00", "2026-02-24"},
        {"2025-10-02", DEADLINE_CLARIFY_WINDOW, "2025-10-07T00:00", "2025-10-06"},
        {"2026-02-12", DEADLINE_CLARIFY_WINDOW, "2026-02-24T00:00", "2026-02-23"},
        {"2025-10-02", DEADLINE_MAINTENANCE, "2025-10-08T00:00", "2025-10-07"},
        /* the other kinds of the same lengths */
        {"2025-10-06T11:00", DEADLINE_REDISPATCH, "2025-10-06T16:30", "2025-10-06"},
        {"2025-10-06", DEADLINE_CLARIFY_ANSWER, "2025-10-16T00:00", "2025-10-15"},
    };
    (void)state;

    expect_vectors(shipped, rows, G_N_ELEMENTS(rows));
}

/* 4 working hours from every edge of a day, and beside it. */
static void test_edges_of_the_day(void **state)
{
    static const struct vector rows[] = {
        {"2025-10-06T00:00", DEADLINE_DISPATCH, "2025-10-06T11:30", "2025-10-06"},
        {"2025-10-06T07:29:59", DEADLINE_DISPATCH, "2025-10-06T11:30:00", "2025-10-06"},
        {"2025-10-06T07:30:01", DEADLINE_DISPATCH, "2025-10-06T13:00:01", "2025-10-06"},
        {"2025-10-06T11:29:59", DEADLINE_DISPATCH, "2025-10-06T16:59:59", "2025-10-06"},
        {"2025-10-06T11:30", DEADLINE_DISPATCH, "2025-10-06T17:00", "2025-10-06"},
        {"2025-10-06T12:15", DEADLINE_DISPATCH, "2025-10-06T17:00", "2025-10-06"},
        {"2025-10-06T13:00", DEADLINE_DISPATCH, "2025-10-06T17:00", "2025-10-06"},
        {"2025-10-06T13:00:01", DEADLINE_DISPATCH, "2025-10-07T07:30:01", "2025-10-07"},
        {"2025-10-06T16:59:59", DEADLINE_DISPATCH, "2025-10-07T11:29:59", "2025-10-07"},
        {"2025-10-06T23:59:59", DEADLINE_DISPATCH, "2025-10-07T11:30", "2025-10-07"},
        {"2025-10-03T17:00", DEADLINE_DISPATCH, "2025-10-06T11:30", "2025-10-06"},
        {"2025-10-04T10:00", DEADLINE_DISPATCH, "2025-10-06T11:30", "2025-10-06"},
        {"2025-10-05T23:59", DEADLINE_DISPATCH, "2025-10-06T11:30", "2025-10-06"},
        {"2025-10-05T18:00Z", DEADLINE_DISPATCH, "2025-10-06T11:30", "2025-10-06"},
    };
    (void)state;

    expect_vectors(shipped, rows, G_N_ELEMENTS(rows));
}

static void test_holidays_swaps_and_years(void **state)
{
    static const struct vector rows[] = {
        /* in the middle of Tết */
        {"2026-02-18T09:00", DEADLINE_INTAKE, "2026-02-23T17:00", "2026-02-23"},
        {"2026-02-18", DEADLINE_HANDLING, "2026-03-04T00:00", "2026-03-03"},
        {"2026-02-13T16:00", DEADLINE_DISPATCH, "2026-02-23T10:30", "2026-02-23"},
        /* a Saturday that is worked */
        {"2026-01-09T16:00", DEADLINE_DISPATCH, "2026-01-10T10:30", "2026-01-10"},
        {"2026-01-10T08:00", DEADLINE_INTAKE, "2026-01-12T08:00", "2026-01-12"},
        {"2026-01-08", DEADLINE_CLARIFY_WINDOW, "2026-01-11T00:00", "2026-01-10"},
        {"2026-08-20", DEADLINE_MAINTENANCE, "2026-08-25T00:00", "2026-08-24"},
        {"2025-04-25T16:30", DEADLINE_INTAKE, "2025-04-26T16:30", "2025-04-26"},
        /* into a new year */
        {"2025-12-31T16:00", DEADLINE_INTAKE, "2026-01-05T16:00", "2026-01-05"},
        {"2025-12-31", DEADLINE_CLARIFY_WINDOW, "2026-01-06T00:00", "2026-01-05"},
        {"2024-12-30", DEADLINE_HANDLING, "2025-01-10T00:00", "2025-01-09"},
        /* 29 February counts where there is one */
        {"2024-02-27", DEADLINE_CLARIFY_WINDOW, "2024-03-01T00:00", "2024-02-29"},
        {"2028-02-28T16:30", DEADLINE_DISPATCH, "2028-02-29T11:00", "2028-02-29"},
        {"2028-02-22", DEADLINE_HANDLING, "2028-03-03T00:00", "2028-03-02"},
        {"2027-02-26", DEADLINE_CLARIFY_WINDOW, "2027-03-02T00:00", "2027-03-01"},
        /* the last day is off, and so is the next */
        {"2025-04-28", DEADLINE_CLARIFY_WINDOW, "2025-05-06T00:00", "2025-05-05"},
        /* the day of the event never counts, whatever the hour */
        {"2025-10-06T00:00", DEADLINE_HANDLING, "2025-10-16T00:00", "2025-10-15"},
        {"2025-10-06T23:59:59", DEADLINE_HANDLING, "2025-10-16T00:00", "2025-10-15"},
        {"2025-10-04T12:00", DEADLINE_HANDLING, "2025-10-15T00:00", "2025-10-14"},
    };
    (void)state;

    expect_vectors(shipped, rows, G_N_ELEMENTS(rows));
}

static void test_seasonal_hours(void **state)
{
    static const struct vector rows[] = {
        /* Tue 14/10 is the last summer day */
        {"2025-10-14T16:00", DEADLINE_DISPATCH, "2025-10-15T10:30", "2025-10-15"},
        {"2025-10-14T11:30", DEADLINE_INTAKE, "2025-10-15T12:00", "2025-10-15"},
        /* Wed 15/4 is the first */
        {"2026-04-14T16:00", DEADLINE_DISPATCH, "2026-04-15T10:30", "2026-04-15"},
        /* a Friday that ends at noon, a Saturday morning, in summer only */
        {"2025-08-22T10:30", DEADLINE_DISPATCH, "2025-08-23T11:00", "2025-08-23"},
        {"2025-11-21T10:30", DEADLINE_DISPATCH, "2025-11-24T10:30", "2025-11-24"},
        {"2025-08-21", DEADLINE_CLARIFY_WINDOW, "2025-08-24T00:00", "2025-08-23"},
    };
    (void)state;

    expect_vectors(seasonal, rows, G_N_ELEMENTS(rows));
}

static void test_urgent_target(void **state)
{
    static const struct {
        enum deadline_kind kind;
        const char *target;
    } rows[] = {
        {DEADLINE_URGENT, "2025-10-01T07:10:00+07:00"},
        {DEADLINE_INTAKE, "2025-10-01T04:10:00+07:00"},
        {DEADLINE_DISPATCH, "2025-10-01T03:25:00+07:00"},
    };
    loa_auto(deadline) ordinary = compute("2025-10-01T03:10", DEADLINE_HANDLING);
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        loa_auto(deadline) d = compute("2025-10-01T03:10", rows[i].kind);
        g_autofree char *target = instant_format(d->urgent_target_utc_us);
        assert_string_equal(target, rows[i].target);
    }
    assert_int_equal(ordinary->urgent_target_utc_us, 0);
}

/* --- what is explained --- */

static void test_derivations(void **state)
{
    static const struct {
        const char *start;
        enum deadline_kind kind;
        const char *derivation;
    } rows[] = {
        {"2025-10-03T16:30", DEADLINE_INTAKE,
         "8 giờ = 0,5 giờ thứ Sáu + 7,5 giờ thứ Hai\n"
         "thứ Sáu, 03/10/2025: 16:30–17:00\n"
         "thứ Hai, 06/10/2025: 07:30–11:30, 13:00–16:30\n"
         "Nghỉ thứ Bảy, 04/10/2025 – Chủ nhật, 05/10/2025: nghỉ hằng tuần"},
        {"2025-10-06T10:50:20", DEADLINE_DISPATCH,
         "4 giờ = 4 giờ thứ Hai\n"
         "thứ Hai, 06/10/2025: 10:50:20–11:30, 13:00–16:20:20"},
        {"2025-10-06T15:40", DEADLINE_DISPATCH,
         "4 giờ = 1 giờ 20 phút thứ Hai + 2 giờ 40 phút thứ Ba\n"
         "thứ Hai, 06/10/2025: 15:40–17:00\n"
         "thứ Ba, 07/10/2025: 07:30–10:10"},
        {"2025-10-06T16:59:30", DEADLINE_DISPATCH,
         "4 giờ = 30 giây thứ Hai + 3 giờ 59 phút 30 giây thứ Ba\n"
         "thứ Hai, 06/10/2025: 16:59:30–17:00\n"
         "thứ Ba, 07/10/2025: 07:30–11:29:30"},
        {"2026-01-01T20:00", DEADLINE_INTAKE,
         "8 giờ = 8 giờ thứ Hai\n"
         "Thời điểm 20:00 thứ Năm, 01/01/2026 ngoài giờ làm việc: tính từ 07:30 thứ Hai, "
         "05/01/2026\n"
         "thứ Hai, 05/01/2026: 07:30–11:30, 13:00–17:00\n"
         "Nghỉ thứ Năm, 01/01/2026: Tết Dương lịch (45/2019/QH14 Điều 112.1a)\n"
         "Nghỉ thứ Sáu, 02/01/2026: Nghỉ hoán đổi dịp Tết Dương lịch (12729/VPCP-KGVX)\n"
         "Nghỉ thứ Bảy, 03/01/2026 – Chủ nhật, 04/01/2026: nghỉ hằng tuần"},
        /* nine days of Tết between two parts: a weekday alone would be two days */
        {"2026-02-13T16:30", DEADLINE_INTAKE,
         "8 giờ = 0,5 giờ thứ Sáu 13/02 + 7,5 giờ thứ Hai 23/02\n"
         "thứ Sáu, 13/02/2026: 16:30–17:00\n"
         "thứ Hai, 23/02/2026: 07:30–11:30, 13:00–16:30\n"
         "Nghỉ thứ Bảy, 14/02/2026 – Chủ nhật, 22/02/2026: Tết Âm lịch (9441/TB-BNV)"},
        {"2025-04-22", DEADLINE_HANDLING,
         "7 ngày làm việc = 4 ngày (thứ Tư 23/04 – thứ Bảy 26/04) + 2 ngày (thứ Hai 28/04 – thứ "
         "Ba 29/04) + 1 ngày (thứ Hai 05/05)\n"
         "Không tính ngày thứ Ba, 22/04/2025 là ngày xảy ra sự kiện (Bộ luật Dân sự 2015, Điều "
         "147)\n"
         "Làm việc thứ Bảy, 26/04/2025: Nghỉ hoán đổi dịp 30/4 (6150/TB-BLĐTBXH)\n"
         "Nghỉ Chủ nhật, 27/04/2025: nghỉ hằng tuần\n"
         "Nghỉ thứ Tư, 30/04/2025: Ngày Chiến thắng (45/2019/QH14 Điều 112.1c)\n"
         "Nghỉ thứ Năm, 01/05/2025: Ngày Quốc tế lao động (45/2019/QH14 Điều 112.1d)\n"
         "Nghỉ thứ Sáu, 02/05/2025: Nghỉ hoán đổi dịp 30/4 (6150/TB-BLĐTBXH)\n"
         "Nghỉ thứ Bảy, 03/05/2025 – Chủ nhật, 04/05/2025: nghỉ hằng tuần"},
        {"2025-10-02", DEADLINE_CLARIFY_WINDOW,
         "2 ngày = 2 ngày (thứ Sáu 03/10 – thứ Bảy 04/10)\n"
         "Không tính ngày thứ Năm, 02/10/2025 là ngày xảy ra sự kiện (Bộ luật Dân sự 2015, Điều "
         "147)\n"
         "Nghỉ thứ Bảy, 04/10/2025 – Chủ nhật, 05/10/2025: nghỉ hằng tuần\n"
         "Ngày cuối thứ Bảy, 04/10/2025 là ngày nghỉ: kết thúc khi hết ngày làm việc tiếp theo, "
         "thứ Hai, 06/10/2025 (Bộ luật Dân sự 2015, Điều 148.5)"},
        /* the day off in between says nothing about the end */
        {"2025-10-03", DEADLINE_CLARIFY_WINDOW,
         "2 ngày = 2 ngày (thứ Bảy 04/10 – Chủ nhật 05/10)\n"
         "Không tính ngày thứ Sáu, 03/10/2025 là ngày xảy ra sự kiện (Bộ luật Dân sự 2015, Điều "
         "147)\n"
         "Nghỉ Chủ nhật, 05/10/2025: nghỉ hằng tuần\n"
         "Ngày cuối Chủ nhật, 05/10/2025 là ngày nghỉ: kết thúc khi hết ngày làm việc tiếp theo, "
         "thứ Hai, 06/10/2025 (Bộ luật Dân sự 2015, Điều 148.5)"},
        {"2027-02-04T16:30", DEADLINE_DISPATCH,
         "4 giờ = 0,5 giờ thứ Năm 04/02 + 3,5 giờ thứ Sáu 12/02\n"
         "thứ Năm, 04/02/2027: 16:30–17:00\n"
         "thứ Sáu, 12/02/2027: 07:30–11:00\n"
         "Nghỉ thứ Sáu, 05/02/2027 – thứ Ba, 09/02/2027: Tết Âm lịch (dự kiến, chưa có văn bản)\n"
         "Nghỉ thứ Tư, 10/02/2027 – thứ Năm, 11/02/2027: Nghỉ bù Tết Âm lịch (dự kiến, chưa có "
         "văn bản)"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        loa_auto(deadline) d = compute(rows[i].start, rows[i].kind);
        assert_string_equal(d->derivation, rows[i].derivation);
        assert_int_equal(d->estimated, strstr(rows[i].derivation, "dự kiến") != NULL);
    }
}

static void expect_description(const char *start, enum deadline_kind kind, const char *first,
                               const char *contains)
{
    loa_auto(deadline) d = compute(start, kind);
    g_autofree char *text = deadline_describe(d);

    if (!g_str_has_prefix(text, first) || strstr(text, contains) == NULL)
        fail_msg("%s", text);
    assert_non_null(strstr(text, d->derivation));
    assert_non_null(strstr(text, calendar_version(shipped)));
    assert_non_null(strstr(text, policy_version(policy)));
}

static void test_descriptions(void **state)
{
    (void)state;

    expect_description("2025-10-03T16:30", DEADLINE_INTAKE, "Hạn: 16:30 thứ Hai, 06/10/2025\n",
                       "Tiếp nhận phản ánh: 8 giờ làm việc (Điều 9.2a), kể từ 16:30 thứ Sáu, "
                       "03/10/2025\n");
    expect_description("2025-10-06T09:00", DEADLINE_HANDLING,
                       "Hạn: hết ngày thứ Tư, 15/10/2025 (24:00)\n",
                       "7 ngày làm việc (Điều 9.2c), kể từ thứ Hai, 06/10/2025\n");
    expect_description("2025-10-02", DEADLINE_MAINTENANCE,
                       "Sớm nhất được tạm ngừng: 00:00 thứ Tư, 08/10/2025\n",
                       "3 ngày làm việc (Điều 20.3)");
    expect_description("2025-10-01T03:10", DEADLINE_URGENT, "Hạn: 11:30 thứ Tư, 01/10/2025\n",
                       "không phải hạn pháp lý: 07:10 thứ Tư, 01/10/2025\n");
    expect_description("2027-02-04T16:30", DEADLINE_INTAKE,
                       "Hạn: ", "Có ngày nghỉ còn là dự kiến: hạn được tính lại khi có văn bản\n");
}

/* --- changes of calendar and policy --- */

static void test_revision(void **state)
{
    struct deadline_revision later = deadline_revise(100, 200);
    struct deadline_revision earlier = deadline_revise(200, 100);
    struct deadline_revision same = deadline_revise(100, 100);
    (void)state;

    assert_int_equal(later.shown_before_utc_us, 100);
    assert_int_equal(later.recomputed_utc_us, 200);
    assert_int_equal(later.shown_utc_us, 200);
    assert_int_equal(earlier.shown_before_utc_us, 200);
    assert_int_equal(earlier.recomputed_utc_us, 100);
    assert_int_equal(earlier.shown_utc_us, 200);
    assert_int_equal(same.shown_utc_us, 100);
}

/* The swap of 2 January 2026 was announced a week before: what ran over it moves, by versions. */
static void test_a_swap_announced_late(void **state)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) parts = NULL;
    g_autofree char *before_text = NULL;
    (void)state;

    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/etc/holidays.csv", &text, NULL, NULL));
    parts = g_strsplit(text, "swap,2026-01-02", 2);
    before_text = g_strconcat(parts[0], "#", parts[1], NULL);
    loa_auto(calendar) before = calendar_of(before_text);
    loa_auto(deadline) old = compute_with(before, instant("2025-12-31T16:00"), DEADLINE_INTAKE);
    loa_auto(deadline) new = compute("2025-12-31T16:00", DEADLINE_INTAKE);
    struct deadline_revision r = deadline_revise(old->due_utc_us, new->due_utc_us);

    assert_string_not_equal(old->calendar_version, new->calendar_version);
    assert_string_equal(old->policy_version, new->policy_version);
    assert_int_equal(r.shown_before_utc_us, instant("2026-01-02T16:00"));
    assert_int_equal(r.shown_utc_us, instant("2026-01-05T16:00"));
    /* and taken back, the later date stays */
    assert_int_equal(deadline_revise(r.shown_utc_us, old->due_utc_us).shown_utc_us,
                     instant("2026-01-05T16:00"));
}

/* --- refusals --- */

static void test_refusals(void **state)
{
    static const char sparse_text[] = "record,from,to,what,status,document,name\n"
                                      "hours,2021-01-01,,mon 08:00-08:01 season 03-01..03-07,"
                                      "official,d,x\n"
                                      "hours,2021-01-01,,sun 00:00-00:01 season 03-08..02-28,"
                                      "disabled,d,x\n";
    static const char ending_text[] = "record,from,to,what,status,document,name\n"
                                      "hours,2021-01-01,2026-12-31,mon-fri 08:00-16:00,official,"
                                      "d,x\n";
    loa_auto(calendar) sparse = calendar_of(sparse_text);
    loa_auto(calendar) ending = calendar_of(ending_text);
    const struct {
        const struct calendar *calendar;
        const char *start;
        const char *message;
    } rows[] = {
        {shipped, "2020-12-31T10:00", "policy: no rule for intake on 2020-12-31"},
        {ending, "2026-12-31T15:00", "calendar: no working hours for 2027-01-01"},
        {sparse, "2026-03-02T08:00", "calendar: no working hours for 2026-03-08"},
        {shipped, "2099-12-31T16:59", "the term leaves the year 2099"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        struct deadline *d = deadline_compute(instant(rows[i].start), DEADLINE_INTAKE,
                                              rows[i].calendar, policy, &error);
        if (d != NULL || strstr(error->message, rows[i].message) == NULL)
            fail_msg("%s: %s", rows[i].start, d != NULL ? "computed" : error->message);
    }
}

static void test_a_calendar_without_enough_working_time(void **state)
{
    static const char text[] = "record,from,to,what,status,document,name\n"
                               "hours,2021-01-01,,mon 08:00-08:01,official,d,x\n";
    loa_auto(calendar) calendar = calendar_of(text);
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_null(
        deadline_compute(instant("2026-03-02T08:00"), DEADLINE_INTAKE, calendar, policy, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_LIMIT));
    assert_non_null(strstr(error->message, "too few working days"));
}

/* --- properties --- */

/* Working time in [from, to], counted from the calendar alone. */
static int64_t working_us(const struct calendar *calendar, int64_t from_utc_us, int64_t to_utc_us)
{
    int64_t sum = 0;

    for (int32_t day = instant_day(from_utc_us, NULL); day <= instant_day(to_utc_us, NULL); day++) {
        struct calendar_day info;
        assert_true(calendar_day_at(calendar, day, &info, NULL));
        for (size_t i = 0; i < info.n_spans; i++) {
            int64_t from = instant_of(day, info.spans[i].from_min * 60 * USEC_PER_SEC);
            int64_t to = instant_of(day, info.spans[i].to_min * 60 * USEC_PER_SEC);
            sum += MAX(MIN(to, to_utc_us) - MAX(from, from_utc_us), 0);
        }
    }
    return sum;
}

static bool is_working_day(const struct calendar *calendar, int32_t day)
{
    struct calendar_day info;

    assert_true(calendar_day_at(calendar, day, &info, NULL));
    return info.n_spans > 0;
}

static int working_days(const struct calendar *calendar, int32_t after, int32_t until)
{
    int n = 0;

    for (int32_t day = after + 1; day <= until; day++)
        n += is_working_day(calendar, day);
    return n;
}

/* The numbers of the first line, "8 giờ = 0,5 giờ … + 7,5 giờ …". */
static void check_equation(const struct deadline *d)
{
    g_auto(GStrv) lines = g_strsplit(d->derivation, "\n", 2);
    g_auto(GStrv) sides = g_strsplit(lines[0], " = ", 2);
    g_auto(GStrv) terms = g_strsplit(sides[1], " + ", 0);
    double sum = 0;

    for (char **term = terms; *term != NULL; term++) {
        g_strdelimit(*term, ",", '.');
        sum += g_ascii_strtod(*term, NULL);
    }
    assert_true(g_ascii_strtod(sides[0], NULL) == sum);
    assert_true(sum == d->amount);
}

static void check_hours(const struct calendar *calendar, const struct deadline *d)
{
    assert_int_equal(working_us(calendar, d->start_utc_us, d->due_utc_us), d->amount * HOUR_US);
    /* due ends a stretch of working time: the microsecond before it is worked */
    assert_int_equal(working_us(calendar, d->due_utc_us - 1, d->due_utc_us), 1);
}

static void check_days(const struct calendar *calendar, const struct deadline *d)
{
    int32_t start = instant_day(d->start_utc_us, NULL);

    assert_int_equal(d->due_utc_us, instant_of(d->last_day + 1, 0));
    assert_true(is_working_day(calendar, d->last_day));
    if (d->unit == POLICY_WORKING_DAYS) {
        assert_int_equal(working_days(calendar, start, d->last_day), d->amount);
    } else {
        assert_int_equal(d->counted_until, start + d->amount);
        assert_int_equal(working_days(calendar, d->counted_until - 1, d->last_day), 1);
    }
}

static void check_parts(const struct deadline *d)
{
    int64_t sum = 0, before = d->start_utc_us;

    for (guint i = 0; i < d->parts->len; i++) {
        const struct deadline_part *part = &g_array_index(d->parts, struct deadline_part, i);
        assert_true(instant_of(part->day, part->from_us) >= before);
        assert_true(part->from_us < part->to_us);
        before = instant_of(part->day, part->to_us);
        sum += part->amount;
    }
    assert_int_equal(sum,
                     d->unit == POLICY_WORKING_HOURS ? d->amount * HOUR_US : (int64_t)d->amount);
    assert_true(before <= d->due_utc_us);
}

static void check_any_start(const struct calendar *calendar, GRand *random)
{
    enum deadline_kind kind = (enum deadline_kind)g_rand_int_range(random, 0, DEADLINE_KINDS);
    /* 2024 … 2029; half of the starts at a quarter of an hour, where the text has decimals */
    bool quarter = g_rand_boolean(random);
    int64_t second = (int64_t)g_rand_int_range(random, 1704067200, 1893456000);
    int64_t start = (quarter ? second - second % 900 : second) * USEC_PER_SEC;
    int64_t later = start + g_rand_int_range(random, 0, 3 * 86400) * USEC_PER_SEC;
    loa_auto(deadline) d = compute_with(calendar, start, kind);
    loa_auto(deadline) next = compute_with(calendar, later, kind);

    assert_true(d->due_utc_us > d->start_utc_us);
    assert_true(next->due_utc_us >= d->due_utc_us);
    check_parts(d);
    if (d->unit == POLICY_WORKING_HOURS)
        check_hours(calendar, d);
    else
        check_days(calendar, d);
    if (quarter || d->unit != POLICY_WORKING_HOURS)
        check_equation(d);
}

static void test_properties(void **state)
{
    const char *given = g_getenv("LOA_DEADLINE_SEED");
    guint32 seed = given != NULL ? (guint32)g_ascii_strtoull(given, NULL, 10) : g_random_int();
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    (void)state;

    print_message("seed %u\n", seed);
    for (int i = 0; i < 3000; i++)
        check_any_start(i % 2 == 0 ? shipped : seasonal, random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_regulation),
        cmocka_unit_test(test_edges_of_the_day),
        cmocka_unit_test(test_holidays_swaps_and_years),
        cmocka_unit_test(test_seasonal_hours),
        cmocka_unit_test(test_urgent_target),
        cmocka_unit_test(test_derivations),
        cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_revision),
        cmocka_unit_test(test_a_swap_announced_late),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_calendar_without_enough_working_time),
        cmocka_unit_test(test_properties),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
