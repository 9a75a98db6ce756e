/* SQL of the audit. */
#include "engine/audit_store.h"

bool audit_store_add(struct db *db, const struct account *account, const char *act,
                     const char *object, const char *detail, GError **error)
{
    struct db_params *params = db_params_new();

    if (account != NULL)
        db_param_i64(params, account->id);
    else
        db_param_null(params);
    db_param_text(params, account != NULL ? account->name : "system");
    db_param_text(params, act);
    db_param_text(params, object);
    db_param_text(params, detail);
    return db_exec(db,
                   "INSERT INTO audit (account_id, actor, act, object, detail)"
                   " VALUES ($1::bigint, $2, $3, $4, $5)",
                   params, error);
}

static void row_free(void *item)
{
    struct audit_row *row = item;

    g_free(row->actor);
    g_free(row->act);
    g_free(row->detail);
    g_free(row);
}

GPtrArray *audit_store_history(struct db *db, const char *object, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    GPtrArray *rows;

    db_param_text(params, object);
    res = db_query(db,
                   "SELECT at, actor, act, detail FROM audit WHERE object = $1"
                   " ORDER BY id LIMIT 200",
                   params, error);
    if (res == NULL)
        return NULL;
    rows = g_ptr_array_new_with_free_func(row_free);
    for (int i = 0; i < PQntuples(res); i++) {
        struct audit_row *row = g_new0(struct audit_row, 1);
        row->at_utc_us = db_get_utc_us(res, i, 0);
        row->actor = g_strdup(db_get_text(res, i, 1));
        row->act = g_strdup(db_get_text(res, i, 2));
        row->detail = g_strdup(db_get_text(res, i, 3));
        g_ptr_array_add(rows, row);
    }
    return rows;
}
