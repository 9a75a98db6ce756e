/* What should be and what is are compared by the database, so a run that was cut off goes on where
 * it stood, and one that has nothing to do is cheap. */
#include "engine/topic_store.h"

#include <string.h>

#include "base/error.h"

/* Device d wants subscription s. */
#define WANTED                                                                                     \
    "d.channel = 'fcm' AND d.push_token = s.push_token AND d.id_kind = s.id_kind"                  \
    " AND d.realm = s.realm AND s.commune IN ('', coalesce(d.commune, ''))"
/* Subscription s is device d's, for this commune. */
#define ITS_OWN(commune)                                                                           \
    "s.push_token = d.push_token AND s.id_kind = d.id_kind AND s.realm = d.realm"                  \
    " AND s.commune = " commune
/* For each row of a page one look into the index: an EXISTS there may be turned into a hash of the
 * whole table, page after page. */
#define NONE_OF(table, condition) "(SELECT 1 FROM " table " WHERE " condition " LIMIT 1) IS NULL"

/* ---- the right to change ---- */

bool topic_store_lease(struct db *db, const char *owner, int64_t seconds, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text(params, owner);
    db_param_i64(params, seconds);
    res = db_query(db,
                   "UPDATE topic_sync SET lease_owner = $1,"
                   " lease_until = clock_timestamp() + make_interval(secs => $2),"
                   " started_at = CASE WHEN lease_owner = $1 THEN started_at ELSE now() END"
                   " WHERE lease_owner IS NULL OR lease_owner = $1"
                   " OR lease_until < clock_timestamp() RETURNING 1",
                   params, error);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 1)
        return true;
    g_set_error_literal(
        error, LOA_ERROR, LOA_ERROR_CONFLICT,
        "another loa topic sync is running, or ended less than half a minute ago without a "
        "word; one at a time");
    return false;
}

bool topic_store_release_lease(struct db *db, const char *owner, bool completed, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, owner);
    db_param_bool(params, completed);
    return db_exec(db,
                   "UPDATE topic_sync SET lease_owner = NULL, lease_until = NULL,"
                   " completed_at = CASE WHEN $2 THEN clock_timestamp() ELSE completed_at END"
                   " WHERE lease_owner = $1",
                   params, error);
}

/* ---- what is to be done ---- */

bool topic_store_counts(struct db *db, struct topic_counts *out, GError **error)
{
    g_autoptr(PGresult) res = db_query(
        db,
        "SELECT (SELECT count(*) FROM device d WHERE d.channel = 'fcm'"
        "   AND NOT EXISTS (SELECT FROM topic_subscription s WHERE " ITS_OWN(
            "''") "))"
                  " + (SELECT count(*) FROM device d WHERE d.channel = 'fcm' AND d.commune IS NOT "
                  "NULL"
                  "   AND NOT EXISTS (SELECT FROM topic_subscription s WHERE " ITS_OWN(
                      "d.commune") ")),"
                                   " (SELECT count(*) FROM topic_subscription s"
                                   "   WHERE NOT EXISTS (SELECT FROM device d WHERE " WANTED "))",
        NULL, error);

    if (res == NULL)
        return false;
    out->missing = db_get_i64(res, 0, 0);
    out->surplus = db_get_i64(res, 0, 1);
    return true;
}

PGresult *topic_store_missing(struct db *db, int64_t after_id, int limit, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, after_id);
    db_param_i32(params, limit);
    return db_query(
        db,
        "SELECT d.id, d.push_token, d.id_kind, d.realm, coalesce(d.commune, ''),"
        " " NONE_OF(
            "topic_subscription s",
            ITS_OWN("''")) ","
                           " d.commune IS NOT NULL"
                           " AND " NONE_OF(
                               "topic_subscription s",
                               ITS_OWN("d.commune")) " FROM (SELECT * FROM device WHERE channel = "
                                                     "'fcm' AND id > $1"
                                                     "   ORDER BY id LIMIT $2) d ORDER BY d.id",
        params, error);
}

void topic_cursor_clear(struct topic_cursor *cursor)
{
    g_clear_pointer(&cursor->push_token, g_free);
    g_clear_pointer(&cursor->id_kind, g_free);
    g_clear_pointer(&cursor->realm, g_free);
    g_clear_pointer(&cursor->commune, g_free);
}

PGresult *topic_store_surplus(struct db *db, const struct topic_cursor *after, int limit,
                              GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, after->push_token != NULL ? after->push_token : "");
    db_param_text(params, after->id_kind != NULL ? after->id_kind : "");
    db_param_text(params, after->realm != NULL ? after->realm : "");
    db_param_text(params, after->commune != NULL ? after->commune : "");
    db_param_i32(params, limit);
    return db_query(
        db,
        "SELECT s.push_token, s.id_kind, s.realm, s.commune,"
        " " NONE_OF("device d",
                    WANTED) " FROM (SELECT * FROM topic_subscription"
                            "   WHERE (push_token, id_kind, realm, commune) > ($1, $2, $3, $4)"
                            "   ORDER BY push_token, id_kind, realm, commune LIMIT $5) s"
                            " ORDER BY 1, 2, 3, 4",
        params, error);
}

/* ---- what was done ---- */

bool topic_store_change(struct db *db, const struct topic_change *c, GError **error)
{
    static const char sql[] =
        "WITH removed AS (DELETE FROM topic_subscription WHERE push_token = ANY ($5)"
        "   AND id_kind = $3 AND realm = $1 AND commune = $2)"
        " INSERT INTO topic_subscription (push_token, id_kind, realm, commune)"
        " SELECT t.token, $3, $1, $2 FROM unnest($4::text[]) AS t (token)"
        " ON CONFLICT DO NOTHING";
    struct db_params *params = db_params_new();

    db_param_text(params, c->realm);
    db_param_text(params, c->commune);
    db_param_text(params, c->id_kind);
    db_param_text_array(params, c->added, c->n_added);
    db_param_text_array(params, c->removed, c->n_removed);
    return db_exec(db, sql, params, error);
}

bool topic_store_retire(struct db *db, const char *id_kind, const char *const *registrations,
                        size_t n, int64_t *out_retired, GError **error)
{
    static const char sql[] =
        "WITH dead AS (UPDATE device d SET channel = CASE WHEN d.mqtt THEN 'mqtt' ELSE 'none' END,"
        "   push_token = NULL, id_kind = NULL, apns_environment = NULL, proven_at = NULL,"
        "   retired_at = CASE WHEN d.mqtt THEN NULL ELSE clock_timestamp() END,"
        "   retired_reason = 'dead_token'"
        "   WHERE d.push_token = ANY ($2) AND d.channel = 'fcm' AND d.id_kind = $1 RETURNING 1)"
        " SELECT count(*) FROM dead";
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text(params, id_kind);
    db_param_text_array(params, registrations, n);
    res = db_query(db, sql, params, error);
    if (res != NULL)
        *out_retired = db_get_i64(res, 0, 0);
    return res != NULL;
}

/* ---- what there is ---- */

static void topic_row_free(void *data)
{
    struct topic_row *row = data;

    g_free(row->realm);
    g_free(row->commune);
    g_free(row);
}

GPtrArray *topic_store_list(struct db *db, int64_t *out_completed_utc_us, GError **error)
{
    g_autoptr(PGresult) res = db_query(
        db,
        "SELECT realm, commune, sum(subscribed)::bigint, sum(wanted)::bigint,"
        " (SELECT completed_at FROM topic_sync) FROM ("
        "  SELECT realm, commune, count(*) AS subscribed, 0 AS wanted FROM topic_subscription"
        "  GROUP BY 1, 2"
        "  UNION ALL SELECT realm, '', 0, count(*) FROM device WHERE channel = 'fcm' GROUP BY 1, 2"
        "  UNION ALL SELECT realm, commune, 0, count(*) FROM device WHERE channel = 'fcm'"
        "  AND commune IS NOT NULL GROUP BY 1, 2) t GROUP BY 1, 2 ORDER BY realm <> 'live', 1, 2",
        NULL, error);
    GPtrArray *rows;

    if (res == NULL)
        return NULL;
    rows = g_ptr_array_new_with_free_func(topic_row_free);
    *out_completed_utc_us = PQntuples(res) > 0 ? db_get_utc_us(res, 0, 4) : 0;
    for (int i = 0; i < PQntuples(res); i++) {
        struct topic_row *row = g_new0(struct topic_row, 1);
        row->realm = g_strdup(db_get_text(res, i, 0));
        row->commune = g_strdup(db_get_text(res, i, 1));
        row->subscribed = db_get_i64(res, i, 2);
        row->wanted = db_get_i64(res, i, 3);
        g_ptr_array_add(rows, row);
    }
    return rows;
}

bool topic_store_used(struct db *db, bool *out_used, GError **error)
{
    g_autoptr(PGresult) res = db_query(db,
                                       "SELECT EXISTS (SELECT FROM topic_subscription)"
                                       " OR EXISTS (SELECT FROM topic_message)",
                                       NULL, error);

    if (res == NULL)
        return false;
    *out_used = db_get_bool(res, 0, 0);
    return true;
}
