/* One call of deflate into a buffer of the size that zlib promises to suffice. */
#include "base/gzip.h"

#include <assert.h>
#include <zlib.h>

#define LEN_MAX     (1024 * 1024 * 1024)
#define WINDOW_BITS (15 + 16) /* the largest window; 16 more: a gzip header, not zlib's */
#define MEM_LEVEL   9

GByteArray *gzip_compress(const void *data, size_t len)
{
    z_stream stream = {.next_in = (Bytef *)data, .avail_in = (uInt)len};
    GByteArray *out = g_byte_array_new();
    int result;

    assert(len <= LEN_MAX);
    result = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                          Z_DEFAULT_STRATEGY);
    assert(result == Z_OK); /* else out of memory, where GLib ends the process, too */
    g_byte_array_set_size(out, (guint)deflateBound(&stream, (uLong)len));
    stream.next_out = out->data;
    stream.avail_out = out->len;
    result = deflate(&stream, Z_FINISH);
    assert(result == Z_STREAM_END);
    g_byte_array_set_size(out, (guint)stream.total_out);
    deflateEnd(&stream);
    return out;
}
