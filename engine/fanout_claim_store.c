/* The SQL of looking for work, claiming it under a lease, and keeping or giving back the lease. */
#include "engine/fanout_sql.h"
#include "engine/fanout_store.h"

/* A refusal (refused_at) is an alarm, not a verdict for others: each process verifies for itself,
 * so that one without the right public key cannot silence an emergency. */
#define STILL_LIVE                                                                                 \
    "b.released_at IS NOT NULL AND b.finished_at IS NULL"                                          \
    " AND (b.refused_at IS NULL OR b.expires_at > clock_timestamp())"

void fanout_poll(struct db_async *db, db_async_cb cb, void *user)
{
    static const char sql[] =
        "SELECT 'now' AS what, NULL::bigint AS broadcast_id, NULL::text AS channel,"
        "       clock_timestamp() AS now"
        " UNION ALL SELECT 'stop', CASE WHEN scope LIKE 'broadcast:%'"
        "       THEN substr(scope, 11)::bigint END,"
        "       CASE WHEN scope LIKE 'channel:%' THEN substr(scope, 9) END, NULL FROM fanout_stop"
        " UNION ALL SELECT 'live', b.id, NULL, NULL FROM broadcast b WHERE " STILL_LIVE
        " UNION ALL SELECT 'cancelled', id, NULL, NULL FROM broadcast"
        "       WHERE state = 'cancelled' AND finished_at IS NULL"
        " UNION ALL SELECT 'gate', NULL, channel, gate_until FROM provider_quota"
        "       WHERE gate_until > clock_timestamp()"
        " UNION ALL SELECT 'emergency', b.id, way.name, NULL FROM broadcast b,"
        "       unnest(ARRAY['fcm', 'apns']) AS way (name)"
        "       WHERE b.released_at IS NOT NULL AND b.finished_at IS NULL AND b.realm = 'live'"
        "       AND b.class = 'khan_cap' AND b.state = 'released'"
        "       AND b.expires_at > clock_timestamp()"
        "       AND NOT EXISTS (SELECT FROM fanout_stop s WHERE s.scope IN ('all',"
        "                       'channel:' || way.name, 'broadcast:' || b.id))"
        "       AND (EXISTS (SELECT FROM fanout_plan p WHERE p.broadcast_id = b.id AND NOT p.done)"
        "            OR EXISTS (SELECT FROM fanout_chunk c WHERE c.broadcast_id = b.id"
        "                       AND c.channel = way.name AND " FIRST_PASS " AND " AT_WORK "))"
        " UNION ALL SELECT 'plan', b.id, NULL, NULL FROM fanout_plan p"
        "       JOIN broadcast b ON b.id = p.broadcast_id WHERE NOT p.done AND " STILL_LIVE
        "       AND (p.lease_until IS NULL OR p.lease_until < clock_timestamp())";

    db_async_query(db, sql, NULL, cb, user);
}

/* Each live broadcast offers its first open chunks; those go in the order of urgency, then in
 * turns, so that a notice for one commune never waits behind all of one for a million. Of heavy
 * fan-outs of information only the first runs: two at once would both be late. More are offered
 * than wanted, because others are claiming the same ones. */
void fanout_claim(struct db_async *db, const struct claim_wish *wish, db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH live AS MATERIALIZED ("
        "   SELECT b.*, EXISTS (SELECT FROM fanout_plan p WHERE p.broadcast_id = b.id"
        "              AND p.next_chunk >= $9) AND b.kind = 'THONG_TIN'"
        "              AND b.message_type = 'alert' AS heavy,"
        "          (SELECT count(*) FROM fanout_chunk h WHERE h.broadcast_id = b.id"
        "           AND h.channel = $1 AND h.lane = $2 AND h.state = 'open'"
        "           AND h.lease_until > clock_timestamp()) AS held"
        "   FROM broadcast b WHERE b.released_at IS NOT NULL AND b.finished_at IS NULL"
        "   AND b.id <> ALL ($7)),"
        " first_heavy AS MATERIALIZED (SELECT (SELECT b.id FROM live b WHERE b.heavy"
        "   AND EXISTS (SELECT FROM fanout_chunk c WHERE c.broadcast_id = b.id"
        "               AND c.channel = $1 AND " AT_WORK ")"
        "   ORDER BY b.level = 'khan_cap' DESC, b.level = 'uu_tien' DESC, b.id LIMIT 1) AS id),"
        " offer AS MATERIALIZED ("
        "   SELECT b.id AS broadcast_id, o.chunk_no, o.closing, o.priority,"
        "          b.held + row_number() OVER (PARTITION BY b.id ORDER BY o.chunk_no) AS turn"
        "   FROM live b, first_heavy, LATERAL ("
        "       SELECT c.chunk_no, c.priority, " CLOSING " AS closing FROM fanout_chunk c"
        "       WHERE c.broadcast_id = b.id AND c.channel = $1 AND c.lane = $2"
        "       AND c.state = 'open' AND c.protocol <= $3 AND (c.priority = 0 OR NOT $8)"
        "       AND (c.lease_until IS NULL OR c.lease_until < clock_timestamp())"
        "       AND (" CLOSING " <> 0 OR (c.due_at <= clock_timestamp() AND NOT " STOPPED
        "           AND (NOT b.heavy OR b.id = first_heavy.id)"
        "           AND (c.channel <> 'mqtt' OR b.mqtt_acked_at IS NOT NULL)"
        "           AND NOT " WAITS_FOR_ORIGINAL "))"
        "       ORDER BY c.chunk_no LIMIT $4 + 16) o WHERE b.id <> $10),"
        " pick AS MATERIALIZED ("
        "   SELECT c.broadcast_id, c.chunk_no, offer.closing"
        "   FROM offer JOIN fanout_chunk c USING (broadcast_id, chunk_no)"
        "   WHERE c.state = 'open'"
        "   AND (c.lease_until IS NULL OR c.lease_until < clock_timestamp())"
        "   ORDER BY offer.priority, offer.turn, c.broadcast_id LIMIT $4"
        "   FOR UPDATE OF c SKIP LOCKED)"
        " UPDATE fanout_chunk c SET lease_owner = $5, epoch = c.epoch + 1,"
        "   lease_until = clock_timestamp() + make_interval(secs => $6::bigint / 1000.0)"
        " FROM pick WHERE c.broadcast_id = pick.broadcast_id AND c.chunk_no = pick.chunk_no"
        " RETURNING c.broadcast_id, c.chunk_no, c.epoch, c.member_count, c.next_position,"
        "           c.members, pick.closing";
    struct db_params *params = db_params_new();

    db_param_text(params, wish->channel);
    db_param_i32(params, (int32_t)wish->lane);
    db_param_i32(params, FANOUT_PROTOCOL);
    db_param_i32(params, wish->limit);
    db_param_text(params, wish->owner);
    db_param_i64(params, wish->lease_ms);
    db_param_i64_array(params, wish->except, wish->n_except);
    db_param_bool(params, wish->emergencies_only);
    db_param_i32(params, HEAVY_CHUNKS);
    db_param_i64(params, wish->not_of);
    db_async_query(db, sql, params, cb, user);
}

void fanout_claim_unserved(struct db_async *db, int limit, const char *owner, int64_t lease_ms,
                           const int64_t *refused, size_t n_refused, db_async_cb cb, void *user)
{
    /* Whoever serves a chunk claims it within a poll of its end: four leases are long after. */
    static const char sql[] =
        "WITH long_ago AS MATERIALIZED (SELECT clock_timestamp()"
        "       - make_interval(secs => $4::bigint / 250.0) AS at),"
        " pick AS MATERIALIZED ("
        "   SELECT c.broadcast_id, c.chunk_no, " CLOSING " AS closing"
        "   FROM long_ago, broadcast b JOIN fanout_chunk c ON c.broadcast_id = b.id"
        "   WHERE b.released_at IS NOT NULL AND b.finished_at IS NULL AND b.id <> ALL ($5)"
        "   AND (b.expires_at < long_ago.at OR b.cancelled_at < long_ago.at)"
        "   AND c.state = 'open' AND c.protocol <= $1"
        "   AND (c.lease_until IS NULL OR c.lease_until < long_ago.at)"
        "   ORDER BY c.broadcast_id, c.chunk_no LIMIT $2 FOR UPDATE OF c SKIP LOCKED)"
        " UPDATE fanout_chunk c SET lease_owner = $3, epoch = c.epoch + 1,"
        "   lease_until = clock_timestamp() + make_interval(secs => $4::bigint / 1000.0)"
        " FROM pick WHERE c.broadcast_id = pick.broadcast_id AND c.chunk_no = pick.chunk_no"
        " AND pick.closing <> 0"
        " RETURNING c.broadcast_id, c.chunk_no, c.epoch, c.member_count, c.next_position,"
        "           c.members, pick.closing";
    struct db_params *params = db_params_new();

    db_param_i32(params, FANOUT_PROTOCOL);
    db_param_i32(params, limit);
    db_param_text(params, owner);
    db_param_i64(params, lease_ms);
    db_param_i64_array(params, refused, n_refused);
    db_async_query(db, sql, params, cb, user);
}

void fanout_renew(struct db_async *db, const struct chunk_claim *claims, size_t n, db_async_cb cb,
                  void *user)
{
    static const char sql[] =
        "UPDATE fanout_chunk c"
        " SET lease_until = clock_timestamp() + make_interval(secs => $4::bigint / 1000.0)"
        " FROM unnest($1::bigint[], $2::integer[], $3::integer[]) AS m (b, n, e)"
        " WHERE c.broadcast_id = m.b AND c.chunk_no = m.n AND c.epoch = m.e"
        " AND c.lease_until IS NOT NULL" /* null: finished and given back a moment ago */
        " RETURNING c.broadcast_id, c.chunk_no";
    g_autofree int64_t *broadcasts = g_new(int64_t, n);
    g_autofree int32_t *numbers = g_new(int32_t, n);
    g_autofree int32_t *epochs = g_new(int32_t, n);
    struct db_params *params = db_params_new();

    for (size_t i = 0; i < n; i++) {
        broadcasts[i] = claims[i].broadcast_id;
        numbers[i] = claims[i].chunk_no;
        epochs[i] = claims[i].epoch;
    }
    db_param_i64_array(params, broadcasts, n);
    db_param_i32_array(params, numbers, n);
    db_param_i32_array(params, epochs, n);
    db_param_i64(params, n > 0 ? claims[0].lease_ms : 0);
    db_async_query(db, sql, params, cb, user);
}

void fanout_release(struct db_async *db, const struct chunk_claim *claim, db_async_cb cb,
                    void *user)
{
    static const char sql[] = "UPDATE fanout_chunk SET lease_owner = NULL, lease_until = NULL,"
                              "   epoch = epoch + 1"
                              " WHERE broadcast_id = $1 AND chunk_no = $2 AND epoch = $3";
    struct db_params *params = db_params_new();

    db_param_i64(params, claim->broadcast_id);
    db_param_i32(params, claim->chunk_no);
    db_param_i32(params, claim->epoch);
    db_async_query(db, sql, params, cb, user);
}
