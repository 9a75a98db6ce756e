/* The files that say how the law counts: the working calendar and the deadlines' policy.
 *
 * Without a path it is the operator's /etc/loa/NAME, if there is one, else the shipped
 * /usr/share/loa/NAME; a program that runs from the source tree reads the tree's etc/NAME. */
#ifndef LOA_APP_LEGAL_FILES_H
#define LOA_APP_LEGAL_FILES_H

#include "feedback/calendar.h"
#include "feedback/policy.h"

#define LEGAL_CALENDAR_FILE "holidays.csv"
#define LEGAL_POLICY_FILE   "policy.csv"

/* Where NAME lies by default. Owned. */
char *legal_file_default(const char *name);

/* path NULL: the default. NOT_FOUND, or INVALID with the faults; the message begins with the
 * path. Owned. */
struct calendar *legal_calendar_load(const char *path, GError **error);
struct policy *legal_policy_load(const char *path, GError **error);

#endif
