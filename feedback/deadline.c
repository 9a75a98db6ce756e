/* The arithmetic. It walks the days from the start, one calendar question each; a term is at most
 * some weeks long, and a walk is easier to check than a formula. */
#include "feedback/deadline.h"

#include <assert.h>

#include "base/clock.h"
#include "base/error.h"
#include "feedback/day.h"

#define MINUTE_US (60 * USEC_PER_SEC)
#define HOUR_US   (60 * MINUTE_US)

static void note_clear(gpointer data)
{
    struct deadline_note *note = data;

    g_free(note->name);
    g_free(note->document);
}

void deadline_free(struct deadline *deadline)
{
    if (deadline == NULL)
        return;
    g_array_unref(deadline->parts);
    g_array_unref(deadline->notes);
    g_free(deadline->name);
    g_free(deadline->citation);
    g_free(deadline->derivation);
    g_free(deadline);
}

static struct deadline *deadline_new(int64_t start_utc_us, const struct calendar *calendar,
                                     const struct policy *policy, const struct policy_rule *rule)
{
    struct deadline *d = g_new0(struct deadline, 1);

    d->kind = rule->kind;
    d->unit = rule->unit;
    d->amount = rule->amount;
    d->start_utc_us = start_utc_us;
    d->parts = g_array_new(FALSE, FALSE, sizeof(struct deadline_part));
    d->notes = g_array_new(FALSE, FALSE, sizeof(struct deadline_note));
    g_array_set_clear_func(d->notes, note_clear);
    d->name = g_strdup(rule->name);
    d->citation = g_strdup(rule->citation);
    if (rule->urgent_target_min > 0)
        d->urgent_target_utc_us = start_utc_us + rule->urgent_target_min * MINUTE_US;
    g_strlcpy(d->calendar_version, calendar_version(calendar), sizeof(d->calendar_version));
    g_strlcpy(d->policy_version, policy_version(policy), sizeof(d->policy_version));
    return d;
}

/* Asks for a day of the walk and notes it if it is not as its weekday, or does not count. */
static bool visit(struct deadline *d, const struct calendar *calendar, int32_t day,
                  struct calendar_day *out, GError **error)
{
    if (day - instant_day(d->start_utc_us, NULL) > DEADLINE_DAYS_MAX ||
        day_year(day) > DAY_YEAR_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT,
                    "calendar: too few working days, or the term leaves the year %d", DAY_YEAR_MAX);
        return false;
    }
    if (!calendar_day_at(calendar, day, out, error))
        return false;
    d->estimated |= out->estimated;
    if (out->n_spans == 0 || out->kind == CALENDAR_SWAP_WORK) {
        struct deadline_note note = {.day = day,
                                     .kind = out->kind,
                                     .estimated = out->estimated,
                                     .name = g_strdup(out->name),
                                     .document = g_strdup(out->document)};
        g_array_append_val(d->notes, note);
    }
    return true;
}

static void add_part(struct deadline *d, int32_t day, int64_t from_us, int64_t to_us,
                     int64_t amount)
{
    struct deadline_part part = {.day = day, .from_us = from_us, .to_us = to_us, .amount = amount};

    g_array_append_val(d->parts, part);
}

/* Takes what a day's working time after from_us gives of left_us; returns what is left then. */
static int64_t take_hours(struct deadline *d, int32_t day, const struct calendar_day *hours,
                          int64_t from_us, int64_t left_us)
{
    for (size_t i = 0; i < hours->n_spans && left_us > 0; i++) {
        int64_t begin = MAX(hours->spans[i].from_min * MINUTE_US, from_us);
        int64_t end = MIN(hours->spans[i].to_min * MINUTE_US, begin + left_us);
        if (begin >= end)
            continue;
        add_part(d, day, begin, end, end - begin);
        left_us -= end - begin;
    }
    return left_us;
}

static bool count_hours(struct deadline *d, const struct calendar *calendar, GError **error)
{
    int64_t from_us, left_us = d->amount * HOUR_US;
    const struct deadline_part *last;

    for (int32_t day = instant_day(d->start_utc_us, &from_us); left_us > 0; day++, from_us = 0) {
        struct calendar_day hours;
        if (!visit(d, calendar, day, &hours, error))
            return false;
        left_us = take_hours(d, day, &hours, from_us, left_us);
    }
    last = &g_array_index(d->parts, struct deadline_part, d->parts->len - 1);
    d->last_day = d->counted_until = last->day;
    d->due_utc_us = instant_of(last->day, last->to_us);
    return true;
}

/* Working days after the day of the start, or all days; of these only the last must be one. */
static bool count_days(struct deadline *d, const struct calendar *calendar, GError **error)
{
    int32_t day = instant_day(d->start_utc_us, NULL);
    bool all_days = d->unit == POLICY_DAYS;
    struct calendar_day kind = {.n_spans = 0};

    for (int left = d->amount; left > 0;) {
        day++;
        if ((!all_days || left == 1) && !visit(d, calendar, day, &kind, error))
            return false;
        if (!all_days && kind.n_spans == 0)
            continue;
        add_part(d, day, 0, DAY_US, 1);
        left--;
    }
    d->counted_until = day;
    while (kind.n_spans == 0) { /* the roll-over */
        if (!visit(d, calendar, ++day, &kind, error))
            return false;
    }
    d->last_day = day;
    d->due_utc_us = instant_of(day, DAY_US);
    return true;
}

struct deadline *deadline_compute(int64_t start_utc_us, enum deadline_kind kind,
                                  const struct calendar *calendar, const struct policy *policy,
                                  GError **error)
{
    const struct policy_rule *rule =
        policy_find(policy, kind, instant_day(start_utc_us, NULL), error);
    loa_auto(deadline) d = NULL;

    if (rule == NULL)
        return NULL;
    d = deadline_new(start_utc_us, calendar, policy, rule);
    if (!(rule->unit == POLICY_WORKING_HOURS ? count_hours(d, calendar, error)
                                             : count_days(d, calendar, error)))
        return NULL;
    d->derivation = deadline_derive(d);
    return g_steal_pointer(&d);
}

struct deadline_revision deadline_revise(int64_t shown_before_utc_us, int64_t recomputed_utc_us)
{
    return (struct deadline_revision){
        .shown_before_utc_us = shown_before_utc_us,
        .recomputed_utc_us = recomputed_utc_us,
        .shown_utc_us = MAX(shown_before_utc_us, recomputed_utc_us),
    };
}
