/* The frozen members of a chunk: ascending device ids as LEB128 deltas. 10,000 neighbouring ids
 * take 10,000 bytes before PostgreSQL compresses them to a few hundred. */
#ifndef LOA_ENGINE_MEMBERS_H
#define LOA_ENGINE_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define MEMBERS_MAX 16384 /* per chunk */

/* ids strictly ascending and > 0 (asserted), n ≤ MEMBERS_MAX. Owned. */
GByteArray *members_encode(const int64_t *ids, size_t n);
/* Fills out[0 … count-1]. INTERNAL when the bytes are not exactly count ascending ids. */
bool members_decode(const void *bytes, size_t len, int64_t *out, size_t count, GError **error);
/* Position of an id, or -1: for `loa device show`. */
int members_find(const void *bytes, size_t len, int64_t id);

#endif
