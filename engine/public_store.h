/* What the database knows of public broadcasts: released, realm live. */
#ifndef LOA_ENGINE_PUBLIC_STORE_H
#define LOA_ENGINE_PUBLIC_STORE_H

#include "base/db_async.h"

#define PUBLIC_STORE_RECENT_S 3600

/* Rows (id bigint, alert_id text, version integer, cancel boolean, refused boolean, expired
 * boolean, correction bigint, released_at timestamptz, expires_at timestamptz), oldest first. full:
 * all of them; else those that are not expired or that were released, taken back or expired within
 * PUBLIC_STORE_RECENT_S. */
void public_store_list(struct db_async *db, bool full, db_async_cb cb, void *user);

#endif
