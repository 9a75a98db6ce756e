/* A released correction hides what it corrects. */
#include "engine/broadcast_live_store.h"

#define SHOWN                                                                                      \
    "b.released_at IS NOT NULL AND b.refused_at IS NULL AND NOT EXISTS (SELECT 1 FROM broadcast "  \
    "c "                                                                                           \
    "WHERE c.corrects = b.id AND c.released_at IS NOT NULL) "

PGresult *broadcast_live_ids(struct db *db, const char *realm, const char *commune, int limit,
                             GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, realm);
    db_param_text(params, commune);
    db_param_i32(params, limit);
    return db_query(db,
                    "SELECT b.id, false FROM broadcast b WHERE b.realm = $1 "
                    "AND b.expires_at > now() AND (b.area_scope = 'toan_tinh' "
                    "OR $2 = ANY (b.communes)) AND " SHOWN "ORDER BY b.id DESC LIMIT $3",
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
                    "SELECT b.id, b.expires_at <= now() FROM broadcast b WHERE b.realm = 'live' "
                    "AND b.id < $2 AND (NOT $1 OR (b.expires_at > now() "
                    "AND b.message_type = 'alert')) AND " SHOWN "ORDER BY b.id DESC LIMIT $3",
                    params, error);
}

PGresult *broadcast_public_id(struct db *db, const char *alert_id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, alert_id);
    return db_query(db,
                    "SELECT b.id, b.expires_at <= now() FROM broadcast b WHERE b.realm = 'live' "
                    "AND b.alert_id = $1 AND " SHOWN "ORDER BY b.version DESC LIMIT 1",
                    params, error);
}
