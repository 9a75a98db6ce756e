/* SQL of the outbox. The functions outbox_expand and outbox_settle of migration 0002 hold what
 * takes more than one statement. */
#include "engine/outbox_store.h"

#include <inttypes.h>

#include "engine/outbox.h"

const char outbox_enqueue_sql[] =
    "WITH new AS (INSERT INTO notification (dedupe_key, account_id, device_id, class, priority,"
    "   title, body, url, not_before, expires_at) VALUES ($1, $2::bigint, $3::bigint, $4, $5, $6,"
    "   $7, $8, coalesce($9::timestamptz, now()), $10) ON CONFLICT (dedupe_key) DO NOTHING"
    "   RETURNING id)"
    " SELECT id, pg_notify('loa_outbox', '')::text FROM new";

static void param_id(struct db_params *params, int64_t id)
{
    if (id != 0)
        db_param_i64(params, id);
    else
        db_param_null(params);
}

struct db_params *outbox_enqueue_params(const struct notification *n)
{
    struct db_params *params = db_params_new();

    db_param_text(params, n->key);
    param_id(params, n->account_id);
    param_id(params, n->device_id);
    db_param_text(params, n->cls != NULL ? n->cls : "phan_anh");
    db_param_i32(params, n->priority != 0 ? n->priority : 5);
    db_param_text(params, n->title);
    db_param_text(params, n->body);
    db_param_text(params, n->url != NULL ? n->url : "");
    if (n->not_before_utc_us != 0)
        db_param_utc_us(params, n->not_before_utc_us);
    else
        db_param_null(params);
    db_param_utc_us(params, n->expires_utc_us);
    return params;
}

bool outbox_enqueue(struct db *db, const struct notification *n, GError **error)
{
    return outbox_check(n, error) &&
           db_exec(db, outbox_enqueue_sql, outbox_enqueue_params(n), error);
}

void outbox_expand(struct db_async *db, int batch, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_i32(params, batch);
    db_async_query(db, "SELECT outbox_expand($1)", params, cb, user);
}

void outbox_claim(struct db_async *db, const char *channel, int limit, const char *owner,
                  int64_t lease_ms, db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH pick AS MATERIALIZED (SELECT notification_id, device_id FROM notification_push"
        "   WHERE channel = $1 AND state IN ('queued', 'flying') AND next_at <= clock_timestamp()"
        "   AND (lease_until IS NULL OR lease_until < clock_timestamp())"
        "   AND NOT EXISTS (SELECT FROM fanout_stop WHERE scope IN ('all', 'channel:' || $1))"
        "   ORDER BY priority, next_at LIMIT $2 FOR UPDATE SKIP LOCKED),"
        " claim AS (UPDATE notification_push p SET state = 'flying', epoch = p.epoch + 1,"
        "   lease_owner = $3,"
        "   lease_until = clock_timestamp() + make_interval(secs => $4::bigint / 1000.0)"
        "   FROM pick WHERE p.notification_id = pick.notification_id"
        "   AND p.device_id = pick.device_id"
        "   RETURNING p.notification_id, p.device_id, p.epoch, p.attempt, p.priority)"
        " SELECT c.notification_id, c.device_id, c.epoch, c.attempt::integer, n.title, n.body,"
        "   n.url, n.class, n.created_at, n.expires_at, d.channel, d.push_token,"
        "   d.id_kind = 'fid', d.apns_environment = 'sandbox', d.token_at,"
        "   d.proven_at IS NOT NULL"
        " FROM claim c JOIN notification n ON n.id = c.notification_id"
        " LEFT JOIN device d ON d.id = c.device_id ORDER BY c.priority, c.notification_id";
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_i32(params, limit);
    db_param_text(params, owner);
    db_param_i64(params, lease_ms);
    db_async_query(db, sql, params, cb, user);
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
                   "   p.owed, p.attempts"
                   " FROM notification n, LATERAL (SELECT count(*) AS total,"
                   "   count(*) FILTER (WHERE state = 'ACCEPTED') AS accepted,"
                   "   count(*) FILTER (WHERE state IN ('queued', 'flying')) AS owed,"
                   "   coalesce(max(attempt), 0)::integer AS attempts,"
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
        "WITH again AS (UPDATE notification SET state = 'pending', dead_reason = NULL,"
        "   settled_at = NULL, not_before = now(),"
        "   expires_at = now() + make_interval(secs => $2::bigint) WHERE id = $1"
        "   AND state = 'dead' RETURNING id),"
        " gone AS (DELETE FROM notification_push p USING again WHERE p.notification_id = again.id),"
        " wake AS (SELECT pg_notify('loa_outbox', '') FROM again)"
        " SELECT n.state, EXISTS (SELECT FROM again), (SELECT count(*) FROM wake) FROM "
        "notification n"
        " WHERE n.id = $1";
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
