/* The deadlines of the regulation as data: etc/policy.csv, one row per kind and period of effect.
 * A change of the regulation is a new row, never new code (Đ21.2-3). */
#ifndef LOA_FEEDBACK_POLICY_H
#define LOA_FEEDBACK_POLICY_H

#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "feedback/csv.h"

enum deadline_kind {
    DEADLINE_INTAKE,         /* the focal agency accepts or refuses (Đ9.2a) */
    DEADLINE_DISPATCH,       /* it passes the case to the handling agency (Đ9.2b) */
    DEADLINE_REDISPATCH,     /* the same for a case that was returned (Đ9.2b by analogy) */
    DEADLINE_HANDLING,       /* the head approves the result (Đ9.2c) */
    DEADLINE_URGENT,         /* the same for an urgent case (Đ9.2c) */
    DEADLINE_CLARIFY_WINDOW, /* the sender may ask for clarification (Đ10.1) */
    DEADLINE_CLARIFY_ANSWER, /* the agency answers (Đ10.1) */
    DEADLINE_MAINTENANCE,    /* first instant at which the platform may be suspended (Đ20.3) */
    DEADLINE_KINDS
};

enum policy_unit {
    POLICY_WORKING_HOURS, /* start at the instant, run in working time only */
    POLICY_WORKING_DAYS,  /* whole working days after the day of the event */
    POLICY_DAYS,          /* calendar days after it; a day off at the end rolls over */
    POLICY_UNITS
};

/* "intake", "clarify-window" …; static. */
const char *deadline_kind_word(enum deadline_kind kind);
/* False when there is no such kind. */
bool deadline_kind_parse(const char *word, enum deadline_kind *out);
/* "working-hours" …; static. */
const char *policy_unit_word(enum policy_unit unit);

struct policy_rule {
    enum deadline_kind kind;
    enum policy_unit unit;
    int32_t from, to; /* days of effect, both included; to INT32_MAX = open */
    int amount;
    int urgent_target_min; /* wall-clock minutes in which an urgent case should be served, 0 none */
    char *citation;        /* "Điều 9.2a" */
    char *name;            /* Vietnamese, for people: "Tiếp nhận phản ánh" */
    unsigned line;
};

struct policy;

/* Reads the table (csv.h): kind,from,to,amount,unit,urgent_target_minutes,citation,name. Every
 * kind must have a rule, and never two for one day. INVALID lists the faults. Owned. */
struct policy *policy_parse(const char *text, size_t len, GError **error);
void policy_free(struct policy *policy);
LOA_AUTO_DEFINE(policy, policy_free)

/* Names the content; borrowed. */
const char *policy_version(const struct policy *policy);
/* The rule in force on a day, borrowed; NULL with INVALID when there is none. */
const struct policy_rule *policy_find(const struct policy *policy, enum deadline_kind kind,
                                      int32_t day, GError **error);

#endif
