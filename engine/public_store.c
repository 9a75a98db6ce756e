/* By the database's clock. */
#include "engine/public_store.h"

static const char list_sql[] =
    "SELECT b.id, b.alert_id, b.version, b.message_type = 'cancel', b.refused_at IS NOT NULL,"
    " b.expires_at <= now(), c.id, b.released_at, b.expires_at"
    " FROM broadcast b LEFT JOIN broadcast c ON c.corrects = b.id AND c.released_at IS NOT NULL"
    " WHERE b.released_at IS NOT NULL AND b.realm = 'live'"
    " AND ($1 OR greatest(b.expires_at, b.released_at, c.released_at)"
    "   > now() - make_interval(secs => $2))"
    " ORDER BY b.id";

void public_store_list(struct db_async *db, bool full, db_async_cb cb, void *user)
{
    struct db_params *params = db_params_new();

    db_param_bool(params, full);
    db_param_i32(params, PUBLIC_STORE_RECENT_S);
    db_async_query(db, list_sql, params, cb, user);
}
