/* The parser of etc/holidays.csv, row by row. What only the whole file shows is in
 * calendar_check.c. */
#include <string.h>

#include "feedback/calendar_internal.h"
#include "feedback/day.h"

#define KEY_BYTES_MAX  32
#define BLOCK_DAYS_MAX 31
#define SWAP_APART_MAX 60
#define WORDS_MAX      8

enum column { RECORD, FROM, TO, WHAT, STATUS, DOCUMENT, NAME };

/* A row whose common fields have been read. */
struct row {
    struct csv_reader *reader;
    unsigned line;
    int32_t from, to; /* to INT32_MAX when the field is empty */
    enum calendar_status status;
    const char *document, *name; /* the calendar's */
    char **words;                /* of "what" */
    guint n_words;
};

static const char *keep(struct calendar *calendar, const char *text)
{
    return g_string_chunk_insert_const(calendar->strings, text);
}

static bool is_key(const char *text)
{
    return text[0] != '\0' && strlen(text) <= KEY_BYTES_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz-") == strlen(text);
}

/* "MM-DD", also 02-29. */
static bool parse_month_day(const char *text, int *out_month, int *out_day)
{
    g_autofree char *date = g_strdup_printf("2000-%s", text);
    int32_t day;
    int year;

    if (!day_parse(date, &day))
        return false;
    day_to_date(day, &year, out_month, out_day);
    return true;
}

/* A number of one or two digits. */
static bool parse_small(const char *text, int max, int *out)
{
    gint64 value;

    if (strlen(text) > 2 || !g_ascii_string_to_signed(text, 10, 0, max, &value, NULL))
        return false;
    *out = (int)value;
    return true;
}

/* --- hours --- */

static bool parse_weekday(const char *text, int *out)
{
    static const char *const words[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

    for (int i = 0; i < 7; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* "mon-fri" or "sat". */
static bool parse_weekdays(const char *text, uint8_t *out)
{
    g_auto(GStrv) ends = g_strsplit(text, "-", 2);
    int first, last;

    if (ends[0] == NULL || !parse_weekday(ends[0], &first) ||
        !parse_weekday(ends[1] != NULL ? ends[1] : ends[0], &last) || last < first)
        return false;
    for (int i = first; i <= last; i++)
        *out |= (uint8_t)(1u << i);
    return true;
}

/* "07:30" … "24:00", as minutes. */
static bool parse_clock(const char *text, int16_t *out)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    int hour, minute;

    if (strlen(text) != 5 || parts[1] == NULL || !parse_small(parts[0], 24, &hour) ||
        !parse_small(parts[1], 59, &minute) || hour * 60 + minute > 1440)
        return false;
    *out = (int16_t)(hour * 60 + minute);
    return true;
}

/* "07:30-11:30". */
static bool parse_span(const char *text, struct calendar_span *out)
{
    g_auto(GStrv) ends = g_strsplit(text, "-", 2);

    return ends[0] != NULL && ends[1] != NULL && parse_clock(ends[0], &out->from_min) &&
           parse_clock(ends[1], &out->to_min) && out->from_min < out->to_min;
}

/* "10-15..04-14". */
static bool parse_season(const char *text, struct calendar_hours *hours)
{
    g_auto(GStrv) ends = g_strsplit(text, "..", 2);
    int from_month, from_day, to_month, to_day;

    if (ends[0] == NULL || ends[1] == NULL || !parse_month_day(ends[0], &from_month, &from_day) ||
        !parse_month_day(ends[1], &to_month, &to_day))
        return false;
    hours->season_from = from_month * 100 + from_day;
    hours->season_to = to_month * 100 + to_day;
    return true;
}

/* The words after the weekdays: one to four spans, then perhaps a season. */
static bool parse_spans(const struct row *row, struct calendar_hours *hours)
{
    guint i = 1;

    for (; i < row->n_words && strcmp(row->words[i], "season") != 0; i++) {
        struct calendar_span span;
        if (hours->n_spans == CALENDAR_SPANS_MAX || !parse_span(row->words[i], &span) ||
            (hours->n_spans > 0 && span.from_min <= hours->spans[hours->n_spans - 1].to_min))
            return false;
        hours->spans[hours->n_spans++] = span;
    }
    if (hours->n_spans == 0)
        return false;
    return i == row->n_words || (i + 2 == row->n_words && parse_season(row->words[i + 1], hours));
}

static void take_hours(struct calendar *calendar, const struct row *row)
{
    struct calendar_hours hours = {.from = row->from, .to = row->to, .line = row->line};

    if (row->status == CALENDAR_ESTIMATE)
        csv_fault(row->reader, row->line, "status: hours are official or disabled");
    else if (row->n_words == 0 || !parse_weekdays(row->words[0], &hours.weekdays))
        csv_fault(row->reader, row->line, "what: must begin with weekdays such as mon-fri or sat");
    else if (!parse_spans(row, &hours))
        csv_fault(row->reader, row->line,
                  "what: must go on with 1 to %d ascending intervals such as 07:30-11:30, then "
                  "perhaps season 10-15..04-14",
                  CALENDAR_SPANS_MAX);
    else if (row->status == CALENDAR_OFFICIAL)
        g_array_append_val(calendar->hours, hours);
}

/* --- holiday --- */

/* The form's words after the key; out_used: how many. */
static bool parse_form(const struct row *row, struct holiday_rule *rule, guint *out_used)
{
    const char *form = row->n_words > 1 ? row->words[1] : "";
    const char *first = row->n_words > 2 ? row->words[2] : "";
    const char *second = row->n_words > 3 ? row->words[3] : "";

    *out_used = 3;
    if (strcmp(form, "solar") == 0) {
        rule->form = HOLIDAY_SOLAR;
        return parse_month_day(first, &rule->a, &rule->b);
    }
    if (strcmp(form, "lunar") == 0) {
        rule->form = HOLIDAY_LUNAR;
        return parse_month_day(first, &rule->a, &rule->b) && rule->a <= 10 && rule->b <= 29;
    }
    if (strcmp(form, "tet") == 0) {
        rule->form = HOLIDAY_TET;
        *out_used = 4;
        return parse_small(first, HOLIDAY_DAYS_MAX / 2, &rule->a) &&
               parse_small(second, HOLIDAY_DAYS_MAX / 2, &rule->b) && rule->a + rule->b > 0;
    }
    rule->form = HOLIDAY_NATIONAL;
    *out_used = 2;
    return strcmp(form, "national-day") == 0;
}

static void take_holiday(struct calendar *calendar, const struct row *row)
{
    struct holiday_rule rule = {.from = row->from,
                                .to = row->to,
                                .disabled = row->status == CALENDAR_DISABLED,
                                .document = row->document,
                                .name = row->name,
                                .line = row->line};
    guint used;

    if (row->status == CALENDAR_ESTIMATE) {
        csv_fault(row->reader, row->line, "status: a holiday is official or disabled");
        return;
    }
    if (row->n_words == 0 || !is_key(row->words[0]) ||
        strcmp(row->words[0], CALENDAR_KEY_OTHER) == 0) {
        csv_fault(row->reader, row->line, "what: must begin with a key such as new-year");
        return;
    }
    if (!parse_form(row, &rule, &used)) {
        csv_fault(row->reader, row->line,
                  "what: after the key must stand solar MM-DD, lunar MM-DD (months 1 to 10), tet "
                  "BEFORE AFTER or national-day");
        return;
    }
    rule.in_lieu = row->n_words == used + 1 && strcmp(row->words[used], "in-lieu") == 0;
    if (row->n_words != used && !rule.in_lieu) {
        csv_fault(row->reader, row->line, "what: only in-lieu may follow");
        return;
    }
    rule.key = keep(calendar, row->words[0]);
    g_array_append_val(calendar->rules, rule);
}

/* --- off, swap --- */

/* The one word of "what", or NULL after a fault. */
static const char *take_key(struct calendar *calendar, const struct row *row)
{
    if (row->n_words == 1 && is_key(row->words[0]))
        return keep(calendar, row->words[0]);
    csv_fault(row->reader, row->line, "what: must be the key of a holiday, or other");
    return NULL;
}

static void take_off(struct calendar *calendar, const struct row *row)
{
    struct calendar_off off = {.from = row->from,
                               .to = row->to == INT32_MAX ? row->from : row->to,
                               .key = take_key(calendar, row),
                               .status = row->status,
                               .document = row->document,
                               .name = row->name,
                               .line = row->line};

    if (off.key == NULL)
        return;
    if (off.to - off.from >= BLOCK_DAYS_MAX)
        csv_fault(row->reader, row->line, "to: more than %d days off", BLOCK_DAYS_MAX);
    else if (off.status != CALENDAR_DISABLED)
        g_array_append_val(calendar->offs, off);
}

static void take_swap(struct calendar *calendar, const struct row *row)
{
    struct calendar_swap swap = {.off = row->from,
                                 .worked = row->to,
                                 .key = take_key(calendar, row),
                                 .status = row->status,
                                 .document = row->document,
                                 .name = row->name,
                                 .line = row->line};

    if (swap.key == NULL)
        return;
    if (swap.worked == INT32_MAX || ABS(swap.worked - swap.off) > SWAP_APART_MAX)
        csv_fault(row->reader, row->line, "to: the day worked, at most %d days from the day off",
                  SWAP_APART_MAX);
    else if (swap.status != CALENDAR_DISABLED)
        g_array_append_val(calendar->swaps, swap);
}

/* --- rows --- */

static bool parse_status(const char *text, enum calendar_status *out)
{
    static const char *const words[] = {
        [CALENDAR_OFFICIAL] = "official",
        [CALENDAR_ESTIMATE] = "estimate",
        [CALENDAR_DISABLED] = "disabled",
    };

    for (int i = 0; i < (int)G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (enum calendar_status)i;
            return true;
        }
    }
    return false;
}

/* The fields that all records share; a fault when one is wrong. */
static bool take_common(struct row *row, char **field)
{
    bool is_swap = strcmp(field[RECORD], "swap") == 0;

    row->to = INT32_MAX;
    if (!day_parse(field[FROM], &row->from))
        csv_fault(row->reader, row->line, "from: must be a date from %d to %d such as 2027-02-04",
                  DAY_YEAR_MIN, DAY_YEAR_MAX);
    else if (field[TO][0] != '\0' &&
             (!day_parse(field[TO], &row->to) || (row->to < row->from && !is_swap)))
        csv_fault(row->reader, row->line, "to: must be empty or a date not before \"from\"");
    else if (!parse_status(field[STATUS], &row->status))
        csv_fault(row->reader, row->line, "status: must be official, estimate or disabled");
    else if (row->status == CALENDAR_OFFICIAL && field[DOCUMENT][0] == '\0')
        csv_fault(row->reader, row->line, "document: an official row names the number of its act");
    else if (field[NAME][0] == '\0')
        csv_fault(row->reader, row->line, "name: must not be empty");
    else
        return true;
    return false;
}

static void take_row(struct csv_reader *reader, char **field, void *user)
{
    static const struct {
        const char *word;
        void (*take)(struct calendar *calendar, const struct row *row);
    } records[] = {
        {"hours", take_hours}, {"holiday", take_holiday}, {"off", take_off}, {"swap", take_swap}};
    struct calendar *calendar = user;
    g_auto(GStrv) words = g_strsplit(field[WHAT], " ", WORDS_MAX);
    struct row row = {.reader = reader,
                      .line = csv_line(reader),
                      .document = keep(calendar, field[DOCUMENT]),
                      .name = keep(calendar, field[NAME]),
                      .words = words,
                      .n_words = g_strv_length(words)};

    for (size_t i = 0; i < G_N_ELEMENTS(records); i++) {
        if (strcmp(field[RECORD], records[i].word) == 0) {
            if (take_common(&row, field))
                records[i].take(calendar, &row);
            return;
        }
    }
    csv_fault(reader, row.line, "record: must be hours, holiday, off or swap");
}

struct calendar *calendar_parse(const char *text, size_t len, GError **error)
{
    loa_auto(calendar) calendar = g_new0(struct calendar, 1);

    calendar->hours = g_array_new(FALSE, FALSE, sizeof(struct calendar_hours));
    calendar->rules = g_array_new(FALSE, FALSE, sizeof(struct holiday_rule));
    calendar->offs = g_array_new(FALSE, FALSE, sizeof(struct calendar_off));
    calendar->swaps = g_array_new(FALSE, FALSE, sizeof(struct calendar_swap));
    calendar->exceptions = g_array_new(FALSE, FALSE, sizeof(struct calendar_exception));
    calendar->strings = g_string_chunk_new(4096);
    if (!csv_read(text, len, "record,from,to,what,status,document,name", take_row, calendar_check,
                  calendar, calendar->version, error))
        return NULL;
    calendar_build(calendar);
    return g_steal_pointer(&calendar);
}
