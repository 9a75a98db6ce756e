/* What happened to each alert on one phone: `loa device show`. */
#ifndef LOA_ENGINE_DEVICE_HISTORY_H
#define LOA_ENGINE_DEVICE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/db.h"

/* One broadcast that froze the device as a member. Strings are owned. */
struct device_history {
    int64_t broadcast_id;
    char *alert_id;
    int version;
    char *message_type; /* "alert" | "cancel" */
    int64_t released_utc_us;
    char *channel; /* of the chunk: the one it counted on at that time */
    int lane;      /* enum lane */
    int chunk_no;
    int position;        /* in the chunk */
    const char *outcome; /* "ACCEPTED" …, "RETRY", "FLYING", "WAITING" (not sent yet); static */
    const char *reason;  /* of a SUPPRESSED, else ""; static */
    int uncertain;       /* times its flight changed hands while out */
    int attempts;        /* made so far, while in RETRY; else 0 */
    int64_t retry_at_utc_us; /* while in RETRY; else 0 */
    char *retry_reason;      /* while in RETRY; else NULL */
    int64_t shown_utc_us;    /* receipts; 0 = none */
    int64_t opened_utc_us;
};

/* The newest `limit` broadcasts of which the device is a member, newest first. Array of
 * struct device_history, owned. */
GPtrArray *device_history_load(struct db *db, int64_t device_id, int limit,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
