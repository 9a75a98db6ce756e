/* Public keys that may release, read from PEM files. An Ed25519 SubjectPublicKeyInfo (RFC 8410 §4)
 * is always the same 12 bytes followed by the key, so no ASN.1 parser is needed. */
#include <string.h>

#include "base/error.h"
#include "engine/release.h"

#define PEM_BEGIN    "-----BEGIN PUBLIC KEY-----"
#define PEM_END      "-----END PUBLIC KEY-----"
#define PEM_FILE_MAX 4096

static const uint8_t spki_prefix[12] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                        0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

struct release_keys {
    size_t n;
    uint8_t keys[][ED25519_KEY_LEN];
};

struct release_keys *release_keys_new(const uint8_t (*keys)[ED25519_KEY_LEN], size_t n)
{
    struct release_keys *set = g_malloc0(sizeof(*set) + n * ED25519_KEY_LEN);

    set->n = n;
    if (n > 0)
        memcpy(set->keys, keys, n * ED25519_KEY_LEN);
    return set;
}

void release_keys_free(struct release_keys *keys)
{
    g_free(keys);
}

size_t release_keys_count(const struct release_keys *keys)
{
    return keys->n;
}

const uint8_t *release_keys_get(const struct release_keys *keys, size_t n)
{
    return keys->keys[n];
}

char *release_public_pem(const uint8_t key[ED25519_KEY_LEN])
{
    uint8_t der[sizeof(spki_prefix) + ED25519_KEY_LEN];
    g_autofree char *base64 = NULL;

    memcpy(der, spki_prefix, sizeof(spki_prefix));
    memcpy(der + sizeof(spki_prefix), key, ED25519_KEY_LEN);
    base64 = g_base64_encode(der, sizeof(der));
    return g_strdup_printf(PEM_BEGIN "\n%s\n" PEM_END "\n", base64);
}

bool release_public_from_pem(const char *pem, uint8_t out[ED25519_KEY_LEN], GError **error)
{
    g_autofree char *copy = g_strstrip(g_strndup(pem, PEM_FILE_MAX));
    g_autofree guchar *der = NULL;
    gsize len = 0;

    if (strlen(copy) >= strlen(PEM_BEGIN PEM_END) && g_str_has_prefix(copy, PEM_BEGIN) &&
        g_str_has_suffix(copy, PEM_END)) {
        g_autofree char *base64 =
            g_strndup(copy + strlen(PEM_BEGIN), strlen(copy) - strlen(PEM_BEGIN) - strlen(PEM_END));
        der = g_base64_decode(base64, &len);
    }
    if (len != sizeof(spki_prefix) + ED25519_KEY_LEN ||
        memcmp(der, spki_prefix, sizeof(spki_prefix)) != 0) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            "not the PEM of one Ed25519 public key");
        return false;
    }
    memcpy(out, der + sizeof(spki_prefix), ED25519_KEY_LEN);
    return true;
}

struct release_keys *release_keys_load(const char *const *paths, GError **error)
{
    size_t n = g_strv_length((char **)paths);
    struct release_keys *set = g_malloc0(sizeof(*set) + n * ED25519_KEY_LEN);

    set->n = n;
    for (size_t i = 0; i < n; i++) {
        g_autofree char *pem = NULL;
        g_autoptr(GError) cause = NULL;
        if (!g_file_get_contents(paths[i], &pem, NULL, &cause)) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "release key: %s", cause->message);
            release_keys_free(set);
            return NULL;
        }
        if (!release_public_from_pem(pem, set->keys[i], error)) {
            g_prefix_error(error, "%s: ", paths[i]);
            release_keys_free(set);
            return NULL;
        }
    }
    return set;
}
