/* gzip (RFC 1952) of whole texts. zlib is included only in gzip.c. */
#ifndef LOA_BASE_GZIP_H
#define LOA_BASE_GZIP_H

#include <stddef.h>

#include <glib.h>

/* Level 9, without name or time, so that the same bytes give the same file on every machine with
 * the same zlib. At most 1 GiB (asserted). Owned. */
GByteArray *gzip_compress(const void *data, size_t len);

#endif
