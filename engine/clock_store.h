/* The database's time: the one clock that all processes share. */
#ifndef LOA_ENGINE_CLOCK_STORE_H
#define LOA_ENGINE_CLOCK_STORE_H

#include "base/db.h"

/* Blocks. */
bool clock_store_now(struct db *db, int64_t *out_utc_us, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
