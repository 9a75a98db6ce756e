/* Which broadcasts are to be shown, by the database's clock. Results: rows (id bigint, expired
 * boolean), newest first. */
#ifndef LOA_ENGINE_BROADCAST_LIVE_STORE_H
#define LOA_ENGINE_BROADCAST_LIVE_STORE_H

#include "base/db.h"

/* Live ones of the realm for the whole province or for this commune (may be NULL). */
PGresult *broadcast_live_ids(struct db *db, const char *realm, const char *commune, int limit,
                             GError **error);
/* Newest versions of realm live with id < before_id. */
PGresult *broadcast_public_ids(struct db *db, bool active_only, int64_t before_id, int limit,
                               GError **error);
/* The newest version of one alert of realm live; no row or one. */
PGresult *broadcast_public_id(struct db *db, const char *alert_id, GError **error);

#endif
