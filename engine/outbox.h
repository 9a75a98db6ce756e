/* Targeted notifications: a case result, a reminder. The row is written in the transaction of the
 * event that causes it, exactly once by its key; the push is delivered at least once and the app
 * drops repeats of the same alert id. */
#ifndef LOA_ENGINE_OUTBOX_H
#define LOA_ENGINE_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/db.h"
#include "engine/message.h"

#define OUTBOX_KEY_MAX 200

/* What to send to whom. Strings are borrowed; limits are those of the table. */
struct notification {
    const char *key;    /* names the event: "case:17:result:2"; a repeat adds nothing */
    int64_t account_id; /* every device of the account … */
    int64_t device_id;  /* … or this one; exactly one of the two is not 0 */
    const char *cls;    /* "uu_tien" "thuong" "phan_anh" "dien_tap"; NULL = "phan_anh" */
    int priority;       /* 1 (first) … 9; 0 = 5 */
    const char *title;
    const char *body;
    const char *url;           /* NULL = none */
    int64_t not_before_utc_us; /* 0 = now */
    int64_t expires_utc_us;
};

/* INVALID names the field. */
bool outbox_check(const struct notification *notification, GError **error);

/* Adds the row inside the caller's transaction and wakes the senders when that commits. The second
 * row of a key is silently none. INVALID. */
bool outbox_enqueue(struct db *db, const struct notification *notification, GError **error);

/* The same as one statement for db_async or as part of a store's own: $1 key, $2 account bigint or
 * null, $3 device bigint or null, $4 class, $5 priority integer, $6 title, $7 body, $8 url,
 * $9 not before timestamptz or null, $10 expires timestamptz. One row when it was new. */
extern const char outbox_enqueue_sql[];
/* Its parameters; the notification has passed outbox_check. */
struct db_params *outbox_enqueue_params(const struct notification *notification);

/* The push of notification id. alert_id_buffer of 32 bytes and the strings are borrowed by out. */
void outbox_message(const char *title, const char *body, const char *url, const char *cls,
                    int64_t id, int64_t created_utc_us, int64_t expires_utc_us,
                    char alert_id_buffer[32], struct message *out);

/* One row of `loa outbox list`. */
struct outbox_row {
    int64_t id;
    char *key;
    char *state;
    char *reason; /* "" */
    int64_t account_id, device_id;
    int64_t created_utc_us, expires_utc_us;
    int64_t pushes, accepted, owed;
    int64_t attempts; /* the most of any push */
};
/* Newest first; state NULL = those that are not done. struct outbox_row *, owned with the array. */
GPtrArray *outbox_list(struct db *db, const char *state, int limit, GError **error);

/* Makes a dead notification pending again with a new expiry; its failed pushes are forgotten.
 * CONFLICT when it is not dead. Audited by the caller's transaction. NOT_FOUND. */
bool outbox_retry(struct db *db, int64_t id, int64_t life_s, GError **error);

#endif
