/* SQL of the outbox. The functions of migration 0009 hold what takes more than one
 * statement, and plan anew at each call: the tables are empty one minute and full the next. */
#include "engine/outbox_store.h"

#include <assert.h>
#include <inttypes.h>

#include "engine/outbox.h"

const char outbox_enqueue_sql[] =
    "WITH new AS (INSERT INTO notification (dedupe_key, account_id, device_id, class, priority,"
    "   title, body, url, not_before, expires_at)"
    " SELECT key, nullif(account, 0), nullif(device, 0), class, priority, title, body, url,"
    "   CASE not_before WHEN 0 THEN now() ELSE to_timestamp(not_before / 1e6) END,"
    "   to_timestamp(expires / 1e6)"
    " FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::text[],"
    "   $7::text[], $8::text[], $9::bigint[], $10::bigint[])"
    "   AS t (key, account, device, class, priority, title, body, url, not_before, expires)"
    " ON CONFLICT (dedupe_key) DO NOTHING RETURNING id, priority, not_before),"
    " due AS (INSERT INTO notification_due SELECT id, priority, not_before FROM new)"
    " SELECT pg_notify('loa_outbox', '')::text WHERE EXISTS (SELECT FROM new)";

struct db_params *outbox_enqueue_params(const struct notification *list, size_t n)
{
    struct db_params *params = db_params_new();
    g_autofree const char **text = g_new(const char *, 5 * n);
    g_autofree int64_t *number = g_new(int64_t, 4 * n);
    g_autofree int32_t *priority = g_new(int32_t, n);
    const char **key = text, **cls = text + n, **title = text + 2 * n, **body = text + 3 * n,
               **url = text + 4 * n;
    int64_t *account = number, *device = number + n, *not_before = number + 2 * n,
            *expires = number + 3 * n;

    assert(n > 0 && n <= OUTBOX_ENQUEUE_MAX);
    for (size_t i = 0; i < n; i++) {
        key[i] = list[i].key;
        account[i] = list[i].account_id;
        device[i] = list[i].device_id;
        cls[i] = list[i].cls != NULL ? list[i].cls : "phan_anh";
        priority[i] = list[i].priority != 0 ? list[i].priority : 5;
        title[i] = list[i].title;
        body[i] = list[i].body;
        url[i] = list[i].url != NULL ? list[i].url : "";
        not_before[i] = list[i].not_before_utc_us;
        expires[i] = list[i].expires_utc_us;
    }
    db_param_text_array(params, key, n);
    db_param_i64_array(params, account, n);
    db_param_i64_array(params, device, n);
    db_param_text_array(params, cls, n);
    db_param_i32_array(params, priority, n);
    db_param_text_array(params, title, n);
    db_param_text_array(params, body, n);
    db_param_text_array(params, url, n);
    db_param_i64_array(params, not_before, n);
    db_param_i64_array(params, expires, n);
    return params;
}

bool outbox_enqueue(struct db *db, const struct notification *list, size_t n, GError **error)
{
    for (size_t i = 0; i < n; i++)
        if (!outbox_check(&list[i], error))
            return false;
    return db_exec(db, outbox_enqueue_sql, outbox_enqueue_params(list, n), error);
}

void outbox_take(struct db_async *db, const struct outbox_claimer *claimer, int batch,
                 const char *const *channels, size_t n_channels, int room, db_async_cb cb,
                 void *user)
{
    struct db_params *params = db_params_new();

    db_param_i32(params, batch);
    db_param_text_array(params, channels, n_channels);
    db_param_i32(params, room);
    db_param_text(params, claimer->owner);
    db_param_i64(params, claimer->lease_ms);
    db_async_query(db, "SELECT * FROM outbox_take($1, $2, $3, $4, $5)", params, cb, user);
}

void outbox_claim(struct db_async *db, const struct outbox_claimer *claimer, const char *channel,
                  int room, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_i32(params, room);
    db_param_text(params, claimer->owner);
    db_param_i64(params, claimer->lease_ms);
    db_async_query(db, "SELECT * FROM outbox_claim($1, $2, $3, $4)", params, cb, user);
}

void outbox_expire(struct db_async *db, int batch, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_i32(params, batch);
    db_async_query(db, "SELECT outbox_expire($1)", params, cb, user);
}

void outbox_settle(struct db_async *db, const struct outbox_results *r, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_i64_array(params, r->notification, r->n);
    db_param_i64_array(params, r->device, r->n);
    db_param_i32_array(params, r->epoch, r->n);
    db_param_text_array(params, r->state, r->n);
    db_param_i64_array(params, r->delay_ms, r->n);
    db_param_i32_array(params, r->attempt, r->n);
    db_param_text_array(params, r->reason, r->n);
    db_async_query(db, "SELECT outbox_settle($1, $2, $3, $4, $5, $6, $7)", params, cb, user);
}

void outbox_learn_tokens(struct db_async *db, const struct outbox_tokens *t, db_async_cb cb,
                         void *user)
{
    static const char sql[] =
        "WITH dead AS (UPDATE device d SET channel = CASE WHEN d.mqtt THEN 'mqtt' ELSE 'none' END,"
        "   push_token = NULL, id_kind = NULL, apns_environment = NULL, proven_at = NULL,"
        "   retired_at = CASE WHEN d.mqtt THEN NULL ELSE clock_timestamp() END,"
        "   retired_reason = 'dead_token'"
        "   FROM unnest($1::bigint[], $2::text[]) AS t (id, token)"
        "   WHERE d.id = t.id AND d.push_token = t.token)"
        " UPDATE device d SET proven_at = clock_timestamp()"
        "   FROM unnest($3::bigint[], $4::text[]) AS t (id, token)"
        "   WHERE d.id = t.id AND d.push_token = t.token AND d.proven_at IS NULL";
    struct db_params *params = db_params_new();

    db_param_i64_array(params, t->dead_device, t->n_dead);
    db_param_text_array(params, t->dead_token, t->n_dead);
    db_param_i64_array(params, t->proven_device, t->n_proven);
    db_param_text_array(params, t->proven_token, t->n_proven);
    db_async_query(db, sql, params, cb, user);
}

static void row_free(void *item)
{
    struct outbox_row *row = item;

    g_free(row->key);
    g_free(row->state);
    g_free(row->reason);
    g_free(row);
}

static struct outbox_row *decode_row(const PGresult *res, int i)
{
    struct outbox_row *row = g_new0(struct outbox_row, 1);

    row->id = db_get_i64(res, i, 0);
    row->key = g_strdup(db_get_text(res, i, 1));
    row->state = g_strdup(db_get_text(res, i, 2));
    row->reason = g_strdup(db_is_null(res, i, 3) ? "" : db_get_text(res, i, 3));
    row->account_id = db_get_i64(res, i, 4);
    row->device_id = db_get_i64(res, i, 5);
    row->created_utc_us = db_get_utc_us(res, i, 6);
    row->expires_utc_us = db_get_utc_us(res, i, 7);
    row->pushes = db_get_i64(res, i, 8);
    row->accepted = db_get_i64(res, i, 9);
    row->owed = db_get_i64(res, i, 10);
    row->attempts = db_get_i64(res, i, 11);
    row->shown = db_get_i64(res, i, 12);
    row->opened = db_get_i64(res, i, 13);
    return row;
}

GPtrArray *outbox_list(struct db *db, const char *state, int limit, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    GPtrArray *rows;

    db_param_text(params, state);
    db_param_i32(params, limit);
    res = db_query(db,
                   "SELECT n.id, n.dedupe_key, n.state, coalesce(n.dead_reason, p.reason),"
                   "   n.account_id, n.device_id, n.created_at, n.expires_at, p.total, p.accepted,"
                   "   p.owed, p.attempts, p.shown, p.opened"
                   " FROM notification_status n, LATERAL (SELECT count(*) AS total,"
                   "   count(*) FILTER (WHERE state = 'ACCEPTED') AS accepted,"
                   "   count(*) FILTER (WHERE state IN ('queued', 'flying', 'unstored')) AS owed,"
                   "   coalesce(max(attempt), 0)::integer AS attempts,"
                   "   count(shown_at) AS shown, count(opened_at) AS opened,"
                   "   max(reason) FILTER (WHERE state <> 'ACCEPTED') AS reason"
                   "   FROM notification_push WHERE notification_id = n.id) p"
                   " WHERE ($1::text IS NULL AND n.state <> 'done') OR n.state = $1"
                   " ORDER BY n.id DESC LIMIT $2",
                   params, error);
    if (res == NULL)
        return NULL;
    rows = g_ptr_array_new_with_free_func(row_free);
    for (int i = 0; i < PQntuples(res); i++)
        g_ptr_array_add(rows, decode_row(res, i));
    return rows;
}

bool outbox_retry(struct db *db, int64_t id, int64_t life_s, GError **error)
{
    static const char sql[] =
        "WITH again AS (DELETE FROM notification_end WHERE notification_id = $1"
        "   AND state = 'dead' RETURNING notification_id AS id),"
        " life AS (UPDATE notification n SET not_before = now(),"
        "   expires_at = now() + make_interval(secs => $2::bigint) FROM again"
        "   WHERE n.id = again.id RETURNING n.id, n.priority, n.not_before),"
        " due AS (INSERT INTO notification_due SELECT id, priority, not_before FROM life),"
        " gone AS (DELETE FROM notification_push p USING again WHERE p.notification_id = again.id),"
        " wake AS (SELECT pg_notify('loa_outbox', '') FROM again)"
        " SELECT n.state, EXISTS (SELECT FROM again), (SELECT count(*) FROM wake)"
        " FROM notification_status n WHERE n.id = $1";
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, id);
    db_param_i64(params, life_s);
    res = db_query(db, sql, params, error);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "no notification %" PRId64, id);
        return false;
    }
    if (!db_get_bool(res, 0, 1)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "notification %" PRId64 " is %s; only a dead one can be tried again", id,
                    db_get_text(res, 0, 0));
        return false;
    }
    return true;
}
