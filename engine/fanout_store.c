/* The SQL of flights. Every write begins with `mine`: the update of the chunk's lease
 * under its epoch. When another process holds the chunk, `mine` is empty and nothing else happens.
 */
#include "engine/fanout_store.h"

#include "engine/fanout_sql.h"
#include "engine/outcome.h"

/* $1 broadcast, $2 chunk, $3 epoch, $4 lease in ms: the head of every write. */
#define MINE                                                                                       \
    "WITH mine AS (UPDATE fanout_chunk SET"                                                        \
    "   lease_until = clock_timestamp() + make_interval(secs => $4::bigint / 1000.0)"              \
    "   WHERE broadcast_id = $1 AND chunk_no = $2 AND epoch = $3 RETURNING 1)"

/* The device columns that a push needs; $N is stale_days. */
#define DEVICE_COLUMNS(stale)                                                                      \
    "d.id, d.channel, d.push_token, d.id_kind = 'fid', d.apns_environment = 'sandbox', "           \
    "d.language,"                                                                                  \
    " d.realm, d.last_seen_at < now() - make_interval(days => " stale "::integer), d.token_at,"    \
    " d.proven_at IS NOT NULL, d.silent_information,"                                              \
    " CASE WHEN EXISTS (SELECT FROM live) AND device_behind_apns(d.channel, d.os) THEN"            \
    "   (SELECT (extract(epoch FROM max(live.until) - clock_timestamp()) * 1000)::bigint"          \
    "    FROM live WHERE live.communes IS NULL OR d.commune = ANY (live.communes)) END"

/* Emergencies that stored information would displace (holds: this is information). */
#define LIVE(holds)                                                                                \
    "live AS MATERIALIZED (SELECT communes, until FROM emergency_live() WHERE " holds ")"

static struct db_params *claim_params(const struct chunk_claim *claim)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, claim->broadcast_id);
    db_param_i32(params, claim->chunk_no);
    db_param_i32(params, claim->epoch);
    db_param_i64(params, claim->lease_ms);
    return params;
}

void fanout_takeover(struct db_async *db, const struct chunk_claim *claim, bool resend,
                     db_async_cb cb, void *user)
{
    static const char sql[] =
        MINE ", flight AS (UPDATE fanout_flight f SET epoch = $3,"
             "   uncertain = uncertain + (f.epoch <> $3)::integer," /* once, though run twice */
             "   codes = CASE WHEN $5 THEN NULL ELSE bytes_fill($6, f.size) END"
             " FROM mine WHERE f.broadcast_id = $1 AND f.chunk_no = $2 AND f.codes IS NULL"
             " RETURNING f.first, f.size::integer, f.codes IS NULL AS again)"
             " SELECT first, size, again FROM flight ORDER BY first";
    struct db_params *params = claim_params(claim);

    db_param_bool(params, resend);
    db_param_i32(params, OUTCOME_UNKNOWN_SENT);
    db_async_query(db, sql, params, cb, user);
}

void fanout_takeover_retries(struct db_async *db, const struct chunk_claim *claim, bool resend,
                             db_async_cb cb, void *user)
{
    static const char sql[] =
        MINE ", flying AS (SELECT r.device_id, r.position FROM fanout_retry r, mine"
             "   WHERE r.broadcast_id = $1 AND r.chunk_no = $2 AND r.flying_epoch IS NOT NULL"
             "   AND r.flying_epoch <> $3),"
             " again AS (UPDATE fanout_retry r SET flying_epoch = NULL, if_expired = $6"
             "   FROM flying"
             "   WHERE $5 AND r.broadcast_id = $1 AND r.device_id = flying.device_id),"
             " gone AS (DELETE FROM fanout_retry r USING flying"
             "   WHERE NOT $5 AND r.broadcast_id = $1 AND r.device_id = flying.device_id),"
             " per AS (SELECT f.first, array_agg(flying.position - f.first) AS at"
             "   FROM flying JOIN fanout_flight f ON f.broadcast_id = $1 AND f.chunk_no = $2"
             "   AND flying.position >= f.first AND flying.position < f.first + f.size"
             "   GROUP BY f.first),"
             " patch AS (UPDATE fanout_flight f SET uncertain = f.uncertain + 1,"
             "   codes = CASE WHEN $5 THEN f.codes"
             "           ELSE bytes_patch(f.codes, per.at, array_fill($6::integer,"
             "                            ARRAY[cardinality(per.at)])) END"
             "   FROM per WHERE f.broadcast_id = $1 AND f.chunk_no = $2 AND f.first = per.first)"
             " SELECT EXISTS (SELECT FROM mine)";
    struct db_params *params = claim_params(claim);

    db_param_bool(params, resend);
    db_param_i32(params, OUTCOME_UNKNOWN_SENT);
    db_async_query(db, sql, params, cb, user);
}

void fanout_mark(struct db_async *db, const struct chunk_claim *claim, int32_t first, int32_t size,
                 db_async_cb cb, void *user)
{
    /* The chunk's row tells whether the mark was already made by an earlier run of this statement.
     */
    static const char sql[] =
        "WITH now AS MATERIALIZED ("
        "   SELECT " CLOSING " AS closing, " STOPPED " AS stopped, c.epoch = $3 AS held,"
        "          EXISTS (SELECT FROM fanout_flight f WHERE f.broadcast_id = $1"
        "                  AND f.chunk_no = $2 AND f.first = $5 AND f.epoch = $3) AS marked"
        "   FROM fanout_chunk c JOIN broadcast b ON b.id = c.broadcast_id"
        "   WHERE c.broadcast_id = $1 AND c.chunk_no = $2),"
        " mine AS (UPDATE fanout_chunk c SET next_position = $5 + $6,"
        "   lease_until = clock_timestamp() + make_interval(secs => $4::bigint / 1000.0)"
        "   FROM now WHERE c.broadcast_id = $1 AND c.chunk_no = $2 AND c.epoch = $3"
        "   AND c.next_position = $5 AND now.closing = 0 AND NOT now.stopped RETURNING 1),"
        " flight AS (INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch)"
        "   SELECT $1, $2, $5, $6, $3 FROM mine RETURNING 1)"
        " SELECT EXISTS (SELECT FROM flight) OR now.marked, now.held, now.closing, now.stopped"
        " FROM now";
    struct db_params *params = claim_params(claim);

    db_param_i32(params, first);
    db_param_i32(params, size);
    db_async_query(db, sql, params, cb, user);
}

void fanout_devices(struct db_async *db, const int64_t *ids, size_t n, int64_t stale_days,
                    bool holds, db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH " LIVE("$3") " SELECT " DEVICE_COLUMNS("$2") " FROM device d WHERE d.id = ANY ($1)"
                                                           " ORDER BY d.id";
    struct db_params *params = db_params_new();

    db_param_i64_array(params, ids, n);
    db_param_i64(params, stale_days);
    db_param_bool(params, holds);
    db_async_query(db, sql, params, cb, user);
}

static void tokens_params(struct db_params *params, const struct flight_result *result)
{
    db_param_i64_array(params, result->dead_device, result->n_dead);
    db_param_text_array(params, result->dead_token, result->n_dead);
    db_param_i64_array(params, result->proven_device, result->n_proven);
    db_param_text_array(params, result->proven_token, result->n_proven);
}

/* Retires dead tokens and remembers proven ones, unless the device has told a new token meanwhile.
 */
#define TOKENS(dead, dead_token, proven, proven_token)                                             \
    " dead AS (UPDATE device d SET channel = CASE WHEN d.mqtt THEN 'mqtt' ELSE 'none' END,"        \
    "   push_token = NULL, id_kind = NULL, apns_environment = NULL, proven_at = NULL,"             \
    "   retired_at = CASE WHEN d.mqtt THEN NULL ELSE clock_timestamp() END,"                       \
    "   retired_reason = 'dead_token'"                                                             \
    "   FROM mine, unnest(" dead "::bigint[], " dead_token "::text[]) AS t (id, token)"            \
    "   WHERE d.id = t.id AND d.push_token = t.token),"                                            \
    " proven AS (UPDATE device d SET proven_at = clock_timestamp()"                                \
    "   FROM mine, unnest(" proven "::bigint[], " proven_token "::text[]) AS t (id, token)"        \
    "   WHERE d.id = t.id AND d.push_token = t.token AND d.proven_at IS NULL)"

void fanout_settle(struct db_async *db, const struct chunk_claim *claim,
                   const struct flight_result *r, db_async_cb cb, void *user)
{
    static const char sql[] =
        MINE ", flight AS (UPDATE fanout_flight f SET codes = $6 FROM mine"
             "   WHERE f.broadcast_id = $1 AND f.chunk_no = $2 AND f.first = $5"
             "   AND f.codes IS NULL RETURNING 1),"
             " retry AS (INSERT INTO fanout_retry (broadcast_id, device_id, chunk_no, position,"
             "     attempt, first_at, next_at, if_expired, reason)"
             "   SELECT $1, t.id, $2, t.at, t.attempt, clock_timestamp(), clock_timestamp()"
             "     + make_interval(secs => t.delay / 1000.0), t.expired, t.reason"
             "   FROM flight, unnest($7::bigint[], $8::integer[], $9::integer[], $10::bigint[],"
             "     $11::integer[], $12::text[]) AS t (id, at, attempt, delay, expired, reason)"
             "   ON CONFLICT DO NOTHING)," TOKENS("$13", "$14", "$15",
                                                  "$16") " SELECT EXISTS (SELECT FROM mine)";
    struct db_params *params = claim_params(claim);

    db_param_i32(params, r->first);
    db_param_bytes(params, r->codes, (size_t)r->size);
    db_param_i64_array(params, r->retry_device, r->n_retry);
    db_param_i32_array(params, r->retry_position, r->n_retry);
    db_param_i32_array(params, r->retry_attempt, r->n_retry);
    db_param_i64_array(params, r->retry_delay_ms, r->n_retry);
    db_param_i32_array(params, r->retry_if_expired, r->n_retry);
    db_param_text_array(params, r->retry_reason, r->n_retry);
    tokens_params(params, r);
    db_async_query(db, sql, params, cb, user);
}

void fanout_retries(struct db_async *db, const struct chunk_claim *claim, int32_t limit,
                    int64_t stale_days, bool holds, db_async_cb cb, void *user)
{
    /* Rows already flying under this epoch come again: the answer of an earlier run was lost. */
    static const char sql[] = MINE
        ", pick AS MATERIALIZED (SELECT r.device_id FROM fanout_retry r, mine"
        "   WHERE r.broadcast_id = $1 AND r.chunk_no = $2 AND r.next_at <= clock_timestamp()"
        "   ORDER BY r.next_at, r.device_id LIMIT $5),"
        " fly AS (UPDATE fanout_retry r SET flying_epoch = $3 FROM pick"
        "   WHERE r.broadcast_id = $1 AND r.device_id = pick.device_id"
        "   RETURNING r.device_id, r.attempt, r.position, r.first_at, r.if_expired,"
        "             r.reason)"
        ", " LIVE("$7") " SELECT " DEVICE_COLUMNS(
            "$6") ", fly.attempt::integer, fly.position,"
                  "   CASE WHEN fly.reason = 'emergency_live' THEN 0"
                  "        ELSE (extract(epoch FROM clock_timestamp() - fly.first_at) * "
                  "1000)::bigint END,"
                  "   fly.if_expired, fly.device_id"
                  " FROM fly LEFT JOIN device d ON d.id = fly.device_id ORDER BY fly.device_id";
    struct db_params *params = claim_params(claim);

    db_param_i32(params, limit);
    db_param_i64(params, stale_days);
    db_param_bool(params, holds);
    db_async_query(db, sql, params, cb, user);
}

void fanout_settle_retries(struct db_async *db, const struct chunk_claim *claim,
                           const struct flight_result *r, const int64_t *device,
                           const int32_t *position, db_async_cb cb, void *user)
{
    static const char sql[] =
        MINE ", settled AS (DELETE FROM fanout_retry r USING mine,"
             "     unnest($5::bigint[], $6::integer[], $7::integer[]) AS t (id, at, code)"
             "   WHERE r.broadcast_id = $1 AND r.device_id = t.id AND t.code <> $8"
             "   RETURNING t.at, t.code),"
             " per AS (SELECT f.first, array_agg(s.at - f.first) AS at, array_agg(s.code) AS code"
             "   FROM settled s JOIN fanout_flight f ON f.broadcast_id = $1 AND f.chunk_no = $2"
             "   AND s.at >= f.first AND s.at < f.first + f.size GROUP BY f.first),"
             " patch AS (UPDATE fanout_flight f SET codes = bytes_patch(f.codes, per.at, per.code)"
             "   FROM per WHERE f.broadcast_id = $1 AND f.chunk_no = $2 AND f.first = per.first),"
             " again AS (UPDATE fanout_retry r SET flying_epoch = NULL, attempt = t.attempt,"
             "     first_at = CASE WHEN r.reason = 'emergency_live' THEN clock_timestamp()"
             "                     ELSE r.first_at END,"
             "     next_at = clock_timestamp() + make_interval(secs => t.delay / 1000.0),"
             "     if_expired = t.expired, reason = t.reason"
             "   FROM mine, unnest($9::bigint[], $10::integer[], $11::bigint[], $12::integer[],"
             "     $13::text[]) AS t (id, attempt, delay, expired, reason)"
             "   WHERE r.broadcast_id = $1 AND r.device_id = t.id AND r.flying_epoch = $3)," TOKENS(
                 "$14", "$15", "$16", "$17") " SELECT EXISTS (SELECT FROM mine)";
    g_autofree int32_t *codes = g_new(int32_t, (gsize)r->size);
    struct db_params *params = claim_params(claim);

    for (int32_t i = 0; i < r->size; i++)
        codes[i] = r->codes[i];
    db_param_i64_array(params, device, (size_t)r->size);
    db_param_i32_array(params, position, (size_t)r->size);
    db_param_i32_array(params, codes, (size_t)r->size);
    db_param_i32(params, OUTCOME_RETRY);
    db_param_i64_array(params, r->retry_device, r->n_retry);
    db_param_i32_array(params, r->retry_attempt, r->n_retry);
    db_param_i64_array(params, r->retry_delay_ms, r->n_retry);
    db_param_i32_array(params, r->retry_if_expired, r->n_retry);
    db_param_text_array(params, r->retry_reason, r->n_retry);
    tokens_params(params, r);
    db_async_query(db, sql, params, cb, user);
}

void fanout_close_rest(struct db_async *db, const struct chunk_claim *claim, int32_t next_position,
                       uint8_t outcome, db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH mine AS (UPDATE fanout_chunk SET next_position = member_count,"
        "   lease_until = clock_timestamp() + make_interval(secs => $4::bigint / 1000.0)"
        "   WHERE broadcast_id = $1 AND chunk_no = $2 AND epoch = $3"
        "   AND next_position IN ($5, member_count) RETURNING member_count),"
        " rest AS (INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch, codes)"
        "   SELECT $1, $2, g, least($7, mine.member_count - g), $3,"
        "          bytes_fill($6, least($7, mine.member_count - g))"
        "   FROM mine, generate_series($5, mine.member_count - 1, $7) AS g"
        "   ON CONFLICT DO NOTHING),"
        " gone AS (DELETE FROM fanout_retry r USING mine WHERE r.broadcast_id = $1"
        "   AND r.chunk_no = $2 RETURNING r.position,"
        "   CASE WHEN $6 = 6 OR r.if_expired = 5 OR r.flying_epoch IS NOT NULL"
        "        THEN CASE WHEN r.flying_epoch IS NULL THEN r.if_expired::integer ELSE 5 END"
        "        ELSE $6 END AS code),"
        " per AS (SELECT f.first, array_agg(g.position - f.first) AS at, array_agg(g.code) AS code"
        "   FROM gone g JOIN fanout_flight f ON f.broadcast_id = $1 AND f.chunk_no = $2"
        "   AND g.position >= f.first AND g.position < f.first + f.size GROUP BY f.first),"
        " patch AS (UPDATE fanout_flight f SET codes = bytes_patch(f.codes, per.at, per.code)"
        "   FROM per WHERE f.broadcast_id = $1 AND f.chunk_no = $2 AND f.first = per.first)"
        " SELECT EXISTS (SELECT FROM mine)";
    struct db_params *params = claim_params(claim);

    db_param_i32(params, next_position);
    db_param_i32(params, outcome);
    db_param_i32(params, FLIGHT_MAX);
    db_async_query(db, sql, params, cb, user);
}

void fanout_finish(struct db_async *db, const struct chunk_claim *claim, db_async_cb cb, void *user)
{
    /* Not "mine": the lease is given back, so a repeated run must find its own work done. */
    static const char sql[] =
        "WITH wait AS (SELECT min(next_at) AS next FROM fanout_retry"
        "   WHERE broadcast_id = $1 AND chunk_no = $2),"
        " mine AS (UPDATE fanout_chunk c SET"
        "   state = CASE WHEN wait.next IS NULL THEN 'done' ELSE 'open' END,"
        "   due_at = coalesce(least(wait.next, b.expires_at), c.due_at),"
        "   lease_owner = NULL, lease_until = NULL"
        "   FROM wait, broadcast b WHERE b.id = $1 AND c.broadcast_id = $1 AND c.chunk_no = $2"
        "   AND c.epoch = $3 AND c.next_position = c.member_count"
        "   AND NOT EXISTS (SELECT FROM fanout_flight f WHERE f.broadcast_id = $1"
        "                   AND f.chunk_no = $2 AND f.codes IS NULL)"
        "   RETURNING c.state)"
        " SELECT state FROM mine";
    struct db_params *params = db_params_new();

    db_param_i64(params, claim->broadcast_id);
    db_param_i32(params, claim->chunk_no);
    db_param_i32(params, claim->epoch);
    db_async_query(db, sql, params, cb, user);
}

void fanout_finish_broadcast(struct db_async *db, int64_t broadcast_id, db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH fin AS (UPDATE broadcast b SET finished_at = clock_timestamp()"
        "   WHERE ($1 = 0 OR b.id = $1) AND b.released_at IS NOT NULL AND b.finished_at IS NULL"
        "   AND EXISTS (SELECT FROM fanout_plan p WHERE p.broadcast_id = b.id AND p.done)"
        "   AND NOT EXISTS (SELECT FROM fanout_chunk c WHERE c.broadcast_id = b.id"
        "                   AND c.state = 'open') RETURNING b.id)"
        " SELECT pg_notify('loa_fanout', 'finished') FROM fin";
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_async_query(db, sql, params, cb, user);
}

void fanout_first_pass(struct db_async *db, db_async_cb cb, void *user)
{
    static const char sql[] =
        "UPDATE broadcast b SET first_pass_at = clock_timestamp()"
        " WHERE b.released_at IS NOT NULL AND b.finished_at IS NULL AND b.first_pass_at IS NULL"
        "   AND b.realm = 'live' AND b.kind = 'CANH_BAO' AND b.level = 'khan_cap'"
        "   AND EXISTS (SELECT FROM fanout_plan p WHERE p.broadcast_id = b.id AND p.done)"
        "   AND NOT EXISTS (SELECT FROM fanout_chunk c WHERE c.broadcast_id = b.id"
        "                   AND c.state = 'open' AND c.channel <> 'mqtt'"
        "                   AND c.next_position < c.member_count)";

    db_async_query(db, sql, NULL, cb, user);
}
