/* libsodium does the cryptography (constant time, few ways to go wrong); OpenSSL only reads and
 * writes the PEM of a signing key. Private halves live in struct signing_key and are wiped with it.
 */
#include "base/crypto.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define KEY_PEM_MAX 4096

struct signing_key {
    uint8_t public_half[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
};

static_assert(crypto_sign_PUBLICKEYBYTES == ED25519_KEY_LEN, "Ed25519 public key");
static_assert(crypto_sign_SEEDBYTES == ED25519_KEY_LEN, "Ed25519 seed");
static_assert(crypto_sign_BYTES == ED25519_SIGNATURE_LEN, "Ed25519 signature");
static_assert(crypto_hash_sha256_BYTES == SHA256_LEN, "SHA-256");

void crypto_init(void)
{
    if (sodium_init() < 0)
        g_error("libsodium cannot start");
}

void crypto_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void crypto_sha256(const void *data, size_t len, uint8_t out[SHA256_LEN])
{
    crypto_hash_sha256(out, data, len);
}

void crypto_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                        uint8_t out[SHA256_LEN])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, data, len);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

char *crypto_base64url(const void *data, size_t len)
{
    size_t max = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = g_malloc(max);
    return sodium_bin2base64(text, max, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool crypto_base64url_decode(const char *text, uint8_t *out, size_t out_max, size_t *out_len)
{
    size_t len;
    if (sodium_base642bin(out, out_max, text, strlen(text), NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return false;
    *out_len = len;
    return true;
}

static struct signing_key *key_from_seed(const uint8_t seed[ED25519_KEY_LEN])
{
    struct signing_key *key = g_new0(struct signing_key, 1);
    crypto_sign_seed_keypair(key->public_half, key->secret, seed);
    return key;
}

/* PKCS#8 PEM of a seed in a memory BIO whose buffer is wiped by the caller; NULL on failure. */
static BIO *seed_to_pem(const uint8_t seed[ED25519_KEY_LEN])
{
    BIO *bio = BIO_new(BIO_s_secmem());
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_KEY_LEN);
    bool ok = bio != NULL && pkey != NULL &&
              PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1;
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    if (ok)
        return bio;
    BIO_free(bio);
    return NULL;
}

/* A file that did not exist before, 0600, on disk when this returns. */
static bool write_new_file(const char *path, const char *data, size_t len, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        int code = errno == EEXIST ? LOA_ERROR_CONFLICT : LOA_ERROR_INVALID;
        g_set_error(error, LOA_ERROR, code, "%s: %s", path, g_strerror(errno));
        return false;
    }
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    bool ok = done == len && fsync(fd) == 0;
    int saved = errno;
    ok = close(fd) == 0 && ok;
    if (ok)
        return true;
    unlink(path);
    g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "%s: not written: %s", path, g_strerror(saved));
    return false;
}

bool signing_key_create(const char *path, uint8_t out_public[ED25519_KEY_LEN], GError **error)
{
    uint8_t seed[ED25519_KEY_LEN];
    randombytes_buf(seed, sizeof seed);
    BIO *bio = seed_to_pem(seed);
    if (bio == NULL) {
        sodium_memzero(seed, sizeof seed);
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INTERNAL, "OpenSSL cannot write a key");
        return false;
    }
    char *pem = NULL;
    long len = BIO_get_mem_data(bio, &pem);
    bool ok = write_new_file(path, pem, (size_t)len, error);
    if (ok) {
        loa_auto(signing_key) key = key_from_seed(seed);
        memcpy(out_public, key->public_half, ED25519_KEY_LEN);
    }
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(pem, (size_t)len);
    BIO_free(bio);
    return ok;
}

/* A key file is read by a service: never ask a terminal for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *user)
{
    (void)buf, (void)size, (void)writing, (void)user;
    return -1;
}

struct signing_key *signing_key_load(const char *path, GError **error)
{
    char *pem = NULL;
    size_t len = 0;
    if (!secret_file_read(path, KEY_PEM_MAX, &pem, &len, error))
        return NULL;
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    uint8_t seed[ED25519_KEY_LEN];
    size_t seed_len = sizeof seed;
    struct signing_key *key = NULL;
    if (pkey != NULL && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519 &&
        EVP_PKEY_get_raw_private_key(pkey, seed, &seed_len) == 1 && seed_len == sizeof seed)
        key = key_from_seed(seed);
    else
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "%s: not an Ed25519 private key (PKCS#8 PEM without passphrase)", path);
    sodium_memzero(seed, sizeof seed);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    ERR_clear_error();
    sodium_memzero(pem, len);
    g_free(pem);
    return key;
}

void signing_key_free(struct signing_key *key)
{
    if (key == NULL)
        return;
    sodium_memzero(key, sizeof *key);
    g_free(key);
}

void signing_key_public(const struct signing_key *key, uint8_t out[ED25519_KEY_LEN])
{
    memcpy(out, key->public_half, ED25519_KEY_LEN);
}

void signing_key_sign(const struct signing_key *key, const void *data, size_t len,
                      uint8_t out[ED25519_SIGNATURE_LEN])
{
    crypto_sign_detached(out, NULL, data, len, key->secret);
}

bool ed25519_verify(const uint8_t public_key[ED25519_KEY_LEN], const void *data, size_t len,
                    const uint8_t signature[ED25519_SIGNATURE_LEN])
{
    return crypto_sign_verify_detached(signature, data, len, public_key) == 0;
}

/* Only the owner may read a secret; one that root owns may also be readable by its group (Debian's
 * root:loa 0640). */
static bool private_enough(const struct stat *st)
{
    mode_t forbidden = st->st_uid == 0 ? S_IRWXO | S_IWGRP | S_IXGRP : S_IRWXO | S_IRWXG;
    return (st->st_mode & forbidden) == 0;
}

/* Reads at most max + 1 bytes, to see a file that is too long. */
static ssize_t read_all(int fd, char *buf, size_t max)
{
    size_t done = 0;
    while (done < max + 1) {
        ssize_t n = read(fd, buf + done, max + 1 - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Length without the line end that editors add; random bytes that happen to end in 0x0a stay. */
static size_t cut_newline(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (!g_ascii_isprint(c) && c != '\n' && c != '\r' && c != '\t')
            return len;
    }
    while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
        len--;
    return len;
}

static int open_secret(const char *path, GError **error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us */
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = errno == ENOENT   ? LOA_ERROR_NOT_FOUND
                   : errno == EACCES ? LOA_ERROR_DENIED
                                     : LOA_ERROR_INVALID;
        g_set_error(error, LOA_ERROR, code, "%s: %s", path, g_strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: not a regular file", path);
    } else if (!private_enough(&st)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED,
                    "%s: mode %04o lets others read this secret; chmod 600 it", path,
                    (unsigned)st.st_mode & 07777);
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

bool secret_file_read(const char *path, size_t max, char **out, size_t *out_len, GError **error)
{
    int fd = open_secret(path, error);
    if (fd < 0)
        return false;
    char *buf = g_malloc(max + 2);
    ssize_t n = read_all(fd, buf, max);
    int saved = errno;
    close(fd);
    if (n < 0 || (size_t)n > max) {
        if (n < 0)
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %s", path, g_strerror(saved));
        else
            g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "%s: longer than %zu bytes", path, max);
        sodium_memzero(buf, max + 2);
        g_free(buf);
        return false;
    }
    size_t len = cut_newline(buf, (size_t)n);
    buf[len] = '\0';
    *out = buf;
    *out_len = len;
    return true;
}
