/* One row per device and alert version, made or completed. A repeat changes nothing (no dead row),
 * the first instants stay, and so do commune and channel: where the device counted when its first
 * receipt came. Rows are taken in key order, so two batches cannot deadlock. OFFSET 0 keeps the
 * planner at one look-up per receipt: for a large batch it would rather read all devices. */
#include "engine/receipt_store.h"

#include <assert.h>

#include "base/metrics.h"

/* $1 text[] alert ids, $2 integer[] versions, $3 bigint[] devices, $4 integer[] 1 = opened. */
const char receipt_store_sql[] =
    "WITH told AS MATERIALIZED (SELECT b.id AS broadcast_id, t.device_id, d.commune, d.channel, "
    "t.event, t.n "
    "FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS t (alert_id, version, device_id, event, n) "
    "JOIN broadcast b ON b.alert_id = t.alert_id AND b.version = t.version "
    "AND b.released_at IS NOT NULL "
    "CROSS JOIN LATERAL (SELECT coalesce(commune, '') AS commune, channel FROM device "
    "WHERE id = t.device_id OFFSET 0) d), "
    "stored AS (INSERT INTO receipt AS r (broadcast_id, device_id, commune, channel, shown_at, "
    "opened_at) "
    "SELECT broadcast_id, device_id, min(commune), min(channel), now(), "
    "CASE WHEN max(event) = 1 THEN now() END "
    "FROM told GROUP BY broadcast_id, device_id ORDER BY broadcast_id, device_id "
    "ON CONFLICT (broadcast_id, device_id) DO UPDATE SET "
    "shown_at = coalesce(r.shown_at, excluded.shown_at), "
    "opened_at = coalesce(r.opened_at, excluded.opened_at) "
    "WHERE r.shown_at IS NULL OR (r.opened_at IS NULL AND excluded.opened_at IS NOT NULL)) "
    "SELECT n - 1 FROM told UNION ALL SELECT * FROM outbox_receipts($1, $2, $3, $4)";

struct db_params *receipt_store_params(const struct receipt *receipts, size_t n)
{
    struct db_params *params = db_params_new();
    g_autofree const char **alerts = g_new(const char *, n);
    g_autofree int32_t *versions = g_new(int32_t, n);
    g_autofree int64_t *devices = g_new(int64_t, n);
    g_autofree int32_t *events = g_new(int32_t, n);

    assert(n > 0 && n <= RECEIPT_BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        alerts[i] = receipts[i].alert_id;
        versions[i] = receipts[i].version;
        devices[i] = receipts[i].device_id;
        events[i] = receipts[i].event == RECEIPT_OPENED ? 1 : 0;
    }
    db_param_text_array(params, alerts, n);
    db_param_i32_array(params, versions, n);
    db_param_i64_array(params, devices, n);
    db_param_i32_array(params, events, n);
    return params;
}

void receipt_store_results(const PGresult *res, const struct receipt *receipts, size_t n,
                           enum receipt_result *out_results)
{
    for (size_t i = 0; i < n; i++)
        out_results[i] = RECEIPT_UNKNOWN;
    for (int row = 0; row < PQntuples(res); row++) {
        int64_t index = db_get_i64(res, row, 0);
        assert(index >= 0 && (size_t)index < n);
        out_results[index] = RECEIPT_STORED;
        metric_add(METRIC_RECEIPTS, receipt_event_name(receipts[index].event), 1);
    }
    if ((size_t)PQntuples(res) < n)
        metric_add(METRIC_RECEIPTS_REFUSED, "unknown", (double)(n - (size_t)PQntuples(res)));
}

bool receipt_store(struct db *db, const struct receipt *receipts, size_t n,
                   enum receipt_result *out_results, GError **error)
{
    g_autoptr(PGresult) res =
        db_query(db, receipt_store_sql, receipt_store_params(receipts, n), error);

    if (res == NULL)
        return false;
    receipt_store_results(res, receipts, n, out_results);
    return true;
}
