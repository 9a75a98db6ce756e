/* Whether a correction is genuine is for the caller to find out: a row written by hand must not
 * hide an alert. Refused and corrected rows come last, so that they push nothing out of the limit.
 */
#include "engine/broadcast_live_store.h"

#define FROM_RELEASED                                                                              \
    "FROM broadcast b LEFT JOIN broadcast c ON c.corrects = b.id AND c.released_at IS NOT NULL "   \
    "WHERE b.released_at IS NOT NULL "

PGresult *broadcast_live_ids(struct db *db, const char *realm, const char *commune, int limit,
                             GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, realm);
    db_param_text(params, commune);
    db_param_i32(params, limit);
    return db_query(db,
                    "SELECT b.id, false, c.id " FROM_RELEASED "AND b.realm = $1 "
                    "AND b.expires_at > now() AND (b.area_scope = 'toan_tinh' "
                    "OR $2 = ANY (b.communes)) "
                    "ORDER BY b.refused_at IS NOT NULL OR c.id IS NOT NULL, b.id DESC LIMIT $3",
                    params, error);
}

PGresult *broadcast_public_ids(struct db *db, bool active_only, int64_t before_id, int limit,
                               GError **error)
{
    struct db_params *params = db_params_new();

    db_param_bool(params, active_only);
    db_param_i64(params, before_id);
    db_param_i32(params, limit);
    return db_query(db,
                    "SELECT b.id, b.expires_at <= now(), c.id " FROM_RELEASED
                    "AND b.realm = 'live' AND b.id < $2 AND (NOT $1 OR (b.expires_at > now() "
                    "AND b.message_type = 'alert')) ORDER BY b.id DESC LIMIT $3",
                    params, error);
}

PGresult *broadcast_public_id(struct db *db, const char *alert_id, int limit, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, alert_id);
    db_param_i32(params, limit);
    return db_query(db,
                    "SELECT b.id, b.expires_at <= now(), c.id " FROM_RELEASED
                    "AND b.realm = 'live' AND b.alert_id = $1 "
                    "ORDER BY b.refused_at IS NOT NULL, b.version DESC LIMIT $2",
                    params, error);
}
