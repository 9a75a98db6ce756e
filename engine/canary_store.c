/* One row per channel. */
#include "engine/canary_store.h"

void canary_take_turn(struct db_async *db, const char *channel, int64_t interval_s, db_async_cb cb,
                      void *user)
{
    static const char sql[] =
        "INSERT INTO canary AS c (channel, ran_at, ok, detail, duration_ms)"
        " VALUES ($1, clock_timestamp(), false, 'the first dry run is under way', 0)"
        " ON CONFLICT (channel) DO UPDATE SET ran_at = clock_timestamp()"
        "   WHERE c.ran_at <= clock_timestamp() - make_interval(secs => $2::bigint * 0.9)"
        " RETURNING 1";
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_i64(params, interval_s);
    db_async_query(db, sql, params, cb, user);
}

void canary_write(struct db_async *db, const char *channel, bool ok, const char *detail,
                  int64_t duration_ms, db_async_cb cb, void *user)
{
    static const char sql[] = "UPDATE canary SET ok = $2, detail = $3, duration_ms = $4::bigint,"
                              "   ran_at = clock_timestamp() WHERE channel = $1";
    struct db_params *params = db_params_new();

    db_param_text(params, channel);
    db_param_bool(params, ok);
    db_param_text(params, detail);
    db_param_i64(params, duration_ms);
    db_async_query(db, sql, params, cb, user);
}
