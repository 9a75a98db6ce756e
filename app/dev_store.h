/* SQL of `loa dev`. */
#ifndef LOA_APP_DEV_STORE_H
#define LOA_APP_DEV_STORE_H

#include "base/db.h"

/* Codes of all communes: char *, owned with the array. */
GPtrArray *dev_store_communes(struct db *db, GError **error);
/* When the transaction that released the broadcast was committed (track_commit_timestamp). */
bool dev_store_release_commit(struct db *db, int64_t broadcast_id, int64_t *out_utc_us,
                              GError **error);

#endif
