/* SQL of broadcasts: reading. Writing stands in broadcast_write_store.c. */
#include "engine/broadcast_store.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

/* One row per broadcast; its texts as parallel arrays in byte order of the language, signatures in
 * hex because libpq knows no bytea[] that is simpler. */
#define SELECT_BROADCAST                                                                           \
    "SELECT b.id, b.alert_id, b.version, b.message_type, b.corrects, b.realm, b.kind, b.level,"    \
    " b.class, b.state, b.area_scope, b.communes, b.url, b.source_document, b.expires_at,"         \
    " b.receipt_window_s, b.content_hash, b.created_at, b.created_by, c.name, c.public_key,"       \
    " b.creator_signature, b.approved_by, a.name, a.public_key, b.approver_signature,"             \
    " b.released_at, b.key_id, b.release_signature, b.cancelled_at, b.mqtt_acked_at,"              \
    " b.finished_at, b.refused_at, t.languages, t.titles, t.bodies, t.instructions,"               \
    " t.correction_titles, t.correction_bodies, t.signatures"                                      \
    " FROM broadcast b JOIN account c ON c.id = b.created_by"                                      \
    " LEFT JOIN account a ON a.id = b.approved_by,"                                                \
    " LATERAL (SELECT array_agg(language ORDER BY language COLLATE \"C\") AS languages,"           \
    "   array_agg(title ORDER BY language COLLATE \"C\") AS titles,"                               \
    "   array_agg(body ORDER BY language COLLATE \"C\") AS bodies,"                                \
    "   array_agg(instruction ORDER BY language COLLATE \"C\") AS instructions,"                   \
    "   array_agg(correction_title ORDER BY language COLLATE \"C\") AS correction_titles,"         \
    "   array_agg(correction_body ORDER BY language COLLATE \"C\") AS correction_bodies,"          \
    "   array_agg(coalesce(encode(signature, 'hex'), '') ORDER BY language COLLATE \"C\")"         \
    "     AS signatures"                                                                           \
    "   FROM broadcast_text WHERE broadcast_id = b.id) t"

enum column {
    COL_ID,
    COL_ALERT_ID,
    COL_VERSION,
    COL_TYPE,
    COL_CORRECTS,
    COL_REALM,
    COL_KIND,
    COL_LEVEL,
    COL_CLASS,
    COL_STATE,
    COL_SCOPE,
    COL_COMMUNES,
    COL_URL,
    COL_SOURCE,
    COL_EXPIRES,
    COL_WINDOW,
    COL_HASH,
    COL_CREATED,
    COL_CREATOR,
    COL_CREATOR_NAME,
    COL_CREATOR_KEY,
    COL_CREATOR_SIGNATURE,
    COL_APPROVER,
    COL_APPROVER_NAME,
    COL_APPROVER_KEY,
    COL_APPROVER_SIGNATURE,
    COL_RELEASED,
    COL_KEY_ID,
    COL_RELEASE_SIGNATURE,
    COL_CANCELLED,
    COL_MQTT_ACKED,
    COL_FINISHED,
    COL_REFUSED,
    COL_LANGUAGES, /* and the text arrays after it, in the order of the struct */
};

const char broadcast_load_sql[] = SELECT_BROADCAST " WHERE b.id = $1";

/* Copies a bytea of exactly this length; false (and out untouched) when it is null or another. */
static bool get_exactly(const PGresult *res, int row, int col, uint8_t *out, size_t len)
{
    size_t got = 0;
    const void *data = db_get_bytes(res, row, col, &got);

    if (data == NULL || got != len)
        return false;
    memcpy(out, data, len);
    return true;
}

static bool decode_signature(const char *hex, struct broadcast_text *text)
{
    if (hex[0] == '\0')
        return true; /* a draft */
    if (strlen(hex) != 2 * ED25519_SIGNATURE_LEN)
        return false;
    for (size_t i = 0; i < ED25519_SIGNATURE_LEN; i++)
        text->signature[i] =
            (uint8_t)(g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]));
    text->is_signed = true;
    return true;
}

static bool decode_texts(struct broadcast *b, const PGresult *res, int row)
{
    char **columns[7];
    bool ok;

    for (int i = 0; i < 7; i++)
        columns[i] = db_get_text_array(res, row, COL_LANGUAGES + i);
    ok = columns[0] != NULL && g_strv_length(columns[0]) <= BROADCAST_LANGUAGES_MAX;
    for (size_t i = 0; ok && columns[0][i] != NULL; i++) {
        struct broadcast_text *text = broadcast_text_add(b, columns[0][i]);
        broadcast_set(&text->title, columns[1][i]);
        broadcast_set(&text->body, columns[2][i]);
        broadcast_set(&text->instruction, columns[3][i]);
        broadcast_set(&text->correction_title, columns[4][i]);
        broadcast_set(&text->correction_body, columns[5][i]);
        ok = decode_signature(columns[6][i], text);
    }
    for (int i = 0; i < 7; i++)
        g_strfreev(columns[i]);
    return ok && broadcast_text_find(b, "vi") != NULL;
}

/* The enum columns; false for a word that this version of Loa does not know. */
static bool decode_words(struct broadcast *b, const PGresult *res, int row)
{
    static const char *const types[] = {"alert", "cancel", NULL};
    int type = broadcast_word(types, db_get_text(res, row, COL_TYPE));
    int realm = broadcast_word(broadcast_realm_words, db_get_text(res, row, COL_REALM));
    int kind = broadcast_word(broadcast_kind_words, db_get_text(res, row, COL_KIND));
    int level = broadcast_word(broadcast_level_words, db_get_text(res, row, COL_LEVEL));
    int cls = broadcast_word(broadcast_class_words, db_get_text(res, row, COL_CLASS));
    int state = broadcast_word(broadcast_state_words, db_get_text(res, row, COL_STATE));
    int scope = broadcast_word(broadcast_scope_words, db_get_text(res, row, COL_SCOPE));

    if (type < 0 || realm < 0 || kind < 0 || level < 0 || cls < 0 || state < 0 || scope < 0)
        return false;
    b->type = type == 0 ? MESSAGE_ALERT : MESSAGE_CANCEL;
    b->realm = (enum broadcast_realm)realm;
    b->kind = (enum broadcast_kind)kind;
    b->level = (enum broadcast_level)level;
    b->cls = (enum broadcast_class)cls;
    b->state = (enum broadcast_state)state;
    b->scope = (enum broadcast_scope)scope;
    return true;
}

static bool decode_people(struct broadcast *b, const PGresult *res, int row)
{
    b->creator_id = db_get_i64(res, row, COL_CREATOR);
    broadcast_set(&b->creator_name, db_get_text(res, row, COL_CREATOR_NAME));
    b->approver_id = db_get_i64(res, row, COL_APPROVER);
    broadcast_set(&b->approver_name, db_get_text(res, row, COL_APPROVER_NAME));
    broadcast_set(&b->key_id, db_get_text(res, row, COL_KEY_ID));
    b->has_release_signature =
        get_exactly(res, row, COL_RELEASE_SIGNATURE, b->release_signature, ED25519_SIGNATURE_LEN);
    return get_exactly(res, row, COL_HASH, b->content_hash, SHA256_LEN) &&
           get_exactly(res, row, COL_CREATOR_KEY, b->creator_key, ED25519_KEY_LEN) &&
           get_exactly(res, row, COL_CREATOR_SIGNATURE, b->creator_signature,
                       ED25519_SIGNATURE_LEN) &&
           (b->approver_id == 0 ||
            (get_exactly(res, row, COL_APPROVER_KEY, b->approver_key, ED25519_KEY_LEN) &&
             get_exactly(res, row, COL_APPROVER_SIGNATURE, b->approver_signature,
                         ED25519_SIGNATURE_LEN))) &&
           (b->has_release_signature || db_is_null(res, row, COL_RELEASE_SIGNATURE));
}

static void decode_times(struct broadcast *b, const PGresult *res, int row)
{
    b->expires_utc_us = db_get_utc_us(res, row, COL_EXPIRES);
    b->created_utc_us = db_get_utc_us(res, row, COL_CREATED);
    b->released_utc_us = db_get_utc_us(res, row, COL_RELEASED);
    b->cancelled_utc_us = db_get_utc_us(res, row, COL_CANCELLED);
    b->mqtt_acked_utc_us = db_get_utc_us(res, row, COL_MQTT_ACKED);
    b->finished_utc_us = db_get_utc_us(res, row, COL_FINISHED);
    b->refused_utc_us = db_get_utc_us(res, row, COL_REFUSED);
}

struct broadcast *broadcast_decode(const PGresult *res, int row, GError **error)
{
    loa_auto(broadcast) b = broadcast_new();
    char **communes = db_get_text_array(res, row, COL_COMMUNES);

    b->id = db_get_i64(res, row, COL_ID);
    broadcast_set(&b->alert_id, db_get_text(res, row, COL_ALERT_ID));
    b->version = (int)db_get_i64(res, row, COL_VERSION);
    b->corrects = db_get_i64(res, row, COL_CORRECTS);
    broadcast_set(&b->url, db_get_text(res, row, COL_URL));
    broadcast_set(&b->source_document, db_get_text(res, row, COL_SOURCE));
    b->receipt_window_s = db_get_i64(res, row, COL_WINDOW);
    decode_times(b, res, row);
    if (communes != NULL) {
        g_strfreev(b->communes);
        b->communes = communes;
    }
    if (!decode_words(b, res, row) || !decode_people(b, res, row) || !decode_texts(b, res, row)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                    "the row of broadcast %" PRId64 " was not written by Loa", b->id);
        return NULL;
    }
    g_free(b->areas);
    b->areas =
        b->scope == BROADCAST_TOAN_TINH ? g_strdup("toan_tinh") : g_strjoinv(",", b->communes);
    return g_steal_pointer(&b);
}

struct broadcast *broadcast_load(struct db *db, int64_t id, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, id);
    res = db_query(db, broadcast_load_sql, params, error);
    if (res == NULL)
        return NULL;
    if (PQntuples(res) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "no broadcast %" PRId64, id);
        return NULL;
    }
    return broadcast_decode(res, 0, error);
}

struct broadcast *broadcast_load_locked(struct db *db, int64_t id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    if (!db_exec(db, "SELECT 1 FROM broadcast WHERE id = $1 FOR UPDATE", params, error))
        return NULL;
    return broadcast_load(db, id, error);
}

bool broadcast_store_now(struct db *db, int64_t *out_utc_us, GError **error)
{
    g_autoptr(PGresult) res = db_query(db, "SELECT now()", NULL, error);

    if (res == NULL)
        return false;
    *out_utc_us = db_get_utc_us(res, 0, 0);
    return true;
}

bool broadcast_store_check_communes(struct db *db, const struct broadcast *b, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text_array(params, (const char *const *)b->communes, g_strv_length(b->communes));
    res = db_query(db,
                   "SELECT string_agg(code, ', ' ORDER BY code) FROM unnest($1::text[]) AS code"
                   " WHERE NOT EXISTS (SELECT FROM commune c WHERE c.code = code.code)",
                   params, error);
    if (res == NULL)
        return false;
    if (!db_is_null(res, 0, 0)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "communes: unknown codes: %s; etc/areas.csv lists the known ones",
                    db_get_text(res, 0, 0));
        return false;
    }
    return true;
}

bool broadcast_store_resolve(struct db *db, const char *text, int64_t *out_id, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text(params, text);
    res = db_query(db,
                   "SELECT id FROM broadcast WHERE id::text = $1"
                   " OR (alert_id = $1 AND version = 1) LIMIT 1",
                   params, error);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "no broadcast \"%s\"", text);
        return false;
    }
    *out_id = db_get_i64(res, 0, 0);
    return true;
}

bool broadcast_store_find_key(struct db *db, const uint8_t create_key[SHA256_LEN], int64_t *out_id,
                              GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_bytes(params, create_key, SHA256_LEN);
    res = db_query(db, "SELECT id FROM broadcast WHERE create_key = $1", params, error);
    if (res == NULL)
        return false;
    *out_id = PQntuples(res) > 0 ? db_get_i64(res, 0, 0) : 0;
    return true;
}

bool broadcast_store_find_duplicate(struct db *db, const struct broadcast *b, int64_t since_utc_us,
                                    char **out_alert_id, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text(params, broadcast_text_find(b, "vi")->title);
    if (!db_exec(db, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", params, error))
        return false;
    params = db_params_new();
    db_param_text(params, broadcast_text_find(b, "vi")->title);
    db_param_text(params, broadcast_realm_name(b->realm));
    db_param_utc_us(params, since_utc_us);
    db_param_i64(params, b->id);
    res = db_query(db,
                   "SELECT b.alert_id FROM broadcast b JOIN broadcast_text t"
                   " ON t.broadcast_id = b.id AND t.language = 'vi' AND t.title = $1"
                   " WHERE b.realm = $2 AND b.released_at > $3 AND b.id <> $4"
                   " AND b.state = 'released' AND b.message_type = 'alert'"
                   " ORDER BY b.id DESC LIMIT 1",
                   params, error);
    if (res == NULL)
        return false;
    *out_alert_id = PQntuples(res) > 0 ? g_strdup(db_get_text(res, 0, 0)) : NULL;
    return true;
}

bool broadcast_store_audience(struct db *db, const struct broadcast *b, int64_t stale_days,
                              struct broadcast_audience *out, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_text(params, broadcast_realm_name(b->realm));
    db_param_text_array(params, (const char *const *)b->communes, g_strv_length(b->communes));
    db_param_i64(params, stale_days);
    res = db_query(db,
                   "SELECT count(*) FILTER (WHERE channel = 'fcm'),"
                   " count(*) FILTER (WHERE channel = 'apns'),"
                   " count(*) FILTER (WHERE channel = 'mqtt'),"
                   " count(*) FILTER (WHERE last_seen_at < now() - make_interval(days =>"
                   "   $3::integer))"
                   " FROM device WHERE realm = $1 AND channel <> 'none'"
                   " AND (cardinality($2::text[]) = 0 OR commune = ANY ($2))",
                   params, error);
    if (res == NULL)
        return false;
    *out = (struct broadcast_audience){.fcm = db_get_i64(res, 0, 0),
                                       .apns = db_get_i64(res, 0, 1),
                                       .mqtt = db_get_i64(res, 0, 2),
                                       .stale = db_get_i64(res, 0, 3)};
    return true;
}

static void free_item(void *item)
{
    broadcast_free(item);
}

GPtrArray *broadcast_store_list(struct db *db, int limit, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(free_item);

    db_param_i32(params, limit);
    res = db_query(db, SELECT_BROADCAST " ORDER BY b.id DESC LIMIT $1", params, error);
    if (res == NULL)
        return NULL;
    for (int row = 0; row < PQntuples(res); row++) {
        g_autoptr(GError) cause = NULL;
        struct broadcast *b = broadcast_decode(res, row, &cause);
        if (b != NULL)
            g_ptr_array_add(list, b);
        else
            log_event(LOG_LEVEL_WARN, "broadcast_unreadable", LOG_STR("error", cause->message));
    }
    return g_steal_pointer(&list);
}
