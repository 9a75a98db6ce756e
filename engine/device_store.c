/* Moving a token and taking it are one statement: the CTE that frees it is read by the one that
 * takes it, so it has run before. Those who take the same token at once stand in line at a lock on
 * its hash; those who use the same key at once meet in its unique index, and the loser, who gets
 * CONFLICT, looks again. */
#include "engine/device_store.h"

#include <string.h>

#include "base/error.h"

#define TAKE_TRIES 5

#define ROW_COLUMNS                                                                                \
    "id, realm, generation, channel, id_kind, push_token, apns_environment, mqtt, os, "            \
    "app_version, language, commune, silent_information, registered_at, token_at, last_seen_at, "  \
    "proven_at, retired_at, retired_reason"

/* $2 channel, $3 id_kind, $4 push_token; own_id: the device that takes the token. */
#define FREE_TOKEN(own_id)                                                                         \
    "UPDATE device SET channel = CASE WHEN mqtt THEN 'mqtt' ELSE 'none' END, push_token = NULL, "  \
    "id_kind = NULL, apns_environment = NULL, proven_at = NULL, "                                  \
    "retired_at = CASE WHEN mqtt THEN NULL ELSE now() END, "                                       \
    "retired_reason = CASE WHEN mqtt THEN NULL ELSE 'token_moved' END "                            \
    "WHERE push_token = $4 AND channel = $2 AND id_kind = $3 AND id <> " own_id

static const char register_sql[] =
    "WITH known AS (SELECT 1 FROM device WHERE registration_key = $1), "
    "freed AS (" FREE_TOKEN(
        "0") " AND NOT EXISTS (SELECT 1 FROM known) RETURNING 1) "
             "INSERT INTO device (registration_key, channel, id_kind, push_token, "
             "apns_environment, mqtt, "
             "os, app_version, language, commune, silent_information, realm) "
             "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 "
             "WHERE NOT EXISTS (SELECT 1 FROM known) AND (SELECT count(*) FROM freed) >= 0 "
             "RETURNING " ROW_COLUMNS;

static const char update_sql[] = "WITH freed AS (" FREE_TOKEN(
    "$1") " RETURNING 1) "
          "UPDATE device SET channel = $2, id_kind = $3, push_token = $4, apns_environment = $5, "
          "mqtt = $6, os = $7, app_version = $8, language = $9, commune = $10, "
          "silent_information = $11, last_seen_at = now(), "
          "token_at = CASE WHEN (push_token, channel, id_kind) IS NOT DISTINCT FROM ($4, $2, $3) "
          "THEN token_at ELSE now() END, "
          "proven_at = CASE WHEN (push_token, channel, id_kind) IS NOT DISTINCT FROM ($4, $2, $3) "
          "THEN proven_at END, "
          "retired_at = CASE WHEN $2 = 'none' THEN retired_at END, "
          "retired_reason = CASE WHEN $2 = 'none' THEN retired_reason END "
          "WHERE id = $1 AND (SELECT count(*) FROM freed) >= 0";

static const char unregister_sql[] =
    "UPDATE device SET channel = 'none', push_token = NULL, id_kind = NULL, "
    "apns_environment = NULL, mqtt = false, proven_at = NULL, account_id = NULL, "
    "registration_key = NULL, retired_at = now(), retired_reason = 'unregistered' "
    "WHERE id = $1 AND retired_reason IS DISTINCT FROM 'unregistered'";

void device_row_free(struct device_row *row)
{
    if (row == NULL)
        return;
    PQclear(row->res);
    g_free(row);
}

bool device_row_unregistered(const struct device_row *row)
{
    return g_strcmp0(row->retired_reason, "unregistered") == 0;
}

/* Takes res, which has one row of ROW_COLUMNS. */
static struct device_row *row_take(PGresult *res)
{
    struct device_row *row = g_new0(struct device_row, 1);

    row->res = res;
    row->id = db_get_i64(res, 0, 0);
    row->realm = db_get_text(res, 0, 1);
    row->generation = (int)db_get_i64(res, 0, 2);
    row->state = (struct device_state){
        .channel = db_get_text(res, 0, 3),
        .id_kind = db_get_text(res, 0, 4),
        .push_token = db_get_text(res, 0, 5),
        .apns_environment = db_get_text(res, 0, 6),
        .mqtt = db_get_bool(res, 0, 7),
        .os = db_get_text(res, 0, 8),
        .app_version = db_get_text(res, 0, 9),
        .language = db_get_text(res, 0, 10),
        .commune = db_get_text(res, 0, 11),
        .silent_information = db_get_bool(res, 0, 12),
    };
    row->registered_utc_us = db_get_utc_us(res, 0, 13);
    row->token_utc_us = db_get_utc_us(res, 0, 14);
    row->last_seen_utc_us = db_get_utc_us(res, 0, 15);
    row->proven_utc_us = db_get_utc_us(res, 0, 16);
    row->retired_utc_us = db_get_utc_us(res, 0, 17);
    row->retired_reason = db_get_text(res, 0, 18);
    return row;
}

GHashTable *device_communes_load(struct db *db, GError **error)
{
    g_autoptr(PGresult) res = db_query(db, "SELECT code FROM commune", NULL, error);
    GHashTable *codes;

    if (res == NULL)
        return NULL;
    codes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (int i = 0; i < PQntuples(res); i++)
        g_hash_table_add(codes, g_strdup(db_get_text(res, i, 0)));
    return codes;
}

/* $2 … $11 of register_sql and update_sql. */
static void state_params(struct db_params *params, const struct device_state *state)
{
    db_param_text(params, state->channel);
    db_param_text(params, state->id_kind);
    db_param_text(params, state->push_token);
    db_param_text(params, state->apns_environment);
    db_param_bool(params, state->mqtt);
    db_param_text(params, state->os);
    db_param_text(params, state->app_version);
    db_param_text(params, state->language);
    db_param_text(params, state->commune);
    db_param_bool(params, state->silent_information);
}

/* The row that the key made. NULL without error: there is none. */
static struct device_row *find_by_key(struct db *db, const uint8_t key_hash[SHA256_LEN],
                                      GError **error)
{
    struct db_params *params = db_params_new();
    PGresult *res;

    db_param_bytes(params, key_hash, SHA256_LEN);
    res = db_query(db, "SELECT " ROW_COLUMNS " FROM device WHERE registration_key = $1", params,
                   error);
    if (res == NULL)
        return NULL;
    if (PQntuples(res) == 1)
        return row_take(res);
    PQclear(res);
    return NULL;
}

static struct device_row *insert(struct db *db, const uint8_t key_hash[SHA256_LEN],
                                 const char *realm, const struct device_state *state,
                                 GError **error)
{
    struct db_params *params = db_params_new();
    PGresult *res;

    db_param_bytes(params, key_hash, SHA256_LEN);
    state_params(params, state);
    db_param_text(params, realm);
    res = db_query(db, register_sql, params, error);
    if (res == NULL)
        return NULL;
    if (PQntuples(res) == 1)
        return row_take(res);
    PQclear(res);
    return NULL;
}

/* The same key must come with the same registration: an app that uses one key for every install
 * would otherwise hand one device's secret to another. */
static struct device_row *check_replay(struct device_row *row, const struct device_state *state,
                                       GError **error)
{
    if (g_strcmp0(row->state.channel, state->channel) == 0 &&
        g_strcmp0(row->state.push_token, state->push_token) == 0)
        return row;
    g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                "this Idempotency-Key has registered another platform or token; make a new random "
                "key for each registration, and use PUT to change a token");
    device_row_free(row);
    return NULL;
}

/* Until the end of the transaction nobody else takes this token. */
static bool lock_token(struct db *db, const struct device_state *state, GError **error)
{
    struct db_params *params;

    if (state->push_token == NULL)
        return true;
    params = db_params_new();
    db_param_text(params, state->push_token);
    return db_exec(db, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", params, error);
}

/* One try, one transaction: the new row, else the one that the key has made. NULL without error:
 * that one's key was freed between the two statements. */
static struct device_row *register_once(struct db *db, const uint8_t key_hash[SHA256_LEN],
                                        const char *realm, const struct device_state *state,
                                        bool *out_created, GError **error)
{
    g_autoptr(GError) failure = NULL;
    loa_auto(device_row) row = NULL;

    if (!db_begin(db, error))
        return NULL;
    if (lock_token(db, state, &failure))
        row = insert(db, key_hash, realm, state, &failure);
    *out_created = row != NULL;
    if (row == NULL && failure == NULL)
        row = find_by_key(db, key_hash, &failure);
    if (row != NULL && !db_commit(db, &failure))
        g_clear_pointer(&row, device_row_free);
    db_rollback(db);
    if (failure != NULL)
        g_propagate_error(error, g_steal_pointer(&failure));
    return g_steal_pointer(&row);
}

struct device_row *device_register(struct db *db, const uint8_t key_hash[SHA256_LEN],
                                   const char *realm, const struct device_state *state,
                                   bool *out_created, GError **error)
{
    for (int try = 1;; try++) {
        g_autoptr(GError) failure = NULL;
        struct device_row *row = register_once(db, key_hash, realm, state, out_created, &failure);

        if (row != NULL)
            return *out_created ? row : check_replay(row, state, error);
        if (failure != NULL && !g_error_matches(failure, LOA_ERROR, LOA_ERROR_CONFLICT)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return NULL;
        }
        if (try == TAKE_TRIES) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "this device changes too fast");
            return NULL;
        }
    }
}

struct device_row *device_get(struct db *db, int64_t id, bool for_update, GError **error)
{
    struct db_params *params = db_params_new();
    PGresult *res;

    db_param_i64(params, id);
    res = db_query(db,
                   for_update ? "SELECT " ROW_COLUMNS " FROM device WHERE id = $1 FOR UPDATE"
                              : "SELECT " ROW_COLUMNS " FROM device WHERE id = $1",
                   params, error);
    if (res == NULL)
        return NULL;
    if (PQntuples(res) == 1)
        return row_take(res);
    PQclear(res);
    g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND,
                "there is no device %" G_GINT64_FORMAT "; it has to be registered first", id);
    return NULL;
}

bool device_update(struct db *db, int64_t id, const struct device_state *state, GError **error)
{
    struct db_params *params;

    if (!lock_token(db, state, error))
        return false;
    params = db_params_new();
    db_param_i64(params, id);
    state_params(params, state);
    return db_exec(db, update_sql, params, error);
}

bool device_unregister(struct db *db, int64_t id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    return db_exec(db, unregister_sql, params, error);
}
