/* base64url(HMAC-SHA256(key, "loa-device-v1" || device id || ":" || generation)). */
#include "engine/device_secret.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/error.h"

/* Of 32 random bytes: secret_file_read takes a final newline byte for a line's end. */
#define KEY_MIN 31
#define KEY_MAX 256

struct device_secret_key {
    size_t len;
    uint8_t bytes[KEY_MAX];
};

struct device_secret_key *device_secret_key_new(const uint8_t *bytes, size_t len)
{
    struct device_secret_key *key = g_new0(struct device_secret_key, 1);

    key->len = MIN(len, KEY_MAX);
    memcpy(key->bytes, bytes, key->len);
    return key;
}

void device_secret_key_free(struct device_secret_key *key)
{
    if (key == NULL)
        return;
    explicit_bzero(key, sizeof(*key));
    g_free(key);
}

struct device_secret_key *device_secret_key_load(const char *path, GError **error)
{
    struct device_secret_key *key = NULL;
    char *bytes = NULL;
    size_t len = 0;

    if (path[0] == '\0') {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "[device] secret_key_file is not set: make one with `loa keys create`");
        return NULL;
    }
    if (!secret_file_read(path, KEY_MAX, &bytes, &len, error))
        return NULL;
    if (len < KEY_MIN)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %zu bytes, at least %d are needed",
                    path, len, KEY_MIN);
    else
        key = device_secret_key_new((const uint8_t *)bytes, len);
    explicit_bzero(bytes, len);
    g_free(bytes);
    return key;
}

void device_secret_make(const struct device_secret_key *key, int64_t device_id, int generation,
                        char out[DEVICE_SECRET_MAX])
{
    char text[64];
    uint8_t mac[SHA256_LEN];
    int len = g_snprintf(text, sizeof(text), "loa-device-v1%" PRId64 ":%d", device_id, generation);

    crypto_hmac_sha256(key->bytes, key->len, text, (size_t)len, mac);
    g_autofree char *encoded = crypto_base64url(mac, sizeof(mac));
    g_snprintf(out, DEVICE_SECRET_MAX, "%d.%s", generation, encoded);
    explicit_bzero(encoded, strlen(encoded));
    explicit_bzero(mac, sizeof(mac));
}

bool device_secret_check(const struct device_secret_key *key, int64_t device_id, const char *text,
                         int *out_generation)
{
    char wanted[DEVICE_SECRET_MAX];
    char *end;
    long generation;
    bool equal;

    if (strlen(text) >= DEVICE_SECRET_MAX || !g_ascii_isdigit(text[0]))
        return false;
    errno = 0;
    generation = strtol(text, &end, 10);
    if (errno != 0 || *end != '.' || generation < 1 || generation > INT32_MAX)
        return false;
    device_secret_make(key, device_id, (int)generation, wanted);
    /* Lengths are no secret; a leading zero makes the texts differ. */
    equal = strlen(wanted) == strlen(text) && crypto_equal(wanted, text, strlen(text));
    explicit_bzero(wanted, sizeof(wanted));
    if (equal)
        *out_generation = (int)generation;
    return equal;
}
