/* SQL of accounts. */
#ifndef LOA_ENGINE_ACCOUNT_STORE_H
#define LOA_ENGINE_ACCOUNT_STORE_H

#include "base/db.h"
#include "engine/account.h"

/* CONFLICT when the name exists. Audited. Owned. */
struct account *account_store_create(struct db *db, const char *name,
                                     const uint8_t public_key[ED25519_KEY_LEN], GError **error);
/* By name, or by id when only digits. NOT_FOUND. Owned. */
struct account *account_store_find(struct db *db, const char *name_or_id, GError **error);
/* Every account by id: struct account *, owned with the array. */
GPtrArray *account_store_list(struct db *db, GError **error);
/* Disabling twice is no error. NOT_FOUND. Audited. */
bool account_store_disable(struct db *db, const char *name_or_id, GError **error);

#endif
