/* SQL of the audit: who did what to what. Rows are only ever added; a trigger sees to it. */
#ifndef LOA_ENGINE_AUDIT_STORE_H
#define LOA_ENGINE_AUDIT_STORE_H

#include "base/db.h"
#include "engine/account.h"

/* Adds one row, inside the caller's transaction, so that act and record stand or fall together.
 * account NULL: "system". object: "broadcast:7", an account's name, "channel:fcm". */
bool audit_store_add(struct db *db, const struct account *account, const char *act,
                     const char *object, const char *detail,
                     GError **error) G_GNUC_WARN_UNUSED_RESULT;

struct audit_row {
    int64_t at_utc_us;
    char *actor;
    char *act;
    char *detail;
};
/* History of one object, oldest first, at most 200: struct audit_row *, owned with the array. */
GPtrArray *audit_store_history(struct db *db, const char *object, GError **error);

#endif
