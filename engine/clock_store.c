/* One question. */
#include "engine/clock_store.h"

bool clock_store_now(struct db *db, int64_t *out_utc_us, GError **error)
{
    g_autoptr(PGresult) res = db_query(db, "SELECT clock_timestamp()", NULL, error);

    if (res == NULL)
        return false;
    *out_utc_us = db_get_utc_us(res, 0, 0);
    return true;
}
