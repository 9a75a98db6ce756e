/* What a typing mistake would make of a legal calendar, and only the whole file shows: a swap of
 * two working days, two rows for one day, a block of a holiday that no rule knows. */
#include <string.h>

#include "feedback/calendar_internal.h"
#include "feedback/day.h"

static bool seasons_meet(const struct calendar_hours *a, const struct calendar_hours *b)
{
    return calendar_season_has(a, b->season_from) || calendar_season_has(b, a->season_from);
}

/* Some date and weekday would have the hours of both, and neither is the later decision. */
static void check_hours(struct csv_reader *reader, const struct calendar *calendar)
{
    for (guint i = 0; i < calendar->hours->len; i++) {
        const struct calendar_hours *a = &g_array_index(calendar->hours, struct calendar_hours, i);
        for (guint j = 0; j < i; j++) {
            const struct calendar_hours *b =
                &g_array_index(calendar->hours, struct calendar_hours, j);
            if (a->from == b->from && (a->weekdays & b->weekdays) != 0 && seasons_meet(a, b))
                csv_fault(reader, a->line, "line %u has hours for these days from the same date on",
                          b->line);
        }
    }
    if (calendar->hours->len == 0)
        csv_fault(reader, csv_line(reader), "no row says the working hours");
}

static void check_rules(struct csv_reader *reader, const struct calendar *calendar)
{
    for (guint i = 0; i < calendar->rules->len; i++) {
        const struct holiday_rule *a = &g_array_index(calendar->rules, struct holiday_rule, i);
        for (guint j = 0; j < i; j++) {
            const struct holiday_rule *b = &g_array_index(calendar->rules, struct holiday_rule, j);
            if (!a->disabled && !b->disabled && strcmp(a->key, b->key) == 0 && a->from <= b->to &&
                b->from <= a->to)
                csv_fault(reader, a->line, "%s stands in line %u for some of these days", a->key,
                          b->line);
        }
    }
}

static void check_key(struct csv_reader *reader, const struct calendar *calendar, const char *key,
                      unsigned line)
{
    bool known = strcmp(key, CALENDAR_KEY_OTHER) == 0;

    for (guint i = 0; i < calendar->rules->len && !known; i++)
        known = strcmp(key, g_array_index(calendar->rules, struct holiday_rule, i).key) == 0;
    if (!known)
        csv_fault(reader, line, "what: no holiday row has the key %s", key);
}

static void check_offs(struct csv_reader *reader, const struct calendar *calendar)
{
    for (guint i = 0; i < calendar->offs->len; i++) {
        const struct calendar_off *a = &g_array_index(calendar->offs, struct calendar_off, i);
        check_key(reader, calendar, a->key, a->line);
        for (guint j = 0; j < i; j++) {
            const struct calendar_off *b = &g_array_index(calendar->offs, struct calendar_off, j);
            if (a->status == b->status && a->from <= b->to && b->from <= a->to)
                csv_fault(reader, a->line, "line %u has some of these days off", b->line);
        }
    }
}

static bool has_hours(const struct calendar *calendar, int32_t day)
{
    return calendar_hours_at(calendar, day, day_weekday(day)) != NULL;
}

static void check_swaps(struct csv_reader *reader, const struct calendar *calendar)
{
    for (guint i = 0; i < calendar->swaps->len; i++) {
        const struct calendar_swap *a = &g_array_index(calendar->swaps, struct calendar_swap, i);
        check_key(reader, calendar, a->key, a->line);
        if (!has_hours(calendar, a->off))
            csv_fault(reader, a->line, "from: the day off is a weekly day off already");
        if (has_hours(calendar, a->worked))
            csv_fault(reader, a->line, "to: the day worked is a working day already");
        else if (calendar_hours_at(calendar, a->worked, day_weekday(a->off)) == NULL)
            csv_fault(reader, a->line, "to: no hours are known for working on that day");
        for (guint j = 0; j < i; j++) {
            const struct calendar_swap *b =
                &g_array_index(calendar->swaps, struct calendar_swap, j);
            if (a->off == b->off || a->worked == b->worked)
                csv_fault(reader, a->line, "line %u swaps one of these days already", b->line);
        }
    }
}

void calendar_check(struct csv_reader *reader, void *user)
{
    check_hours(reader, user);
    check_rules(reader, user);
    check_offs(reader, user);
    check_swaps(reader, user);
}
