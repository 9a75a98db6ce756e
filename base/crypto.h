/* Signatures, MACs and JWTs. OpenSSL, libsodium and libcjose are included only in crypto.c and
 * jwt.c. Keys are files; secrets are wiped. */
#ifndef LOA_BASE_CRYPTO_H
#define LOA_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#define ED25519_KEY_LEN 32
#define ED25519_SIGNATURE_LEN 64
#define SHA256_LEN 32

/* Once per process, before anything below. Aborts when libsodium cannot start. */
void crypto_init(void);

void crypto_random(void *out, size_t len);
void crypto_sha256(const void *data, size_t len, uint8_t out[SHA256_LEN]);
void crypto_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                        uint8_t out[SHA256_LEN]);
/* Constant time. */
bool crypto_equal(const void *a, const void *b, size_t len);
/* base64url without padding (RFC 4648 §5). Encode: owned. Decode: INVALID on any foreign byte. */
char *crypto_base64url(const void *data, size_t len);
bool crypto_base64url_decode(const char *text, uint8_t *out, size_t out_max, size_t *out_len);

/* An Ed25519 private key (PKCS#8 PEM file). Owned; wiped by free. */
struct signing_key;
/* Writes a new key to path (0600, must not exist) and returns its public half. */
bool signing_key_create(const char *path, uint8_t out_public[ED25519_KEY_LEN], GError **error);
/* Refuses (DENIED) a file that others may read. */
struct signing_key *signing_key_load(const char *path, GError **error);
void signing_key_free(struct signing_key *key);
LOA_AUTO_DEFINE(signing_key, signing_key_free)
void signing_key_public(const struct signing_key *key, uint8_t out[ED25519_KEY_LEN]);
void signing_key_sign(const struct signing_key *key, const void *data, size_t len,
                      uint8_t out[ED25519_SIGNATURE_LEN]);
bool ed25519_verify(const uint8_t public_key[ED25519_KEY_LEN], const void *data, size_t len,
                    const uint8_t signature[ED25519_SIGNATURE_LEN]);

/* Reads a small secret file (at most max bytes, trailing newline cut). DENIED when others may
 * read it. The buffer is owned; wipe with explicit_bzero before g_free. */
bool secret_file_read(const char *path, size_t max, char **out, size_t *out_len, GError **error);

/* Compact JWS (RFC 7515) over claims_json; alg is "RS256" or "ES256", key a PKCS#8 PEM. kid may be
 * NULL; typ adds "typ":"JWT". Owned string. */
char *jwt_sign(const char *alg, const char *kid, const char *pem, const char *claims_json,
               GError **error);
/* Verifies a compact JWS with a public key PEM and exactly this alg; returns the claims JSON,
 * owned. DENIED when the signature, alg or form is wrong. */
char *jwt_verify(const char *alg, const char *public_pem, const char *token, char **out_kid,
                 GError **error);

#endif
