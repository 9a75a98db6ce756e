/* The database tells the remaining life, so a wrong clock of this machine shortens no alert. */
#include "mqtt/publisher_store.h"

static const char list_sql[] =
    "SELECT b.id, b.alert_id, b.version,"
    " b.realm = 'live' AND b.kind = 'CANH_BAO' AND b.level = 'khan_cap' AS emergency,"
    " (extract(epoch FROM b.expires_at - clock_timestamp()) * 1000000)::bigint,"
    " ARRAY(SELECT k.broker FROM broker_ack k WHERE k.broadcast_id = b.id),"
    " b.mqtt_acked_at IS NOT NULL"
    " FROM broadcast b"
    " WHERE b.released_at IS NOT NULL AND b.expires_at > clock_timestamp()"
    " AND NOT EXISTS (SELECT FROM fanout_stop s"
    "   WHERE s.scope IN ('all', 'channel:mqtt', 'broadcast:' || b.id))"
    " ORDER BY emergency DESC, b.id DESC LIMIT $1";

static const char ack_sql[] = "INSERT INTO broker_ack (broadcast_id, broker) VALUES ($1, $2)"
                              " ON CONFLICT DO NOTHING";

static const char settle_sql[] =
    "WITH settled AS ("
    " UPDATE broadcast SET mqtt_acked_at = clock_timestamp()"
    " WHERE id = $1 AND mqtt_acked_at IS NULL AND NOT EXISTS ("
    "   SELECT FROM unnest($2::text[]) AS wanted (broker) WHERE NOT EXISTS ("
    "     SELECT FROM broker_ack k WHERE k.broadcast_id = $1 AND k.broker = wanted.broker))"
    " RETURNING id)"
    " SELECT id, pg_notify('loa_fanout', id::text) IS NULL FROM settled";

void publisher_store_list(struct db_async *db, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, PUBLISHER_ALERTS_MAX);
    db_async_query(db, list_sql, params, cb, user);
}

void publisher_store_ack(struct db_async *db, int64_t broadcast_id, const char *broker,
                         db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_text(params, broker);
    db_async_query(db, ack_sql, params, cb, user);
}

void publisher_store_settle(struct db_async *db, int64_t broadcast_id, const char *const *brokers,
                            size_t n, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_text_array(params, brokers, n);
    db_async_query(db, settle_sql, params, cb, user);
}
