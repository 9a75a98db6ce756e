/* Canonical bytes of a broadcast's content and release, their signatures and the verification.
 * Every field is length-prefixed, so that no two broadcasts have the same bytes. */
#include "engine/release.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

static void put_bytes(GByteArray *out, const void *data, size_t len)
{
    uint32_t len_be = GUINT32_TO_BE((uint32_t)len);

    g_byte_array_append(out, (const guint8 *)&len_be, sizeof(len_be));
    g_byte_array_append(out, data, (guint)len);
}

static void put_text(GByteArray *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

static void put_number(GByteArray *out, int64_t number)
{
    char text[24];

    g_snprintf(text, sizeof(text), "%" PRId64, number);
    put_text(out, text);
}

static GByteArray *start(const char *domain)
{
    GByteArray *out = g_byte_array_sized_new(2048);

    g_byte_array_append(out, (const guint8 *)domain, (guint)strlen(domain));
    return out;
}

/* What content and manifest have in common: which alert, to whom, for how long. */
static void put_head(GByteArray *out, const struct broadcast *b)
{
    put_text(out, b->alert_id);
    put_number(out, b->version);
    put_text(out, message_type_name(b->type));
    put_number(out, b->corrects);
    put_text(out, broadcast_realm_name(b->realm));
    put_text(out, broadcast_kind_name(b->kind));
    put_text(out, broadcast_level_name(b->level));
    put_text(out, broadcast_scope_name(b->scope));
    put_number(out, g_strv_length(b->communes));
    for (size_t i = 0; b->communes[i] != NULL; i++)
        put_text(out, b->communes[i]);
    put_text(out, b->url);
    put_text(out, b->source_document);
    put_number(out, b->expires_utc_us);
    put_number(out, b->receipt_window_s);
    put_number(out, b->texts->len);
}

void release_content_hash(const struct broadcast *b, uint8_t out[SHA256_LEN])
{
    g_autoptr(GByteArray) bytes = start("loa-content-v1");

    put_head(bytes, b);
    for (guint i = 0; i < b->texts->len; i++) {
        const struct broadcast_text *text = b->texts->pdata[i];
        put_text(bytes, text->language);
        put_text(bytes, text->title);
        put_text(bytes, text->body);
        put_text(bytes, text->instruction);
        put_text(bytes, text->correction_title);
        put_text(bytes, text->correction_body);
    }
    crypto_sha256(bytes->data, bytes->len, out);
}

static GByteArray *act_bytes(enum release_act act, const uint8_t content_hash[SHA256_LEN])
{
    GByteArray *bytes = start(act == RELEASE_ACT_CREATE ? "loa-create-v1" : "loa-approve-v1");

    put_bytes(bytes, content_hash, SHA256_LEN);
    return bytes;
}

void release_sign_act(enum release_act act, const uint8_t content_hash[SHA256_LEN],
                      const struct signing_key *key, uint8_t out[ED25519_SIGNATURE_LEN])
{
    g_autoptr(GByteArray) bytes = act_bytes(act, content_hash);

    signing_key_sign(key, bytes->data, bytes->len, out);
}

bool release_verify_act(enum release_act act, const uint8_t content_hash[SHA256_LEN],
                        const uint8_t public_key[ED25519_KEY_LEN],
                        const uint8_t signature[ED25519_SIGNATURE_LEN])
{
    g_autoptr(GByteArray) bytes = act_bytes(act, content_hash);

    return ed25519_verify(public_key, bytes->data, bytes->len, signature);
}

static GByteArray *text_bytes(const struct broadcast *b, const struct broadcast_text *text)
{
    struct message message;

    broadcast_message(b, text->language, &message);
    return message_canonical_bytes(&message);
}

GByteArray *release_manifest(const struct broadcast *b)
{
    GByteArray *out = start("loa-release-v1");

    put_number(out, b->id);
    put_head(out, b);
    put_text(out, broadcast_class_name(b->cls));
    put_number(out, b->released_utc_us);
    put_text(out, b->key_id);
    put_bytes(out, b->content_hash, SHA256_LEN);
    put_number(out, b->creator_id);
    put_bytes(out, b->creator_key, ED25519_KEY_LEN);
    put_bytes(out, b->creator_signature, ED25519_SIGNATURE_LEN);
    put_number(out, b->approver_id);
    put_bytes(out, b->approver_key, ED25519_KEY_LEN);
    put_bytes(out, b->approver_signature, ED25519_SIGNATURE_LEN);
    for (guint i = 0; i < b->texts->len; i++) {
        const struct broadcast_text *text = b->texts->pdata[i];
        g_autoptr(GByteArray) bytes = text_bytes(b, text);
        uint8_t hash[SHA256_LEN];
        crypto_sha256(bytes->data, bytes->len, hash);
        put_text(out, text->language);
        put_bytes(out, hash, sizeof(hash));
    }
    return out;
}

void release_sign(struct broadcast *b, const struct signing_key *key)
{
    g_autoptr(GByteArray) manifest = release_manifest(b);

    assert(b->released_utc_us > 0 && b->key_id[0] != '\0');
    for (guint i = 0; i < b->texts->len; i++) {
        struct broadcast_text *text = b->texts->pdata[i];
        g_autoptr(GByteArray) bytes = text_bytes(b, text);
        signing_key_sign(key, bytes->data, bytes->len, text->signature);
        text->is_signed = true;
    }
    signing_key_sign(key, manifest->data, manifest->len, b->release_signature);
    b->has_release_signature = true;
}

static bool refuse(GError **error, const struct broadcast *b, const char *what)
{
    g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED, "broadcast %" PRId64 " is not genuine: %s",
                b->id, what);
    return false;
}

/* Any of the keys may have signed; all signatures of one broadcast must come from the same one. */
static const uint8_t *signer(const struct release_keys *keys, const void *data, size_t len,
                             const uint8_t signature[ED25519_SIGNATURE_LEN])
{
    for (size_t i = 0; i < release_keys_count(keys); i++)
        if (ed25519_verify(release_keys_get(keys, i), data, len, signature))
            return release_keys_get(keys, i);
    return NULL;
}

static bool people_signed(const struct broadcast *b, GError **error)
{
    if (!release_verify_act(RELEASE_ACT_CREATE, b->content_hash, b->creator_key,
                            b->creator_signature))
        return refuse(error, b, "the creator's signature is wrong");
    if (b->type == MESSAGE_CANCEL)
        return true; /* taking back needs one person */
    if (b->approver_id == 0)
        return refuse(error, b, "nobody approved it");
    if (b->approver_id == b->creator_id ||
        memcmp(b->approver_key, b->creator_key, ED25519_KEY_LEN) == 0)
        return refuse(error, b, "creator and approver are the same");
    if (!release_verify_act(RELEASE_ACT_APPROVE, b->content_hash, b->approver_key,
                            b->approver_signature))
        return refuse(error, b, "the approver's signature is wrong");
    return true;
}

bool release_verify(const struct broadcast *b, const struct release_keys *keys, GError **error)
{
    g_autoptr(GByteArray) manifest = NULL;
    const uint8_t *key;
    uint8_t hash[SHA256_LEN];

    if ((b->state != BROADCAST_RELEASED && b->state != BROADCAST_CANCELLED) ||
        b->released_utc_us == 0)
        return refuse(error, b, "it was not released");
    if (!b->has_release_signature)
        return refuse(error, b, "it has no release signature");
    if (b->texts->len == 0 || broadcast_text_find(b, "vi") == NULL)
        return refuse(error, b, "it has no Vietnamese text");
    if (b->cls != broadcast_class_of(b->realm, b->kind, b->level))
        return refuse(error, b, "its class does not follow from its level");
    if ((b->type == MESSAGE_CANCEL) != (b->corrects != 0) || b->type == MESSAGE_NOTICE)
        return refuse(error, b, "its type and what it corrects disagree");
    manifest = release_manifest(b);
    key = signer(keys, manifest->data, manifest->len, b->release_signature);
    if (key == NULL)
        return refuse(error, b, "the release signature is wrong");
    release_content_hash(b, hash);
    if (!crypto_equal(hash, b->content_hash, sizeof(hash)))
        return refuse(error, b, "its content is not what was signed");
    if (!people_signed(b, error))
        return false;
    for (guint i = 0; i < b->texts->len; i++) {
        const struct broadcast_text *text = b->texts->pdata[i];
        g_autoptr(GByteArray) bytes = text_bytes(b, text);
        if (!text->is_signed || !ed25519_verify(key, bytes->data, bytes->len, text->signature))
            return refuse(error, b, "the signature of a text is wrong");
    }
    return true;
}
