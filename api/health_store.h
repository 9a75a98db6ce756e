/* What /readyz asks the database. */
#ifndef LOA_API_HEALTH_STORE_H
#define LOA_API_HEALTH_STORE_H

#include "base/db.h"

/* One row per role alive within PROCESS_SEEN_S: (role text, processes bigint). */
PGresult *health_roles(struct db *db, GError **error);
/* One row per channel ever tried: (channel, ok boolean, fresh boolean: not older than max_age_s,
 * detail). */
PGresult *health_canaries(struct db *db, int64_t max_age_s, GError **error);
/* Stop switches that silence a whole channel: (scope, reason). */
PGresult *health_stops(struct db *db, GError **error);

#endif
