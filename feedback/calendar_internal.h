/* The rows of the calendar's file, as its parser hands them to the rules. */
#ifndef LOA_FEEDBACK_CALENDAR_INTERNAL_H
#define LOA_FEEDBACK_CALENDAR_INTERNAL_H

#include "feedback/calendar.h"
#include "feedback/csv.h"

#define CALENDAR_KEY_OTHER "other" /* a day off or a swap that belongs to no holiday */

enum calendar_status { CALENDAR_OFFICIAL, CALENDAR_ESTIMATE, CALENDAR_DISABLED };

/* Strings are the calendar's. */
struct calendar_hours {
    int32_t from, to;           /* days of effect, both included */
    uint8_t weekdays;           /* bit 0 = Monday */
    int season_from, season_to; /* month * 100 + day, both included, may wrap; 0 = all year */
    size_t n_spans;
    struct calendar_span spans[CALENDAR_SPANS_MAX];
    unsigned line;
};

enum holiday_form {
    HOLIDAY_SOLAR,    /* a date; certain */
    HOLIDAY_LUNAR,    /* a lunar date; computed */
    HOLIDAY_TET,      /* days before the first lunar day, and from it on; the government decides */
    HOLIDAY_NATIONAL, /* 2 September and a day beside it; the government decides */
};

struct holiday_rule {
    int32_t from, to;
    const char *key;
    enum holiday_form form;
    int a, b; /* SOLAR, LUNAR: month, day; TET: days before, days from the first on */
    bool in_lieu;
    bool disabled;
    const char *document, *name;
    unsigned line;
};

struct calendar_off {
    int32_t from, to;
    const char *key;
    enum calendar_status status;
    const char *document, *name;
    unsigned line;
};

struct calendar_swap {
    int32_t off, worked;
    const char *key;
    enum calendar_status status;
    const char *document, *name;
    unsigned line;
};

/* One day that is not as its weekday. */
struct calendar_exception {
    int32_t day;
    enum calendar_day_kind kind;
    bool estimated;
    int32_t as_day; /* SWAP_WORK: the day whose weekday's hours are worked */
    const char *document, *name;
};

struct calendar {
    GArray *hours;      /* struct calendar_hours */
    GArray *rules;      /* struct holiday_rule */
    GArray *offs;       /* struct calendar_off, none disabled */
    GArray *swaps;      /* struct calendar_swap, none disabled */
    GArray *exceptions; /* struct calendar_exception, by day, each day once */
    GStringChunk *strings;
    char version[CSV_VERSION_LEN + 1];
};

/* The hours of a day if it had this weekday, borrowed; NULL = none, it is a weekly day off. */
const struct calendar_hours *calendar_hours_at(const struct calendar *calendar, int32_t day,
                                               int weekday);

/* month_day (month * 100 + day; 0 = the whole year) is in the season of these hours. */
bool calendar_season_has(const struct calendar_hours *hours, int month_day);

/* Reports the contradictions between rows as faults; user: the struct calendar. */
void calendar_check(struct csv_reader *reader, void *user);

/* Fills exceptions from rules, offs and swaps. */
void calendar_build(struct calendar *calendar);

/* An off row of this key for this year, official ones first; NULL. A block belongs to the year of
 * its last day. Borrowed. */
const struct calendar_off *calendar_off_of(const struct calendar *calendar, const char *key,
                                           int year);

/* The days of a rule in a year into out (room for HOLIDAY_DAYS_MAX); returns how many. */
#define HOLIDAY_DAYS_MAX 16
size_t holiday_days(const struct holiday_rule *rule, int year, int32_t *out);

#endif
