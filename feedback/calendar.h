/* The working calendar: which days are working days, and at which hours. Its data is one file,
 * etc/holidays.csv: hours by date and season, the statutory holidays, the blocks and swaps that the
 * government announced. What is not announced yet is computed and marked as an estimate. Pure. */
#ifndef LOA_FEEDBACK_CALENDAR_H
#define LOA_FEEDBACK_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#define CALENDAR_SPANS_MAX 4

enum calendar_day_kind {
    CALENDAR_WORK,        /* an ordinary working day */
    CALENDAR_SWAP_WORK,   /* a weekly day off that is worked instead of another day */
    CALENDAR_WEEKLY_REST, /* no working hours on this weekday */
    CALENDAR_HOLIDAY,     /* a public holiday, a day in lieu of one, or a day of its block */
    CALENDAR_SWAP_OFF,    /* a working day taken off for one that is worked instead */
};

/* Working time within a day, in minutes since 00:00. */
struct calendar_span {
    int16_t from_min, to_min;
};

struct calendar_day {
    enum calendar_day_kind kind;
    bool estimated;       /* no official row says so yet */
    const char *name;     /* why it is no ordinary day; NULL for WORK, WEEKLY_REST; borrowed */
    const char *document; /* the number of the act that says so, may be ""; NULL as name */
    size_t n_spans;       /* 0 = no working day */
    struct calendar_span spans[CALENDAR_SPANS_MAX]; /* ascending, apart from each other */
};

struct calendar;

/* Reads the file (csv.h): record,from,to,what,status,document,name; its head and docs/deadlines.md
 * tell the records. INVALID lists the faults. Owned. */
struct calendar *calendar_parse(const char *text, size_t len, GError **error);
void calendar_free(struct calendar *calendar);
LOA_AUTO_DEFINE(calendar, calendar_free)

/* Names the content; borrowed. */
const char *calendar_version(const struct calendar *calendar);

/* INVALID when the file has no working hours for that time. */
bool calendar_day_at(const struct calendar *calendar, int32_t day, struct calendar_day *out,
                     GError **error);

/* What the Prime Minister decides each year (Tết, the day beside 2 September) and no official row
 * holds: of today's year at any time, of the next year after 1 December. "Tết Âm lịch 2027, Quốc
 * khánh 2027", owned; NULL when nothing is missing. */
char *calendar_missing_official(const struct calendar *calendar, int32_t today);

#endif
