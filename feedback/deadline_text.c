/* The derivation and the description, in Vietnamese: what a citizen, an official or an inspector
 * can follow with a calendar in hand. */
#include <string.h>

#include "base/clock.h"
#include "feedback/day.h"
#include "feedback/deadline.h"

#define CIVIL_CODE "Bộ luật Dân sự 2015"
#define MINUTE_S   60
#define HOUR_S     3600
#define QUARTER_S  900

/* "thứ Sáu, 03/10/2025". */
static void append_day(GString *out, int32_t day)
{
    g_autofree char *date = day_format_vi(day);

    g_string_append_printf(out, "%s, %s", day_weekday_name(day), date);
}

/* "thứ Sáu 03/10". */
static void append_short_day(GString *out, int32_t day)
{
    g_autofree char *date = day_format_vi(day);

    g_string_append_printf(out, "%s %.5s", day_weekday_name(day), date);
}

/* "16:30", with seconds only where there are some; a whole day is "24:00". */
static void append_clock(GString *out, int64_t us_of_day)
{
    int second = (int)(us_of_day / USEC_PER_SEC);

    g_string_append_printf(out, "%02d:%02d", second / HOUR_S, second / MINUTE_S % 60);
    if (second % MINUTE_S != 0)
        g_string_append_printf(out, ":%02d", second % MINUTE_S);
}

/* "16:30 thứ Sáu, 03/10/2025". */
static void append_instant(GString *out, int64_t utc_us)
{
    int64_t us_of_day;
    int32_t day = instant_day(utc_us, &us_of_day);

    append_clock(out, us_of_day);
    g_string_append_c(out, ' ');
    append_day(out, day);
}

/* "7,5 giờ" for quarters of an hour, else "7 giờ 20 phút". */
static void append_duration(GString *out, int64_t us)
{
    static const char *const fractions[] = {"", ",25", ",5", ",75"};
    int second = (int)(us / USEC_PER_SEC);
    const char *blank = "";

    if (second % QUARTER_S == 0) {
        g_string_append_printf(out, "%d%s giờ", second / HOUR_S,
                               fractions[second % HOUR_S / QUARTER_S]);
        return;
    }
    if (second >= HOUR_S) {
        g_string_append_printf(out, "%d giờ", second / HOUR_S);
        blank = " ";
    }
    if (second % HOUR_S >= MINUTE_S) {
        g_string_append_printf(out, "%s%d phút", blank, second % HOUR_S / MINUTE_S);
        blank = " ";
    }
    if (second % MINUTE_S != 0)
        g_string_append_printf(out, "%s%d giây", blank, second % MINUTE_S);
}

static const struct deadline_part *part_at(const struct deadline *d, guint i)
{
    return &g_array_index(d->parts, struct deadline_part, i);
}

/* A weekday alone would name two days of the sum. */
static bool is_longer_than_a_week(const struct deadline *d)
{
    return part_at(d, d->parts->len - 1)->day - part_at(d, 0)->day >= 7;
}

/* The parts of one day are neighbours; returns the index behind the last one. */
static guint end_of_day(const struct deadline *d, guint i, int64_t *out_sum)
{
    int32_t day = part_at(d, i)->day;

    *out_sum = 0;
    for (; i < d->parts->len && part_at(d, i)->day == day; i++)
        *out_sum += part_at(d, i)->amount;
    return i;
}

/* "8 giờ = 0,5 giờ thứ Sáu + 7,5 giờ thứ Hai". */
static void derive_hours(GString *out, const struct deadline *d)
{
    g_string_append_printf(out, "%d giờ =", d->amount);
    for (guint i = 0, next; i < d->parts->len; i = next) {
        int64_t sum;
        next = end_of_day(d, i, &sum);
        g_string_append(out, i == 0 ? " " : " + ");
        append_duration(out, sum);
        g_string_append_c(out, ' ');
        if (is_longer_than_a_week(d))
            append_short_day(out, part_at(d, i)->day);
        else
            g_string_append(out, day_weekday_name(part_at(d, i)->day));
    }
}

/* "thứ Hai, 06/10/2025: 07:30–11:30, 13:00–16:30", a line for each day. */
static void derive_stretches(GString *out, const struct deadline *d)
{
    for (guint i = 0; i < d->parts->len; i++) {
        const struct deadline_part *part = part_at(d, i);
        if (i > 0 && part_at(d, i - 1)->day == part->day) {
            g_string_append(out, ", ");
        } else {
            g_string_append_c(out, '\n');
            append_day(out, part->day);
            g_string_append(out, ": ");
        }
        append_clock(out, part->from_us);
        g_string_append(out, "–");
        append_clock(out, part->to_us);
    }
}

/* "7 ngày làm việc = 4 ngày (thứ Ba 07/10 – thứ Sáu 10/10) + 3 ngày (…)". */
static void derive_days(GString *out, const struct deadline *d)
{
    g_string_append_printf(out, "%d ngày%s =", d->amount,
                           d->unit == POLICY_WORKING_DAYS ? " làm việc" : "");
    for (guint i = 0, first = 0; i < d->parts->len; i++) {
        bool run_ends = i + 1 == d->parts->len || part_at(d, i + 1)->day != part_at(d, i)->day + 1;
        if (!run_ends)
            continue;
        g_string_append_printf(out, "%s%u ngày (", first == 0 ? " " : " + ", i - first + 1);
        append_short_day(out, part_at(d, first)->day);
        if (i > first) {
            g_string_append(out, " – ");
            append_short_day(out, part_at(d, i)->day);
        }
        g_string_append_c(out, ')');
        first = i + 1;
    }
}

static const struct deadline_note *note_at(const struct deadline *d, guint i)
{
    return &g_array_index(d->notes, struct deadline_note, i);
}

/* The next day, for the same reason. */
static bool continues(const struct deadline_note *a, const struct deadline_note *b)
{
    return b->day == a->day + 1 && a->kind == b->kind && a->estimated == b->estimated &&
           g_strcmp0(a->name, b->name) == 0 && g_strcmp0(a->document, b->document) == 0;
}

static void append_reason(GString *out, const struct deadline_note *note)
{
    if (note->kind == CALENDAR_WEEKLY_REST) {
        g_string_append(out, "nghỉ hằng tuần");
        return;
    }
    g_string_append(out, note->name);
    if (note->estimated)
        g_string_append(out, " (dự kiến, chưa có văn bản)");
    else
        g_string_append_printf(out, " (%s)", note->document);
}

/* One line for each run of days with one reason. */
static void derive_notes(GString *out, const struct deadline *d)
{
    for (guint i = 0, first = 0; i < d->notes->len; i++) {
        const struct deadline_note *note = note_at(d, i);
        if (i + 1 < d->notes->len && continues(note, note_at(d, i + 1)))
            continue;
        g_string_append(out, note->kind == CALENDAR_SWAP_WORK ? "\nLàm việc " : "\nNghỉ ");
        append_day(out, note_at(d, first)->day);
        if (i > first) {
            g_string_append(out, " – ");
            append_day(out, note->day);
        }
        g_string_append(out, ": ");
        append_reason(out, note);
        first = i + 1;
    }
}

/* The start is no working time: the count begins later. */
static void derive_late_begin(GString *out, const struct deadline *d)
{
    const struct deadline_part *first = part_at(d, 0);
    int64_t begin_utc_us = instant_of(first->day, first->from_us);

    if (begin_utc_us == d->start_utc_us)
        return;
    g_string_append(out, "\nThời điểm ");
    append_instant(out, d->start_utc_us);
    g_string_append(out, " ngoài giờ làm việc: tính từ ");
    append_instant(out, begin_utc_us);
}

static void derive_roll_over(GString *out, const struct deadline *d)
{
    if (d->counted_until == d->last_day)
        return;
    g_string_append(out, "\nNgày cuối ");
    append_day(out, d->counted_until);
    g_string_append(out, " là ngày nghỉ: kết thúc khi hết ngày làm việc tiếp theo, ");
    append_day(out, d->last_day);
    g_string_append(out, " (" CIVIL_CODE ", Điều 148.5)");
}

char *deadline_derive(const struct deadline *d)
{
    GString *out = g_string_new(NULL);

    if (d->unit == POLICY_WORKING_HOURS) {
        derive_hours(out, d);
        derive_late_begin(out, d);
        derive_stretches(out, d);
        derive_notes(out, d);
    } else {
        derive_days(out, d);
        g_string_append(out, "\nKhông tính ngày ");
        append_day(out, instant_day(d->start_utc_us, NULL));
        g_string_append(out, " là ngày xảy ra sự kiện (" CIVIL_CODE ", Điều 147)");
        derive_notes(out, d);
        derive_roll_over(out, d);
    }
    return g_string_free(out, FALSE);
}

/* --- description --- */

static void describe_due(GString *out, const struct deadline *d)
{
    if (d->kind == DEADLINE_MAINTENANCE) {
        g_string_append(out, "Sớm nhất được tạm ngừng: ");
        append_instant(out, d->due_utc_us);
    } else if (d->unit == POLICY_WORKING_HOURS) {
        g_string_append(out, "Hạn: ");
        append_instant(out, d->due_utc_us);
    } else {
        g_string_append(out, "Hạn: hết ngày ");
        append_day(out, d->last_day);
        g_string_append(out, " (24:00)");
    }
}

char *deadline_describe(const struct deadline *d)
{
    static const char *const units[POLICY_UNITS] = {
        [POLICY_WORKING_HOURS] = "giờ làm việc",
        [POLICY_WORKING_DAYS] = "ngày làm việc",
        [POLICY_DAYS] = "ngày",
    };
    GString *out = g_string_new(NULL);

    describe_due(out, d);
    g_string_append_printf(out, "\n%s: %d %s (%s), kể từ ", d->name, d->amount, units[d->unit],
                           d->citation);
    if (d->unit == POLICY_WORKING_HOURS)
        append_instant(out, d->start_utc_us);
    else
        append_day(out, instant_day(d->start_utc_us, NULL));
    g_string_append_printf(out, "\n%s", d->derivation);
    if (d->urgent_target_utc_us != 0) {
        g_string_append(out, "\nMục tiêu phục vụ khi khẩn cấp, không phải hạn pháp lý: ");
        append_instant(out, d->urgent_target_utc_us);
    }
    if (d->estimated)
        g_string_append(out, "\nCó ngày nghỉ còn là dự kiến: hạn được tính lại khi có văn bản");
    g_string_append_printf(out, "\nPhiên bản lịch %s, phiên bản quy định %s", d->calendar_version,
                           d->policy_version);
    return g_string_free(out, FALSE);
}
