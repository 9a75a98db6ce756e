/* SQL of the canary. */
#ifndef LOA_ENGINE_CANARY_STORE_H
#define LOA_ENGINE_CANARY_STORE_H

#include "base/db_async.h"

/* Takes the turn of a channel when its last one is at least interval_s old. One row when taken. */
void canary_take_turn(struct db_async *db, const char *channel, int64_t interval_s, db_async_cb cb,
                      void *user);
void canary_write(struct db_async *db, const char *channel, bool ok, const char *detail,
                  int64_t duration_ms, db_async_cb cb, void *user);

#endif
