/* A million rows are merged by a handful of statements. Tokens are freed before they are taken,
 * because the unique index is checked row by row. */
#include "engine/device_import_store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/error.h"

#define SECRETS_PAGE 5000

static const char stage_sql[] =
    "CREATE TEMPORARY TABLE device_staging (line bigint NOT NULL, key bytea, "
    "channel text NOT NULL, id_kind text, push_token text, apns_environment text, "
    "mqtt boolean NOT NULL, os text NOT NULL, app_version text NOT NULL, language text NOT NULL, "
    "commune text, silent_information boolean NOT NULL, device_id bigint) ON COMMIT DROP";

/* A merge of a million rows takes longer than a statement of the API may. */
static const char limits_sql[] =
    "SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'; ANALYZE device_staging";

#define SAME_TOKEN(a, b)                                                                           \
    a ".push_token = " b ".push_token AND " a ".channel = " b ".channel AND " a ".id_kind = " b    \
      ".id_kind"

/* Of several lines about one device the last one counts. Two statements, because the planner turns
 * an EXISTS into a join only when no OR stands beside it. */
static const char repeated_key_sql[] =
    "DELETE FROM device_staging s WHERE EXISTS (SELECT 1 FROM device_staging l "
    "WHERE l.key = s.key AND l.line > s.line)";
static const char repeated_token_sql[] =
    "DELETE FROM device_staging s WHERE EXISTS (SELECT 1 FROM device_staging l "
    "WHERE " SAME_TOKEN("l", "s") " AND l.line > s.line)";

static const char by_key_sql[] = "UPDATE device_staging s SET device_id = d.id FROM device d "
                                 "WHERE d.registration_key = s.key";
/* A device that its key has claimed is not claimed by its old token as well. */
static const char by_token_sql[] =
    "UPDATE device_staging s SET device_id = d.id FROM device d WHERE " SAME_TOKEN(
        "d", "s") " AND "
                  "s.device_id IS NULL AND NOT EXISTS (SELECT 1 FROM device_staging k WHERE "
                  "k.device_id = d.id)";

static const char foreign_sql[] =
    "SELECT (SELECT count(*) FROM device_staging s JOIN device d ON d.id = s.device_id "
    "WHERE d.realm <> $1) + (SELECT count(*) FROM device_staging s JOIN device d "
    "ON " SAME_TOKEN("d", "s") " WHERE d.realm <> $1 AND d.id IS DISTINCT FROM s.device_id)";

static const char free_sql[] =
    "UPDATE device d SET channel = CASE WHEN d.mqtt THEN 'mqtt' ELSE 'none' END, "
    "push_token = NULL, id_kind = NULL, apns_environment = NULL, proven_at = NULL, "
    "retired_at = CASE WHEN d.mqtt THEN NULL ELSE now() END, "
    "retired_reason = CASE WHEN d.mqtt THEN NULL ELSE 'token_moved' END "
    "FROM device_staging s WHERE " SAME_TOKEN("d", "s") " AND d.id IS DISTINCT FROM s.device_id";

static const char update_sql[] =
    "UPDATE device d SET channel = s.channel, id_kind = s.id_kind, push_token = s.push_token, "
    "apns_environment = s.apns_environment, mqtt = s.mqtt, os = s.os, "
    "app_version = s.app_version, language = s.language, commune = s.commune, "
    "silent_information = s.silent_information, "
    "registration_key = coalesce(d.registration_key, s.key), "
    "token_at = CASE WHEN d.push_token IS NOT DISTINCT FROM s.push_token THEN d.token_at "
    "ELSE now() END, "
    "proven_at = CASE WHEN s.push_token IS NULL THEN NULL "
    "WHEN d.push_token = s.push_token AND d.proven_at IS NOT NULL THEN d.proven_at "
    "WHEN $1 THEN now() END, retired_at = NULL, retired_reason = NULL "
    "FROM device_staging s WHERE s.device_id = d.id";

static const char insert_sql[] =
    "INSERT INTO device (realm, registration_key, channel, id_kind, push_token, apns_environment, "
    "mqtt, os, app_version, language, commune, silent_information, proven_at) "
    "SELECT $2, key, channel, id_kind, push_token, apns_environment, mqtt, os, app_version, "
    "language, commune, silent_information, CASE WHEN $1 AND push_token IS NOT NULL THEN now() END "
    "FROM device_staging WHERE device_id IS NULL ORDER BY line";

static const char secrets_sql[] =
    "DECLARE device_secrets NO SCROLL CURSOR FOR "
    "SELECT d.id, d.generation, d.commune, d.language FROM device_staging s JOIN device d "
    "ON d.registration_key = s.key WHERE s.mqtt AND s.push_token IS NULL UNION ALL "
    "SELECT d.id, d.generation, d.commune, d.language FROM device_staging s JOIN device d "
    "ON " SAME_TOKEN("d", "s") " WHERE s.mqtt ORDER BY 1";

bool device_import_stage_begin(struct db *db, GError **error)
{
    return db_script(db, stage_sql, error) &&
           db_copy_start(db,
                         "COPY device_staging (line, key, channel, id_kind, push_token, "
                         "apns_environment, mqtt, os, app_version, language, commune, "
                         "silent_information) FROM STDIN",
                         error);
}

static void append_text(GString *rows, const char *text)
{
    if (text == NULL) {
        g_string_append(rows, "\t\\N");
        return;
    }
    g_string_append_c(rows, '\t');
    for (; *text != '\0'; text++) { /* control characters were refused by the rules */
        if (*text == '\\')
            g_string_append_c(rows, '\\');
        g_string_append_c(rows, *text);
    }
}

static void append_key(GString *rows, const uint8_t *key_hash)
{
    static const char digits[] = "0123456789abcdef";

    if (key_hash == NULL) {
        g_string_append(rows, "\t\\N");
        return;
    }
    g_string_append(rows, "\t\\\\x");
    for (size_t i = 0; i < SHA256_LEN; i++) {
        g_string_append_c(rows, digits[key_hash[i] >> 4]);
        g_string_append_c(rows, digits[key_hash[i] & 15]);
    }
}

void device_import_stage_row(GString *rows, uint64_t line, const uint8_t *key_hash,
                             const struct device_state *state)
{
    g_string_append_printf(rows, "%" PRIu64, line);
    append_key(rows, key_hash);
    append_text(rows, state->channel);
    append_text(rows, state->id_kind);
    append_text(rows, state->push_token);
    append_text(rows, state->apns_environment);
    append_text(rows, state->mqtt ? "t" : "f");
    append_text(rows, state->os);
    append_text(rows, state->app_version);
    append_text(rows, state->language);
    append_text(rows, state->commune);
    append_text(rows, state->silent_information ? "t" : "f");
    g_string_append_c(rows, '\n');
}

/* Runs one statement and gives the number of rows it changed. */
static bool run(struct db *db, const char *sql, struct db_params *params, uint64_t *out_rows,
                GError **error)
{
    g_autoptr(PGresult) res = db_query(db, sql, params, error);

    if (res == NULL)
        return false;
    if (out_rows != NULL)
        *out_rows = g_ascii_strtoull(PQcmdTuples(res), NULL, 10);
    return true;
}

static bool check_realm(struct db *db, const char *realm, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text(params, realm);
    res = db_query(db, foreign_sql, params, error);
    if (res == NULL)
        return false;
    if (db_get_i64(res, 0, 0) == 0)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                "%" PRId64 " lines name devices that are registered in another realm than %s; "
                "nothing was imported",
                db_get_i64(res, 0, 0), realm);
    return false;
}

static struct db_params *proven_param(const struct device_import_options *options)
{
    struct db_params *params = db_params_new();

    db_param_bool(params, options->proven);
    return params;
}

static void step(const struct device_import_options *options,
                 const struct device_import_counts *counts, const char *name)
{
    if (options->on_progress != NULL)
        options->on_progress(counts->lines, 0, name, options->user);
}

bool device_import_merge(struct db *db, const struct device_import_options *options,
                         struct device_import_counts *out, GError **error)
{
    struct db_params *params;
    uint64_t by_key, by_token;

    step(options, out, "looking for known devices");
    if (!db_script(db, limits_sql, error) || !run(db, repeated_key_sql, NULL, &by_key, error) ||
        !run(db, repeated_token_sql, NULL, &by_token, error) ||
        !run(db, by_key_sql, NULL, NULL, error) || !run(db, by_token_sql, NULL, NULL, error) ||
        !check_realm(db, options->realm, error))
        return false;
    out->repeated = by_key + by_token;
    step(options, out, "updating known devices");
    if (!run(db, free_sql, NULL, &out->moved, error) ||
        !run(db, update_sql, proven_param(options), &out->updated, error))
        return false;
    step(options, out, "adding new devices");
    params = proven_param(options);
    db_param_text(params, options->realm);
    /* Until statistics tell of the new rows, planning a broadcast would sort them step by step. */
    return run(db, insert_sql, params, &out->added, error) &&
           db_script(db, "ANALYZE device", error);
}

static bool secrets_page(struct db *db, const struct device_import_options *options, int *out_rows,
                         GError **error)
{
    g_autoptr(PGresult) res =
        db_query(db, "FETCH " G_STRINGIFY(SECRETS_PAGE) " FROM device_secrets", NULL, error);

    if (res == NULL)
        return false;
    for (int i = 0; i < PQntuples(res); i++) {
        char secret[DEVICE_SECRET_MAX];
        const char *commune = db_get_text(res, i, 2);
        device_secret_make(options->secrets_key, db_get_i64(res, i, 0), (int)db_get_i64(res, i, 1),
                           secret);
        if (!options->on_secret(db_get_i64(res, i, 0), secret, commune != NULL ? commune : "",
                                db_get_text(res, i, 3), options->user, error))
            return false;
    }
    *out_rows = PQntuples(res);
    return true;
}

bool device_import_secrets(struct db *db, const struct device_import_options *options,
                           GError **error)
{
    int rows = SECRETS_PAGE;

    if (!run(db, secrets_sql, NULL, NULL, error))
        return false;
    while (rows == SECRETS_PAGE)
        if (!secrets_page(db, options, &rows, error))
            return false;
    return true;
}
