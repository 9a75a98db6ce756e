/* The SQL of the shared quota and of the gate that a provider's Retry-After closes. */
#include "engine/fanout_store.h"

void fanout_quota_lease(struct db_async *db, const char *channel, int64_t per_minute,
                        int64_t reserve, int64_t n, bool emergency, db_async_cb cb, void *user)
{
    static const char sql[] = "SELECT quota_lease($1, clock_timestamp(), $2, $3, $4, $5)";
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_i64(params, per_minute);
    db_param_i64(params, reserve);
    db_param_i64(params, n);
    db_param_bool(params, emergency);
    db_async_query(db, sql, params, cb, user);
}

void fanout_gate(struct db_async *db, const char *channel, int64_t wait_ms, db_async_cb cb,
                 void *user)
{
    static const char sql[] =
        "WITH gate AS (UPDATE provider_quota SET gate_until = greatest(gate_until,"
        "     clock_timestamp() + make_interval(secs => $2::bigint / 1000.0))"
        "   WHERE channel = $1 RETURNING 1)"
        " SELECT pg_notify('loa_fanout', 'gate') FROM gate";
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_i64(params, wait_ms);
    db_async_query(db, sql, params, cb, user);
}
