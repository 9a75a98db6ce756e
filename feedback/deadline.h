/* The legal deadline: one pure function of (start, kind, calendar, policy). It returns with the
 * instant how it came about, day by day, so that a person can check it and a store can keep it.
 *
 * Counting is that of the Civil Code of 2015: a term in hours starts at its instant (art. 147.1); a
 * term in days leaves out the day of the event (147.2-3), ends at 24:00 of its last day (148.6)
 * and, if that is no working day, at 24:00 of the next one (148.5). */
#ifndef LOA_FEEDBACK_DEADLINE_H
#define LOA_FEEDBACK_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "feedback/calendar.h"
#include "feedback/policy.h"

/* A stretch that counts. Of a term in days: one whole day, amount 1. */
struct deadline_part {
    int32_t day;
    int64_t from_us, to_us; /* since 00:00 of the day */
    int64_t amount;         /* microseconds, or days */
};

/* A day that does not count, or that counts against its weekday (SWAP_WORK), and why. */
struct deadline_note {
    int32_t day;
    enum calendar_day_kind kind;
    bool estimated;
    char *name, *document; /* as of struct calendar_day; NULL = weekly day off */
};

struct deadline {
    enum deadline_kind kind;
    enum policy_unit unit;
    int amount; /* of the unit */
    int64_t start_utc_us;
    int64_t due_utc_us;    /* the last instant that is in time; end of a day = 00:00 of the next.
                            * MAINTENANCE: the first instant that is allowed */
    int32_t last_day;      /* in Viet Nam: the day whose end, or in which, it is due */
    int32_t counted_until; /* of a term in days: its last day before the roll-over */
    bool estimated;        /* some day on the way is known only as an estimate */
    int64_t urgent_target_utc_us; /* by the clock, day and night; no legal term; 0 = none */
    GArray *parts;                /* struct deadline_part, ascending; their sum is the amount */
    GArray *notes;                /* struct deadline_note, ascending */
    char *name, *citation;        /* of the policy's rule */
    char *derivation;             /* Vietnamese, lines; the first is the sum */
    char calendar_version[CSV_VERSION_LEN + 1];
    char policy_version[CSV_VERSION_LEN + 1];
};

/* INVALID, with the name of what is at fault, when calendar or policy know nothing about the time;
 * LIMIT when the calendar has so few working days that the end is more than DEADLINE_DAYS_MAX away.
 * Owned. */
#define DEADLINE_DAYS_MAX 1500
struct deadline *deadline_compute(int64_t start_utc_us, enum deadline_kind kind,
                                  const struct calendar *calendar, const struct policy *policy,
                                  GError **error);
void deadline_free(struct deadline *deadline);
LOA_AUTO_DEFINE(deadline, deadline_free)

/* A pending deadline after a new calendar or policy. Both instants are kept; what is shown never
 * moves to an earlier one than was shown before. */
struct deadline_revision {
    int64_t shown_before_utc_us;
    int64_t recomputed_utc_us;
    int64_t shown_utc_us;
};
struct deadline_revision deadline_revise(int64_t shown_before_utc_us, int64_t recomputed_utc_us);

/* The derivation of a computed deadline (its field is what this returned). Owned. */
char *deadline_derive(const struct deadline *deadline);
/* For people: what it is, when it is due, the derivation, the versions. Vietnamese. Owned. */
char *deadline_describe(const struct deadline *deadline);

#endif
