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

#define OUTBOX_KEY_MAX     200
#define OUTBOX_ENQUEUE_MAX 1000 /* rows of one statement */
/* Far below the hour that an unstored push waits for its receipt. */
#define OUTBOX_RECEIPT_WINDOW_S 60

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

/* Adds n ≤ OUTBOX_ENQUEUE_MAX rows with one statement, inside the caller's transaction or as one of
 * its own, and wakes the senders when that commits. The second row of a key is silently none.
 * INVALID: nothing was added. */
bool outbox_enqueue(struct db *db, const struct notification *notifications, size_t n,
                    GError **error);

/* The same for db_async or as part of a store's own: $1 text[] keys, $2 bigint[] accounts and
 * $3 bigint[] devices (0 = none), $4 text[] classes, $5 integer[] priorities, $6 text[] titles,
 * $7 text[] bodies, $8 text[] urls, $9 bigint[] not before and $10 bigint[] expires (microseconds
 * UTC; not before 0 = now). One row when any was new. */
extern const char outbox_enqueue_sql[];
/* Its parameters; the notifications have passed outbox_check. */
struct db_params *outbox_enqueue_params(const struct notification *notifications, size_t n);

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
    int64_t attempts;      /* the most of any push */
    int64_t shown, opened; /* by the devices' receipts */
};
/* Newest first; state NULL = those that are not done. struct outbox_row *, owned with the array. */
GPtrArray *outbox_list(struct db *db, const char *state, int limit, GError **error);

/* Makes a dead notification pending again with a new expiry; its failed pushes are forgotten.
 * CONFLICT when it is not dead. Audited by the caller's transaction. NOT_FOUND. */
bool outbox_retry(struct db *db, int64_t id, int64_t life_s, GError **error);

#endif
