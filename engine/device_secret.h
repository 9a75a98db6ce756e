/* The secret of a device: an HMAC of its id and generation under one key file, so that it can be
 * checked anywhere without the database (HTTP, MQTT broker). A new generation ends the old one. */
#ifndef LOA_ENGINE_DEVICE_SECRET_H
#define LOA_ENGINE_DEVICE_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#define DEVICE_SECRET_MAX 64 /* "generation.base64url" and NUL */

struct device_secret_key;

/* settings.device_secret_key_file: 32 bytes that nobody else may read (DENIED). Owned; wiped by
 * free. */
struct device_secret_key *device_secret_key_load(const char *path, GError **error);
/* For tests. Copies. */
struct device_secret_key *device_secret_key_new(const uint8_t *bytes, size_t len);
void device_secret_key_free(struct device_secret_key *key);
LOA_AUTO_DEFINE(device_secret_key, device_secret_key_free)

/* "generation.secret": the bearer of HTTP and the password of MQTT. */
void device_secret_make(const struct device_secret_key *key, int64_t device_id, int generation,
                        char out[DEVICE_SECRET_MAX]);
/* True when the text is exactly what device_secret_make writes for this device and the generation
 * named in it; constant time in the secret. Any thread. */
bool device_secret_check(const struct device_secret_key *key, int64_t device_id, const char *text,
                         int *out_generation);

#endif
