/* SQL of the device registry. Each change is one statement or one transaction; a token lives on one
 * device only: whoever tells it last has it, the older row falls back to MQTT or to nothing. */
#ifndef LOA_ENGINE_DEVICE_STORE_H
#define LOA_ENGINE_DEVICE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/crypto.h"
#include "base/db.h"
#include "engine/device.h"

/* One row. Strings are borrowed from it until device_row_free. */
struct device_row {
    int64_t id;
    const char *realm;
    int generation;
    struct device_state state;
    int64_t registered_utc_us;
    int64_t token_utc_us;
    int64_t last_seen_utc_us;
    int64_t proven_utc_us;      /* 0 = the provider has not accepted this token yet */
    int64_t retired_utc_us;     /* 0 = reachable */
    const char *retired_reason; /* NULL | "unregistered" | "dead_token" | "token_moved" */
    PGresult *res;
};
void device_row_free(struct device_row *row);
LOA_AUTO_DEFINE(device_row, device_row_free)
/* Its owner has unregistered it: only the history is left. */
bool device_row_unregistered(const struct device_row *row);

/* Codes of all communes (keys; owned set). */
GHashTable *device_communes_load(struct db *db, GError **error);

/* Inserts a device, or finds the one that this key made before (*out_created false). CONFLICT when
 * the key belongs to a registration with another platform or token. The row is owned. */
struct device_row *device_register(struct db *db, const uint8_t key_hash[SHA256_LEN],
                                   const char *realm, const struct device_state *state,
                                   bool *out_created, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* NOT_FOUND. Owned. for_update: inside a transaction, locks the row. */
struct device_row *device_get(struct db *db, int64_t id, bool for_update,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Inside the transaction in which device_get has locked the row: writes its state, marks it seen; a
 * changed token is unproven. */
bool device_update(struct db *db, int64_t id, const struct device_state *state,
                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Retires it; frees its key. No error when it already is. */
bool device_unregister(struct db *db, int64_t id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
