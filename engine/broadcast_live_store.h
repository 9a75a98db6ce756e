/* Which broadcasts may be shown, by the database's clock. Results: rows (id bigint, expired
 * boolean, correction bigint), newest first; a genuine correction hides the row, a forged one does
 * not. */
#ifndef LOA_ENGINE_BROADCAST_LIVE_STORE_H
#define LOA_ENGINE_BROADCAST_LIVE_STORE_H

#include "base/db.h"

/* Live ones of the realm for the whole province or for this commune (may be NULL). */
PGresult *broadcast_live_ids(struct db *db, const char *realm, const char *commune, int limit,
                             GError **error);
/* Of realm live with id < before_id. */
PGresult *broadcast_public_ids(struct db *db, bool active_only, int64_t before_id, int limit,
                               GError **error);
/* The versions of one alert of realm live. */
PGresult *broadcast_public_id(struct db *db, const char *alert_id, int limit, GError **error);

#endif
