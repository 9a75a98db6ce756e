/* The invariants of sql/checks: each file is one query that returns a line of text for everything
 * that is broken, and nothing else. True at every instant, also while processes are killed. */
#ifndef LOA_ENGINE_CHECKS_H
#define LOA_ENGINE_CHECKS_H

#include "base/db.h"

/* Runs every *.sql file of the directory by name, each in a snapshot of its own. Appends owned
 * strings "010_flights_cover: broadcast 7 …" to faults (created with g_free). false: a check could
 * not be run. */
bool checks_run(struct db *db, const char *dir, GPtrArray *faults, GError **error);

#endif
