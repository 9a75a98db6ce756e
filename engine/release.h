/* What makes a broadcast genuine. Three kinds of signature, all Ed25519:
 * - people: creator and approver each sign the content hash under their own account key;
 * - text: the release key signs each language's canonical bytes, for the phones;
 * - release: the release key signs the manifest, for the delivery processes. A row that somebody
 *   inserted or altered in the database has no valid manifest and warns nobody.
 * Pure: no database. docs/architecture.md describes the byte formats. */
#ifndef LOA_ENGINE_RELEASE_H
#define LOA_ENGINE_RELEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/crypto.h"
#include "engine/broadcast.h"

/* The public keys that may release: the current one and the next (rotation). */
struct release_keys;
/* PEM files as of settings broadcast_public_key_files. INVALID names the file. Owned. */
struct release_keys *release_keys_load(const char *const *paths, GError **error);
struct release_keys *release_keys_new(const uint8_t (*keys)[ED25519_KEY_LEN], size_t n);
void release_keys_free(struct release_keys *keys);
LOA_AUTO_DEFINE(release_keys, release_keys_free)
size_t release_keys_count(const struct release_keys *keys);
const uint8_t *release_keys_get(const struct release_keys *keys, size_t n);

/* PEM (SubjectPublicKeyInfo, RFC 8410) of an Ed25519 public key. Owned. */
char *release_public_pem(const uint8_t key[ED25519_KEY_LEN]);
/* INVALID unless it is exactly one such key. */
bool release_public_from_pem(const char *pem, uint8_t out[ED25519_KEY_LEN], GError **error);

/* "loa-content-v1": everything that people answer for, without ids and times of acts: alert id,
 * version, type, corrects, realm, kind, level, area scope, communes, url, source document, expiry,
 * receipt window, and per language in order its five texts; each field length-prefixed as in
 * engine/message.h. */
void release_content_hash(const struct broadcast *broadcast, uint8_t out[SHA256_LEN]);

/* What an account puts its name to. */
enum release_act {
    RELEASE_ACT_CREATE,  /* "loa-create-v1" */
    RELEASE_ACT_APPROVE, /* "loa-approve-v1" */
};
/* Signs (act, content hash) with an account's key. */
void release_sign_act(enum release_act act, const uint8_t content_hash[SHA256_LEN],
                      const struct signing_key *key, uint8_t out[ED25519_SIGNATURE_LEN]);
bool release_verify_act(enum release_act act, const uint8_t content_hash[SHA256_LEN],
                        const uint8_t public_key[ED25519_KEY_LEN],
                        const uint8_t signature[ED25519_SIGNATURE_LEN]);

/* "loa-release-v1": broadcast id, alert id, version, type, corrects, realm, kind, level, class,
 * area scope, communes, url, source document, expires, released_at, key id, content hash, creator
 * id, key and signature, approver id, key and signature, and for each language in order its name
 * and the SHA-256 of its canonical alert bytes. Owned. */
GByteArray *release_manifest(const struct broadcast *broadcast);

/* Signs every text and the manifest of a broadcast whose released_utc_us, key_id, class and
 * people's signatures are already set. */
void release_sign(struct broadcast *broadcast, const struct signing_key *key);

/* True only for a released (or meanwhile cancelled) broadcast whose manifest and every text are
 * signed by one of the keys, whose content hash is that of its content, whose class follows from
 * its level, and which two different people signed (a cancel: one). Else DENIED with what is wrong.
 */
bool release_verify(const struct broadcast *broadcast, const struct release_keys *keys,
                    GError **error);

#endif
