/* Questions to the calendar. Everything is worked out when the file is read, so that a question is
 * a look-up and the same calendar always gives the same answer. */
#include "feedback/calendar.h"

#include <string.h>

#include "base/error.h"
#include "feedback/calendar_internal.h"
#include "feedback/day.h"

void calendar_free(struct calendar *calendar)
{
    if (calendar == NULL)
        return;
    g_array_unref(calendar->hours);
    g_array_unref(calendar->rules);
    g_array_unref(calendar->offs);
    g_array_unref(calendar->swaps);
    g_array_unref(calendar->exceptions);
    g_string_chunk_free(calendar->strings);
    g_free(calendar);
}

const char *calendar_version(const struct calendar *calendar)
{
    return calendar->version;
}

bool calendar_season_has(const struct calendar_hours *hours, int month_day)
{
    if (hours->season_from == 0 || month_day == 0)
        return true;
    if (hours->season_from <= hours->season_to)
        return month_day >= hours->season_from && month_day <= hours->season_to;
    return month_day >= hours->season_from || month_day <= hours->season_to;
}

/* In force on the day, and in its season. */
static bool is_in_force(const struct calendar_hours *hours, int32_t day)
{
    int year, month, day_of_month;

    if (day < hours->from || day > hours->to)
        return false;
    day_to_date(day, &year, &month, &day_of_month);
    return calendar_season_has(hours, month * 100 + day_of_month);
}

const struct calendar_hours *calendar_hours_at(const struct calendar *calendar, int32_t day,
                                               int weekday)
{
    const struct calendar_hours *latest = NULL;

    for (guint i = 0; i < calendar->hours->len; i++) {
        const struct calendar_hours *hours =
            &g_array_index(calendar->hours, struct calendar_hours, i);
        if ((hours->weekdays >> weekday & 1) != 0 && is_in_force(hours, day) &&
            (latest == NULL || hours->from > latest->from))
            latest = hours;
    }
    return latest;
}

/* Some weekday has hours then: otherwise the file says nothing about that time. */
static bool is_covered(const struct calendar *calendar, int32_t day)
{
    for (guint i = 0; i < calendar->hours->len; i++)
        if (is_in_force(&g_array_index(calendar->hours, struct calendar_hours, i), day))
            return true;
    return false;
}

static int by_day(const void *a, const void *b)
{
    const struct calendar_exception *left = a, *right = b;

    return (left->day > right->day) - (left->day < right->day);
}

static const struct calendar_exception *exception_at(const struct calendar *calendar, int32_t day)
{
    struct calendar_exception key = {.day = day};
    guint index;

    if (!g_array_binary_search(calendar->exceptions, &key, by_day, &index))
        return NULL;
    return &g_array_index(calendar->exceptions, struct calendar_exception, index);
}

bool calendar_day_at(const struct calendar *calendar, int32_t day, struct calendar_day *out,
                     GError **error)
{
    const struct calendar_exception *exception = exception_at(calendar, day);
    const struct calendar_hours *hours;
    bool off = exception != NULL && exception->kind != CALENDAR_SWAP_WORK;

    if (!is_covered(calendar, day)) {
        g_autofree char *date = day_format(day);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "calendar: no working hours for %s", date);
        return false;
    }
    hours =
        off ? NULL
            : calendar_hours_at(calendar, day, day_weekday(exception ? exception->as_day : day));
    *out = (struct calendar_day){.kind = hours != NULL ? CALENDAR_WORK : CALENDAR_WEEKLY_REST};
    if (exception != NULL) {
        out->kind = exception->kind;
        out->estimated = exception->estimated;
        out->name = exception->name;
        out->document = exception->document;
    }
    if (hours != NULL) {
        out->n_spans = hours->n_spans;
        memcpy(out->spans, hours->spans, sizeof(out->spans));
    }
    return true;
}

/* The rule waits for the government's decision in that year, and no official row holds it. */
static bool is_missing(const struct calendar *calendar, const struct holiday_rule *rule, int year)
{
    const struct calendar_off *off = calendar_off_of(calendar, rule->key, year);
    int32_t days[HOLIDAY_DAYS_MAX];

    return (rule->form == HOLIDAY_TET || rule->form == HOLIDAY_NATIONAL) &&
           holiday_days(rule, year, days) > 0 && (off == NULL || off->status != CALENDAR_OFFICIAL);
}

char *calendar_missing_official(const struct calendar *calendar, int32_t today)
{
    g_autoptr(GString) list = g_string_new(NULL);
    int year = day_year(today);
    int until = today > day_from_date(year, 12, 1) && year < DAY_YEAR_MAX ? year + 1 : year;

    for (; year <= until; year++) {
        for (guint i = 0; i < calendar->rules->len; i++) {
            const struct holiday_rule *rule =
                &g_array_index(calendar->rules, struct holiday_rule, i);
            if (is_missing(calendar, rule, year))
                g_string_append_printf(list, "%s%s %d", list->len > 0 ? ", " : "", rule->name,
                                       year);
        }
    }
    return list->len > 0 ? g_string_free(g_steal_pointer(&list), FALSE) : NULL;
}
