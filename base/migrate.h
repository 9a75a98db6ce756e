/* The database schema: sql/migrations/NNNN_name.sql, applied in order, each in one transaction. A
 * migration that has been applied anywhere is frozen: its checksum is kept in schema_migration. */
#ifndef LOA_BASE_MIGRATE_H
#define LOA_BASE_MIGRATE_H

#include "base/db.h"

/* Where sql/ lies: /usr/share/loa/sql for an installed program, else the source tree's. */
const char *migrate_default_dir(void);

/* Applies what is missing of DIR/migrations and returns how many that were, -1 on error. Several
 * processes may run it at once. CONFLICT when an applied file has changed or the database has a
 * migration that this program does not know; INVALID when the folder is not an unbroken series. */
int migrate_run(struct db *db, const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* How many are missing; changes nothing. -1 and errors as migrate_run. */
int migrate_pending(struct db *db, const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
