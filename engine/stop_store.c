/* SQL of the stop switches. */
#include "engine/stop_store.h"

#include <string.h>

#include "engine/audit_store.h"

/* Each statement sets or removes the switch and wakes the delivery processes; one row if it did. */
static const char stop_sql[] =
    "WITH stop AS (INSERT INTO fanout_stop (scope, reason, by_name) VALUES ($1, $2, $3)"
    "   ON CONFLICT DO NOTHING RETURNING 1)"
    " SELECT pg_notify('loa_fanout', 'stop') FROM stop";
static const char resume_sql[] =
    "WITH stop AS (DELETE FROM fanout_stop WHERE scope = $1 RETURNING 1)"
    " SELECT pg_notify('loa_fanout', 'resume') FROM stop";

static bool check_broadcast(struct db *db, const char *scope, GError **error)
{
    struct db_params *params = NULL;
    g_autoptr(PGresult) res = NULL;

    if (!g_str_has_prefix(scope, "broadcast:"))
        return true;
    params = db_params_new();
    db_param_i64(params, g_ascii_strtoll(scope + strlen("broadcast:"), NULL, 10));
    res = db_query(db, "SELECT 1 FROM broadcast WHERE id = $1", params, error);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "no %s", scope);
        return false;
    }
    return true;
}

static bool change(struct db *db, const struct account *actor, const char *scope,
                   const char *reason, bool stop, bool *out_changed, GError **error)
{
    struct db_params *params = NULL;
    g_autoptr(PGresult) res = NULL;

    if (!check_broadcast(db, scope, error))
        return false;
    params = db_params_new();
    db_param_text(params, scope);
    if (stop) {
        db_param_text(params, reason);
        db_param_text(params, actor->name);
    }
    res = db_query(db, stop ? stop_sql : resume_sql, params, error);
    if (res == NULL)
        return false;
    *out_changed = PQntuples(res) > 0;
    return !*out_changed || audit_store_add(db, actor, stop ? "sending_stopped" : "sending_resumed",
                                            scope, reason, error);
}

static bool change_in_transaction(struct db *db, const struct account *actor, const char *scope,
                                  const char *reason, bool stop, bool *out_changed, GError **error)
{
    bool changed = false;

    if (!db_begin(db, error))
        return false;
    if (!change(db, actor, scope, reason, stop, &changed, error) || !db_commit(db, error)) {
        db_rollback(db);
        return false;
    }
    *out_changed = changed;
    return true;
}

bool stop_store_stop(struct db *db, const struct account *actor, const char *scope,
                     const char *reason, bool *out_changed, GError **error)
{
    return change_in_transaction(db, actor, scope, reason, true, out_changed, error);
}

bool stop_store_resume(struct db *db, const struct account *actor, const char *scope,
                       const char *reason, bool *out_changed, GError **error)
{
    return change_in_transaction(db, actor, scope, reason, false, out_changed, error);
}

static void stop_free(void *item)
{
    struct stop *stop = item;

    g_free(stop->scope);
    g_free(stop->reason);
    g_free(stop->by_name);
    g_free(stop);
}

GPtrArray *stop_store_list(struct db *db, GError **error)
{
    g_autoptr(PGresult) res = db_query(
        db, "SELECT scope, reason, by_name, at FROM fanout_stop ORDER BY at, scope", NULL, error);
    GPtrArray *list;

    if (res == NULL)
        return NULL;
    list = g_ptr_array_new_with_free_func(stop_free);
    for (int row = 0; row < PQntuples(res); row++) {
        struct stop *stop = g_new0(struct stop, 1);
        stop->scope = g_strdup(db_get_text(res, row, 0));
        stop->reason = g_strdup(db_get_text(res, row, 1));
        stop->by_name = g_strdup(db_get_text(res, row, 2));
        stop->at_utc_us = db_get_utc_us(res, row, 3);
        g_ptr_array_add(list, stop);
    }
    return list;
}
