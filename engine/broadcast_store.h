/* SQL of broadcasts. Functions that change something run inside the caller's transaction. */
#ifndef LOA_ENGINE_BROADCAST_STORE_H
#define LOA_ENGINE_BROADCAST_STORE_H

#include "base/db.h"
#include "engine/broadcast.h"

/* One row with texts and keys. $1 = bigint broadcast id. For struct db and db_async alike. */
extern const char broadcast_load_sql[];
/* Decodes one row of it. INTERNAL when the row is not one that Loa can have written
 * (an unknown word, a signature of the wrong length): treat it like a wrong signature. Owned. */
struct broadcast *broadcast_decode(const PGresult *res, int row, GError **error);

/* NOT_FOUND. Owned. */
struct broadcast *broadcast_load(struct db *db, int64_t id, GError **error);
/* The same with the row locked until the transaction ends: acts on one broadcast go one by one. */
struct broadcast *broadcast_load_locked(struct db *db, int64_t id, GError **error);

/* The database's clock: a wrong clock on an officer's machine must not date an alert. Inside a
 * transaction, its start. */
bool broadcast_store_now(struct db *db, int64_t *out_utc_us, GError **error);

/* INVALID with the codes that the commune table does not know. */
bool broadcast_store_check_communes(struct db *db, const struct broadcast *broadcast,
                                    GError **error);
/* What a person types: a broadcast id, or an alert id (then its first version). NOT_FOUND. */
bool broadcast_store_resolve(struct db *db, const char *text, int64_t *out_id, GError **error);
/* Id of the broadcast that was created under this key; 0 = none. */
bool broadcast_store_find_key(struct db *db, const uint8_t create_key[SHA256_LEN], int64_t *out_id,
                              GError **error);
/* Alert id of another released, not cancelled broadcast of the same realm with this Vietnamese
 * title, released after since; NULL = none. Locks the title until the transaction ends. Owned. */
bool broadcast_store_find_duplicate(struct db *db, const struct broadcast *broadcast,
                                    int64_t since_utc_us, char **out_alert_id, GError **error);

/* Inserts a draft with its texts and sets id. create_key may be NULL. CONFLICT. */
bool broadcast_store_insert_draft(struct db *db, struct broadcast *broadcast,
                                  const uint8_t *create_key, GError **error);
/* Takes a new id, so that a correction can be signed before it is inserted. */
bool broadcast_store_next_id(struct db *db, int64_t *out_id, GError **error);
/* Inserts a signed correction, marks its original cancelled by the correction's creator, ends the
 * original's planning and copies its frozen chunks. The original's row is locked by the caller. */
bool broadcast_store_insert_correction(struct db *db, const struct broadcast *correction,
                                       GError **error);
/* draft → released: signatures of release, approver and texts, head of the plan. */
bool broadcast_store_release(struct db *db, const struct broadcast *broadcast, GError **error);
/* draft → withdrawn. */
bool broadcast_store_withdraw(struct db *db, int64_t id, int64_t account_id, GError **error);
/* Wakes the delivery processes when the transaction commits; an emergency makes them hold
 * everything else at once. */
bool broadcast_store_notify(struct db *db, bool emergency, GError **error);

/* Who would get it now: the read-back before a release. */
struct broadcast_audience {
    int64_t fcm, apns, mqtt; /* devices that count on each channel */
    int64_t stale;           /* of all: not seen for stale_days */
};
bool broadcast_store_audience(struct db *db, const struct broadcast *broadcast, int64_t stale_days,
                              struct broadcast_audience *out, GError **error);

/* The newest broadcasts with texts, at most limit: struct broadcast *, owned with the array. Rows
 * that cannot be decoded are logged and left out. */
GPtrArray *broadcast_store_list(struct db *db, int limit, GError **error);

#endif
