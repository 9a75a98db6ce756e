/* The SQL of planning, halting and stopping. */
#include "engine/fanout_store.h"

#include "engine/member_communes.h"

void fanout_plan_claim(struct db_async *db, int64_t broadcast_id, const char *owner,
                       int64_t lease_ms, db_async_cb cb, void *user)
{
    static const char sql[] =
        "UPDATE fanout_plan SET lease_owner = $2, epoch = epoch + 1,"
        "   lease_until = clock_timestamp() + make_interval(secs => $3::bigint / 1000.0)"
        " WHERE broadcast_id = $1 AND NOT done"
        "   AND (lease_until IS NULL OR lease_until < clock_timestamp())"
        " RETURNING cursor_id, next_chunk, epoch";
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_text(params, owner);
    db_param_i64(params, lease_ms);
    db_async_query(db, sql, params, cb, user);
}

#define PLAN_COLUMNS "id, channel, apns_environment = 'sandbox', proven_at IS NOT NULL, commune"

/* One commune has an index in the order of ids; several are picked out of all devices, which costs
 * one pass however many there are. */
void fanout_plan_read(struct db_async *db, const char *realm, const char *const *communes,
                      size_t n_communes, int64_t after_id, int limit, db_async_cb cb, void *user)
{
    static const char all_sql[] =
        "SELECT " PLAN_COLUMNS " FROM device WHERE id > $1 AND realm = $2 AND channel <> 'none'"
        "   AND (cardinality($4::text[]) = 0 OR commune = ANY ($4)) ORDER BY id LIMIT $3";
    static const char one_sql[] =
        "SELECT " PLAN_COLUMNS " FROM device WHERE id > $1 AND realm = $2 AND channel <> 'none'"
        "   AND commune = $4 ORDER BY id LIMIT $3";
    struct db_params *params = db_params_new();

    db_param_i64(params, after_id);
    db_param_text(params, realm);
    db_param_i32(params, limit);
    if (n_communes == 1)
        db_param_text(params, communes[0]);
    else
        db_param_text_array(params, communes, n_communes);
    db_async_query(db, n_communes == 1 ? one_sql : all_sql, params, cb, user);
}

static char *hex(const GByteArray *bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = g_malloc(2 * (gsize)bytes->len + 1);

    for (guint i = 0; i < bytes->len; i++) {
        text[2 * i] = digits[bytes->data[i] >> 4];
        text[2 * i + 1] = digits[bytes->data[i] & 0x0f];
    }
    text[2 * (gsize)bytes->len] = '\0';
    return text;
}

/* One step has few chunks, so their members travel as one array of hex texts: libpq's binary
 * bytea[] would be a second encoder for nothing. Commune codes are joined by commas; the first of
 * all is a comma, so that the one code "" differs from no code. */
void fanout_plan_write(struct db_async *db, int64_t broadcast_id, int32_t epoch,
                       int64_t cursor_before, int64_t cursor_after, int32_t next_chunk,
                       int priority, bool done, const struct plan_chunk *chunks, size_t n,
                       int64_t lease_ms, db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH was AS MATERIALIZED (SELECT p.epoch = $2 AND p.cursor_id = $4"
        "       AND p.next_chunk = $5 + cardinality($9::text[]) AS written"
        "   FROM fanout_plan p WHERE p.broadcast_id = $1),"
        " mine AS (UPDATE fanout_plan p SET cursor_id = $4, done = $6,"
        "   next_chunk = $5 + cardinality($9::text[]),"
        "   lease_until = clock_timestamp() + make_interval(secs => $7::bigint / 1000.0)"
        "   FROM was WHERE p.broadcast_id = $1 AND p.epoch = $2 AND p.cursor_id = $3"
        "   AND p.next_chunk = $5 AND NOT p.done RETURNING 1),"
        " chunk AS (INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority,"
        "     members, member_count, communes, member_commune)"
        "   SELECT $1, $5 + t.ord::integer - 1, t.channel, t.lane, $8, decode(t.members, 'hex'),"
        "          t.count, (string_to_array(t.communes, ','))[2:], decode(t.member_commune, 'hex')"
        "   FROM mine, unnest($9::text[], $10::integer[], $11::text[], $12::integer[], $13::text[],"
        "     $14::text[]) WITH ORDINALITY"
        "     AS t (channel, lane, members, count, communes, member_commune, ord))"
        " SELECT EXISTS (SELECT FROM mine) OR was.written,"
        "        (SELECT pg_notify('loa_fanout', 'plan') FROM mine) FROM was";
    struct db_params *params = db_params_new();
    g_autofree const char **channels = g_new0(const char *, n + 1);
    g_auto(GStrv) members = g_new0(char *, n + 1);
    g_auto(GStrv) communes = g_new0(char *, n + 1);
    g_auto(GStrv) member_commune = g_new0(char *, n + 1);
    g_autofree int32_t *lanes = g_new(int32_t, n);
    g_autofree int32_t *counts = g_new(int32_t, n);

    for (size_t i = 0; i < n; i++) {
        g_autoptr(GByteArray) indexes = member_communes_encode(chunks[i].communes);
        members[i] = hex(chunks[i].members);
        member_commune[i] = hex(indexes);
        communes[i] = member_communes_codes(chunks[i].communes);
        channels[i] = chunks[i].channel;
        lanes[i] = (int32_t)chunks[i].lane;
        counts[i] = chunks[i].count;
    }
    db_param_i64(params, broadcast_id);
    db_param_i32(params, epoch);
    db_param_i64(params, cursor_before);
    db_param_i64(params, cursor_after);
    db_param_i32(params, next_chunk);
    db_param_bool(params, done);
    db_param_i64(params, lease_ms);
    db_param_i32(params, priority);
    db_param_text_array(params, channels, n);
    db_param_i32_array(params, lanes, n);
    db_param_text_array(params, (const char *const *)members, n);
    db_param_i32_array(params, counts, n);
    db_param_text_array(params, (const char *const *)communes, n);
    db_param_text_array(params, (const char *const *)member_commune, n);
    db_async_query(db, sql, params, cb, user);
}

void fanout_halt(struct db_async *db, int64_t broadcast_id, const char *channel, const char *reason,
                 db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH halt AS (INSERT INTO fanout_halt (broadcast_id, channel, reason)"
        "   VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1),"
        " log AS (INSERT INTO audit (actor, act, object, detail)"
        "   SELECT 'system', 'broadcast_halted', 'broadcast:' || $1, $2 || ': ' || $3 FROM halt)"
        " SELECT pg_notify('loa_fanout', 'halt') FROM halt";
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_text(params, channel);
    db_param_text(params, reason);
    db_async_query(db, sql, params, cb, user);
}

void fanout_stop_channel(struct db_async *db, const char *channel, const char *reason,
                         db_async_cb cb, void *user)
{
    static const char sql[] =
        "WITH stop AS (INSERT INTO fanout_stop (scope, reason, by_name)"
        "   VALUES ('channel:' || $1, $2, 'system') ON CONFLICT DO NOTHING RETURNING 1),"
        " log AS (INSERT INTO audit (actor, act, object, detail)"
        "   SELECT 'system', 'channel_stopped', 'channel:' || $1, $2 FROM stop)"
        " SELECT pg_notify('loa_fanout', 'stop') FROM stop";
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_text(params, reason);
    db_async_query(db, sql, params, cb, user);
}

void fanout_refuse(struct db_async *db, int64_t broadcast_id, const char *reason, db_async_cb cb,
                   void *user)
{
    static const char sql[] =
        "WITH refuse AS (UPDATE broadcast SET refused_at = clock_timestamp()"
        "   WHERE id = $1 AND refused_at IS NULL RETURNING 1)"
        " INSERT INTO audit (actor, act, object, detail)"
        " SELECT 'system', 'broadcast_refused', 'broadcast:' || $1, $2 FROM refuse";
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_text(params, reason);
    db_async_query(db, sql, params, cb, user);
}
