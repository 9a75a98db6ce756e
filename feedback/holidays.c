/* From rows to days: the statutory holidays of every year, the days in lieu of those that fall on a
 * weekly day off (Labour Code 2019, article 111.3), and the announced blocks and swaps above them.
 * Where rows disagree about a day, an official one beats an estimate, then a swap a block, a block
 * a rule. */
#include <assert.h>
#include <string.h>

#include "feedback/calendar_internal.h"
#include "feedback/day.h"
#include "feedback/lunar.h"

/* A day, and how much its row weighs against others about the same day. */
struct claim {
    struct calendar_exception exception;
    int weight;
};

#define WEIGHT_OFFICIAL 10
#define WEIGHT_SWAP     3
#define WEIGHT_OFF      2
#define WEIGHT_RULE     1

/* The day beside 2 September that makes the longer rest: the usual choice. */
static int32_t beside_national_day(int32_t national)
{
    switch (day_weekday(national)) {
    case 0:          /* Monday */
    case 3:          /* Thursday */
    case DAY_SUNDAY: /* Monday follows */
        return national + 1;
    default:
        return national - 1;
    }
}

static size_t candidate_days(const struct holiday_rule *rule, int year, int32_t *out)
{
    size_t n = 0;

    switch (rule->form) {
    case HOLIDAY_SOLAR:
        if (g_date_valid_dmy((GDateDay)rule->b, (GDateMonth)rule->a, (GDateYear)year))
            out[n++] = day_from_date(year, rule->a, rule->b);
        break;
    case HOLIDAY_LUNAR:
        out[n++] = lunar_month_start(year, rule->a) + rule->b - 1;
        break;
    case HOLIDAY_TET:
        assert(rule->a + rule->b <= HOLIDAY_DAYS_MAX);
        for (int i = -rule->a; i < rule->b; i++)
            out[n++] = lunar_month_start(year, 1) + i;
        break;
    case HOLIDAY_NATIONAL:
        out[n++] = day_from_date(year, 9, 2);
        out[n++] = beside_national_day(out[0]);
        break;
    }
    return n;
}

size_t holiday_days(const struct holiday_rule *rule, int year, int32_t *out)
{
    int32_t days[HOLIDAY_DAYS_MAX];
    size_t n = rule->disabled ? 0 : candidate_days(rule, year, days), kept = 0;

    for (size_t i = 0; i < n; i++)
        if (days[i] >= rule->from && days[i] <= rule->to)
            out[kept++] = days[i];
    return kept;
}

const struct calendar_off *calendar_off_of(const struct calendar *calendar, const char *key,
                                           int year)
{
    const struct calendar_off *found = NULL;

    for (guint i = 0; i < calendar->offs->len; i++) {
        const struct calendar_off *off = &g_array_index(calendar->offs, struct calendar_off, i);
        if (strcmp(off->key, key) == 0 && day_year(off->to) == year &&
            (found == NULL || off->status == CALENDAR_OFFICIAL))
            found = off;
    }
    return found;
}

static void add_claim(GArray *claims, int32_t day, enum calendar_day_kind kind, bool estimated,
                      const char *document, const char *name, int weight)
{
    struct claim claim = {
        .exception = {.day = day,
                      .kind = kind,
                      .estimated = estimated,
                      .as_day = day,
                      .document = document,
                      .name = name},
        .weight = weight + (estimated ? 0 : WEIGHT_OFFICIAL),
    };

    g_array_append_val(claims, claim);
}

/* One statutory holiday day of the year at hand. */
struct statutory {
    int32_t day;
    const struct holiday_rule *rule;
};

static int by_statutory_day(const void *a, const void *b)
{
    const struct statutory *left = a, *right = b;

    return (left->day > right->day) - (left->day < right->day);
}

/* A date of the solar calendar is certain; the moon's are computed, the others decided yearly. */
static bool is_estimate(const struct holiday_rule *rule)
{
    return rule->form != HOLIDAY_SOLAR;
}

/* The rules' days of a year that no block settles, by day. */
static GArray *statutory_days(const struct calendar *calendar, int year)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct statutory));

    for (guint i = 0; i < calendar->rules->len; i++) {
        const struct holiday_rule *rule = &g_array_index(calendar->rules, struct holiday_rule, i);
        int32_t days[HOLIDAY_DAYS_MAX];
        size_t n =
            calendar_off_of(calendar, rule->key, year) != NULL ? 0 : holiday_days(rule, year, days);
        for (size_t k = 0; k < n; k++) {
            struct statutory day = {.day = days[k], .rule = rule};
            g_array_append_val(all, day);
        }
    }
    g_array_sort(all, by_statutory_day);
    return all;
}

static bool is_weekly_rest(const struct calendar *calendar, int32_t day)
{
    return calendar_hours_at(calendar, day, day_weekday(day)) == NULL;
}

static bool is_claimed(const GArray *claims, int32_t day)
{
    for (guint i = 0; i < claims->len; i++)
        if (g_array_index(claims, struct claim, i).exception.day == day)
            return true;
    return false;
}

/* The next working day that is not off already; 0 when there is none in a month. */
static int32_t day_in_lieu(const struct calendar *calendar, const GArray *claims, int32_t holiday)
{
    for (int32_t day = holiday + 1; day <= holiday + 31; day++)
        if (!is_weekly_rest(calendar, day) && !is_claimed(claims, day))
            return day;
    return 0;
}

static void add_year(struct calendar *calendar, int year, GArray *claims)
{
    g_autoptr(GArray) days = statutory_days(calendar, year);

    for (guint i = 0; i < days->len; i++) {
        const struct statutory *s = &g_array_index(days, struct statutory, i);
        add_claim(claims, s->day, CALENDAR_HOLIDAY, is_estimate(s->rule), s->rule->document,
                  s->rule->name, WEIGHT_RULE);
    }
    for (guint i = 0; i < days->len; i++) {
        const struct statutory *s = &g_array_index(days, struct statutory, i);
        int32_t in_lieu = s->rule->in_lieu && is_weekly_rest(calendar, s->day)
                              ? day_in_lieu(calendar, claims, s->day)
                              : 0;
        if (in_lieu == 0)
            continue;
        g_autofree char *name = g_strdup_printf("Nghỉ bù %s", s->rule->name);
        add_claim(claims, in_lieu, CALENDAR_HOLIDAY, is_estimate(s->rule), s->rule->document,
                  g_string_chunk_insert_const(calendar->strings, name), WEIGHT_RULE);
    }
}

/* Blocks first: a day in lieu must not fall into one. */
static void add_blocks(const struct calendar *calendar, GArray *claims)
{
    for (guint i = 0; i < calendar->offs->len; i++) {
        const struct calendar_off *off = &g_array_index(calendar->offs, struct calendar_off, i);
        bool replaced =
            strcmp(off->key, CALENDAR_KEY_OTHER) != 0 && off->status == CALENDAR_ESTIMATE &&
            calendar_off_of(calendar, off->key, day_year(off->to))->status == CALENDAR_OFFICIAL;
        for (int32_t day = off->from; !replaced && day <= off->to; day++)
            add_claim(claims, day, CALENDAR_HOLIDAY, off->status == CALENDAR_ESTIMATE,
                      off->document, off->name, WEIGHT_OFF);
    }
}

static void add_swaps(const struct calendar *calendar, GArray *claims)
{
    for (guint i = 0; i < calendar->swaps->len; i++) {
        const struct calendar_swap *swap = &g_array_index(calendar->swaps, struct calendar_swap, i);
        bool estimated = swap->status == CALENDAR_ESTIMATE;
        add_claim(claims, swap->off, CALENDAR_SWAP_OFF, estimated, swap->document, swap->name,
                  WEIGHT_SWAP);
        add_claim(claims, swap->worked, CALENDAR_SWAP_WORK, estimated, swap->document, swap->name,
                  WEIGHT_SWAP);
        g_array_index(claims, struct claim, claims->len - 1).exception.as_day = swap->off;
    }
}

static int by_day_and_weight(const void *a, const void *b)
{
    const struct claim *left = a, *right = b;

    if (left->exception.day != right->exception.day)
        return left->exception.day < right->exception.day ? -1 : 1;
    return right->weight - left->weight;
}

void calendar_build(struct calendar *calendar)
{
    g_autoptr(GArray) claims = g_array_new(FALSE, FALSE, sizeof(struct claim));
    int first = DAY_YEAR_MAX, day_before = INT32_MIN;

    for (guint i = 0; i < calendar->rules->len; i++)
        first = MIN(first, day_year(g_array_index(calendar->rules, struct holiday_rule, i).from));
    add_blocks(calendar, claims);
    for (int year = first; year <= DAY_YEAR_MAX; year++)
        add_year(calendar, year, claims);
    add_swaps(calendar, claims);
    g_array_sort(claims, by_day_and_weight);
    for (guint i = 0; i < claims->len; i++) {
        const struct calendar_exception *e = &g_array_index(claims, struct claim, i).exception;
        if (e->day != day_before)
            g_array_append_val(calendar->exceptions, *e);
        day_before = e->day;
    }
}
