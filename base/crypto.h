/* Signatures, MACs and JWTs. libsodium is included only in crypto.c, libcjose only in jwt.c,
 * OpenSSL only in those and in tls.c. Keys are files; secrets are wiped. */
#ifndef LOA_BASE_CRYPTO_H
#define LOA_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#define ED25519_KEY_LEN       32
#define ED25519_SIGNATURE_LEN 64
#define SHA256_LEN            32

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

/* Reads a small secret file of at most max bytes (else LIMIT). A trailing newline is cut from text;
 * other bytes stay as they are. NOT_FOUND when it is missing, DENIED when others may read it; a
 * file of root's may also be readable by its group. The buffer is owned and ends with NUL; wipe
 * with explicit_bzero before g_free. */
bool secret_file_read(const char *path, size_t max, char **out, size_t *out_len, GError **error);

/* Compact JWS (RFC 7515) over claims_json, with "typ":"JWT"; alg is "RS256" or "ES256", pem a
 * PKCS#8 key without passphrase (RSA of at least 2048 bits, P-256), kid may be NULL. INVALID when
 * the key does not fit. Owned string. */
char *jwt_sign(const char *alg, const char *kid, const char *pem, const char *claims_json,
               GError **error);
/* Verifies a compact JWS with a public key PEM and exactly this alg; returns the claims JSON
 * (valid UTF-8, not yet parsed), owned. DENIED when the signature, alg or form is wrong or the
 * token is longer than 16 KiB, INVALID when the key does not fit. out_kid: owned, NULL when the
 * token has none; may be NULL. The claims' times are the caller's to check. */
char *jwt_verify(const char *alg, const char *public_pem, const char *token, char **out_kid,
                 GError **error);

#endif
