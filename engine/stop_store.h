/* SQL of the stop switches. Nothing leaves under one, nothing is lost; the delivery processes obey
 * within one flight. */
#ifndef LOA_ENGINE_STOP_STORE_H
#define LOA_ENGINE_STOP_STORE_H

#include "base/db.h"
#include "engine/account.h"

struct stop {
    char *scope; /* "all", "channel:fcm", "broadcast:7" */
    char *reason;
    char *by_name;
    int64_t at_utc_us;
};

/* Sets or removes a switch with audit and NOTIFY. out_changed: false when it was so already.
 * NOT_FOUND for a broadcast that does not exist; INVALID for a channel that does not. */
bool stop_store_stop(struct db *db, const struct account *actor, const char *scope,
                     const char *reason, bool *out_changed, GError **error);
bool stop_store_resume(struct db *db, const struct account *actor, const char *scope,
                       const char *reason, bool *out_changed, GError **error);
/* Every switch now set, oldest first: struct stop *, owned with the array. */
GPtrArray *stop_store_list(struct db *db, GError **error);

#endif
