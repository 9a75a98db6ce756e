/* Which commune each member of a chunk was in when the audience was frozen: the distinct codes of
 * the chunk, and per member an index into them of one byte, or two (big-endian) when there are more
 * than 255 codes. Stands in fanout_chunk.communes and .member_commune. */
#ifndef LOA_ENGINE_MEMBER_COMMUNES_H
#define LOA_ENGINE_MEMBER_COMMUNES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#define MEMBER_COMMUNES_NARROW 255 /* codes that one byte can tell */

/* Gathers the members of one chunk in their order. Owned. */
struct member_communes;
struct member_communes *member_communes_new(void);
void member_communes_free(struct member_communes *communes);
LOA_AUTO_DEFINE(member_communes, member_communes_free)
/* The next member's commune, copied; NULL or "" = none. */
void member_communes_add(struct member_communes *communes, const char *code);
/* The index bytes. Owned. */
GByteArray *member_communes_encode(const struct member_communes *communes);
/* The codes in the order of their indexes, each after a comma: ",01273,,01276". Owned. */
char *member_communes_codes(const struct member_communes *communes);

/* Fills out[0 … count-1] with indexes below n_codes. INTERNAL when the bytes are not exactly that.
 */
bool member_communes_decode(const void *bytes, size_t len, size_t n_codes, uint16_t *out,
                            size_t count, GError **error);

#endif
