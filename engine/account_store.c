/* SQL of accounts. Making and disabling one is the operator's act ("system" in the audit). */
#include "engine/account_store.h"

#include <string.h>

#include "engine/audit_store.h"

#define COLUMNS "id, name, public_key, created_at, disabled_at"

static struct account *decode(const PGresult *res, int row)
{
    struct account *account = g_new0(struct account, 1);
    size_t len = 0;
    const void *key = db_get_bytes(res, row, 2, &len);

    account->id = db_get_i64(res, row, 0);
    account->name = g_strdup(db_get_text(res, row, 1));
    if (key != NULL && len == ED25519_KEY_LEN) /* a CHECK guards it */
        memcpy(account->public_key, key, ED25519_KEY_LEN);
    account->created_utc_us = db_get_utc_us(res, row, 3);
    account->disabled_utc_us = db_get_utc_us(res, row, 4);
    return account;
}

static bool create_audited(struct db *db, const char *name, const uint8_t *public_key,
                           GError **error)
{
    struct db_params *params = db_params_new();

    db_param_text(params, name);
    db_param_bytes(params, public_key, ED25519_KEY_LEN);
    return db_exec(db, "INSERT INTO account (name, public_key) VALUES ($1, $2)", params, error) &&
           audit_store_add(db, NULL, "account_created", name, "", error);
}

struct account *account_store_create(struct db *db, const char *name,
                                     const uint8_t public_key[ED25519_KEY_LEN], GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (!account_name_check(name, error) || !db_begin(db, error))
        return NULL;
    if (!create_audited(db, name, public_key, &cause) || !db_commit(db, &cause)) {
        db_rollback(db);
        if (g_error_matches(cause, LOA_ERROR, LOA_ERROR_CONFLICT))
            g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "account \"%s\" exists", name);
        else
            g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    return account_store_find(db, name, error);
}

struct account *account_store_find(struct db *db, const char *name_or_id, GError **error)
{
    bool by_id = name_or_id[0] != '\0' && strspn(name_or_id, "0123456789") == strlen(name_or_id);
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    if (by_id)
        db_param_i64(params, g_ascii_strtoll(name_or_id, NULL, 10));
    else
        db_param_text(params, name_or_id);
    res = db_query(db,
                   by_id ? "SELECT " COLUMNS " FROM account WHERE id = $1"
                         : "SELECT " COLUMNS " FROM account WHERE name = $1",
                   params, error);
    if (res == NULL)
        return NULL;
    if (PQntuples(res) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND,
                    "no account \"%s\": loa account list names them", name_or_id);
        return NULL;
    }
    return decode(res, 0);
}

static void free_item(void *item)
{
    account_free(item);
}

GPtrArray *account_store_list(struct db *db, GError **error)
{
    g_autoptr(PGresult) res =
        db_query(db, "SELECT " COLUMNS " FROM account ORDER BY id", NULL, error);
    GPtrArray *list;

    if (res == NULL)
        return NULL;
    list = g_ptr_array_new_with_free_func(free_item);
    for (int row = 0; row < PQntuples(res); row++)
        g_ptr_array_add(list, decode(res, row));
    return list;
}

static bool disable_audited(struct db *db, const struct account *account, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, account->id);
    return db_exec(db, "UPDATE account SET disabled_at = now() WHERE id = $1", params, error) &&
           audit_store_add(db, NULL, "account_disabled", account->name, "", error);
}

bool account_store_disable(struct db *db, const char *name_or_id, GError **error)
{
    loa_auto(account) account = account_store_find(db, name_or_id, error);

    if (account == NULL)
        return false;
    if (account->disabled_utc_us != 0)
        return true;
    if (!db_begin(db, error))
        return false;
    if (!disable_audited(db, account, error) || !db_commit(db, error)) {
        db_rollback(db);
        return false;
    }
    return true;
}
