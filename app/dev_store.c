/* SQL of `loa dev`. */
#include "app/dev_store.h"

#include <inttypes.h>

GPtrArray *dev_store_communes(struct db *db, GError **error)
{
    g_autoptr(PGresult) res = db_query(db, "SELECT code FROM commune ORDER BY code", NULL, error);
    GPtrArray *codes;

    if (res == NULL)
        return NULL;
    codes = g_ptr_array_new_with_free_func(g_free);
    for (int i = 0; i < PQntuples(res); i++)
        g_ptr_array_add(codes, g_strdup(db_get_text(res, i, 0)));
    return codes;
}

bool dev_store_release_commit(struct db *db, int64_t broadcast_id, int64_t *out_utc_us,
                              GError **error)
{
    g_autofree char *object = g_strdup_printf("broadcast:%" PRId64, broadcast_id);
    struct db_params *params = db_params_new();

    db_param_text(params, object);
    /* The row of the audit is written by that transaction and never changed. */
    g_autoptr(PGresult) res = db_query(db,
                                       "SELECT pg_xact_commit_timestamp(xmin) FROM audit"
                                       " WHERE object = $1 AND act = 'broadcast_released'",
                                       params, error);
    if (res == NULL)
        return false;
    if (PQntuples(res) != 1 || db_is_null(res, 0, 0)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "%s was not released", object);
        return false;
    }
    *out_utc_us = db_get_utc_us(res, 0, 0);
    return true;
}
