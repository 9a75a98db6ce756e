/* SQL of broadcasts: writing, always inside the caller's transaction. */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "engine/broadcast_store.h"

static bool insert_text(struct db *db, int64_t id, const struct broadcast_text *text,
                        GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    db_param_text(params, text->language);
    db_param_text(params, text->title);
    db_param_text(params, text->body);
    db_param_text(params, text->instruction);
    db_param_text(params, text->correction_title);
    db_param_text(params, text->correction_body);
    db_param_bytes(params, text->is_signed ? text->signature : NULL, ED25519_SIGNATURE_LEN);
    return db_exec(db,
                   "INSERT INTO broadcast_text (broadcast_id, language, title, body, instruction,"
                   " correction_title, correction_body, signature)"
                   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                   params, error);
}

static bool insert_texts(struct db *db, const struct broadcast *b, GError **error)
{
    for (guint i = 0; i < b->texts->len; i++)
        if (!insert_text(db, b->id, b->texts->pdata[i], error))
            return false;
    return true;
}

/* $1 … $17: what draft and correction have in common. */
#define COMMON_COLUMNS                                                                             \
    "alert_id, version, message_type, realm, kind, level, class, state, area_scope, communes, "    \
    "url,"                                                                                         \
    " source_document, expires_at, receipt_window_s, content_hash, created_by, creator_signature"
#define COMMON_VALUES "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17"

static struct db_params *common_params(const struct broadcast *b, enum broadcast_state state)
{
    struct db_params *params = db_params_new();

    db_param_text(params, b->alert_id);
    db_param_i32(params, b->version);
    db_param_text(params, message_type_name(b->type));
    db_param_text(params, broadcast_realm_name(b->realm));
    db_param_text(params, broadcast_kind_name(b->kind));
    db_param_text(params, broadcast_level_name(b->level));
    db_param_text(params, broadcast_class_name(b->cls));
    db_param_text(params, broadcast_state_name(state));
    db_param_text(params, broadcast_scope_name(b->scope));
    db_param_text_array(params, (const char *const *)b->communes, g_strv_length(b->communes));
    db_param_text(params, b->url);
    db_param_text(params, b->source_document);
    db_param_utc_us(params, b->expires_utc_us);
    db_param_i32(params, (int32_t)b->receipt_window_s);
    db_param_bytes(params, b->content_hash, SHA256_LEN);
    db_param_i64(params, b->creator_id);
    db_param_bytes(params, b->creator_signature, ED25519_SIGNATURE_LEN);
    return params;
}

bool broadcast_store_insert_draft(struct db *db, struct broadcast *b, const uint8_t *create_key,
                                  GError **error)
{
    struct db_params *params = common_params(b, BROADCAST_DRAFT);
    g_autoptr(PGresult) res = NULL;

    db_param_bytes(params, create_key, SHA256_LEN);
    res = db_query(db,
                   "INSERT INTO broadcast (" COMMON_COLUMNS ", create_key) VALUES (" COMMON_VALUES
                   ", $18) RETURNING id, created_at",
                   params, error);
    if (res == NULL)
        return false;
    b->id = db_get_i64(res, 0, 0);
    b->created_utc_us = db_get_utc_us(res, 0, 1);
    return insert_texts(db, b, error);
}

bool broadcast_store_next_id(struct db *db, int64_t *out_id, GError **error)
{
    g_autoptr(PGresult) res =
        db_query(db, "SELECT nextval(pg_get_serial_sequence('broadcast', 'id'))", NULL, error);

    if (res == NULL)
        return false;
    *out_id = db_get_i64(res, 0, 0);
    return true;
}

static bool exec_id(struct db *db, const char *sql, int64_t id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    return db_exec(db, sql, params, error);
}

static bool insert_released(struct db *db, const struct broadcast *b, GError **error)
{
    struct db_params *params = common_params(b, BROADCAST_RELEASED);

    db_param_i64(params, b->id);
    db_param_i64(params, b->corrects);
    db_param_utc_us(params, b->released_utc_us);
    db_param_text(params, b->key_id);
    db_param_bytes(params, b->release_signature, ED25519_SIGNATURE_LEN);
    return db_exec(db,
                   "INSERT INTO broadcast (" COMMON_COLUMNS
                   ", id, corrects, released_at, key_id, release_signature)"
                   " OVERRIDING SYSTEM VALUE VALUES (" COMMON_VALUES ", $18, $19, $20, $21, $22)",
                   params, error) &&
           insert_texts(db, b, error);
}

/* The order matters: the plan is closed first, so that no planner adds chunks behind our back (its
 * write asks for NOT done under the row's lock). The chunks themselves are not locked: their
 * members never change, and locking them would hold up flights that are out. */
static bool copy_chunks(struct db *db, const struct broadcast *correction, GError **error)
{
    struct db_params *params;

    if (!exec_id(db, "UPDATE fanout_plan SET done = true WHERE broadcast_id = $1",
                 correction->corrects, error) ||
        !exec_id(db, "INSERT INTO fanout_plan (broadcast_id, done) VALUES ($1, true)",
                 correction->id, error))
        return false;
    params = db_params_new();
    db_param_i64(params, correction->id);
    db_param_i64(params, correction->corrects);
    return db_exec(db,
                   "INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority,"
                   " members, member_count, communes, member_commune)"
                   " SELECT $1, chunk_no, channel, lane, priority, members, member_count, communes,"
                   " member_commune"
                   " FROM fanout_chunk WHERE broadcast_id = $2",
                   params, error);
}

bool broadcast_store_insert_correction(struct db *db, const struct broadcast *correction,
                                       GError **error)
{
    struct db_params *params;

    assert(correction->corrects != 0 && correction->has_release_signature);
    if (!insert_released(db, correction, error))
        return false;
    params = db_params_new();
    db_param_i64(params, correction->corrects);
    db_param_i64(params, correction->creator_id);
    return db_exec(db,
                   "UPDATE broadcast SET state = 'cancelled', cancelled_by = $2,"
                   " cancelled_at = now() WHERE id = $1",
                   params, error) &&
           copy_chunks(db, correction, error);
}

static bool sign_text(struct db *db, int64_t id, const struct broadcast_text *text, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    db_param_text(params, text->language);
    db_param_bytes(params, text->signature, ED25519_SIGNATURE_LEN);
    return db_exec(
        db, "UPDATE broadcast_text SET signature = $3 WHERE broadcast_id = $1 AND language = $2",
        params, error);
}

bool broadcast_store_release(struct db *db, const struct broadcast *b, GError **error)
{
    struct db_params *params = db_params_new();

    assert(b->has_release_signature);
    db_param_i64(params, b->id);
    db_param_text(params, broadcast_class_name(b->cls));
    db_param_i64(params, b->approver_id);
    db_param_bytes(params, b->approver_signature, ED25519_SIGNATURE_LEN);
    db_param_utc_us(params, b->released_utc_us);
    db_param_text(params, b->key_id);
    db_param_bytes(params, b->release_signature, ED25519_SIGNATURE_LEN);
    if (!db_exec(db,
                 "UPDATE broadcast SET state = 'released', class = $2, approved_by = $3,"
                 " approver_signature = $4, released_at = $5, key_id = $6, release_signature = $7"
                 " WHERE id = $1",
                 params, error))
        return false;
    for (guint i = 0; i < b->texts->len; i++)
        if (!sign_text(db, b->id, b->texts->pdata[i], error))
            return false;
    return exec_id(db, "INSERT INTO fanout_plan (broadcast_id) VALUES ($1)", b->id, error);
}

bool broadcast_store_withdraw(struct db *db, int64_t id, int64_t account_id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    db_param_i64(params, account_id);
    return db_exec(db,
                   "UPDATE broadcast SET state = 'withdrawn', cancelled_by = $2,"
                   " cancelled_at = now() WHERE id = $1",
                   params, error);
}

bool broadcast_store_notify(struct db *db, bool emergency, GError **error)
{
    return db_exec(db,
                   emergency ? "SELECT pg_notify('loa_fanout', 'emergency')"
                             : "SELECT pg_notify('loa_fanout', 'release')",
                   NULL, error);
}
