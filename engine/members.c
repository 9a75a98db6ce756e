/* LEB128 deltas: the first id is its distance from 0, each later one from the id before it. */
#include "engine/members.h"

#include <assert.h>

#include "base/error.h"

GByteArray *members_encode(const int64_t *ids, size_t n)
{
    GByteArray *bytes = g_byte_array_sized_new((guint)n + 16);
    int64_t before = 0;

    assert(n <= MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        assert(ids[i] > before);
        uint64_t delta = (uint64_t)(ids[i] - before);
        before = ids[i];
        do {
            uint8_t byte = delta & 0x7f;
            delta >>= 7;
            if (delta != 0)
                byte |= 0x80;
            g_byte_array_append(bytes, &byte, 1);
        } while (delta != 0);
    }
    return bytes;
}

/* Reads one delta at *at. false at the end, on a zero delta, or when the sum leaves int64_t. */
static bool next_id(const uint8_t *bytes, size_t len, size_t *at, int64_t *id)
{
    uint64_t delta = 0;
    unsigned shift = 0;
    uint8_t byte;

    do {
        if (*at >= len || shift > 56)
            return false;
        byte = bytes[(*at)++];
        delta |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0);
    if (delta == 0 || delta > (uint64_t)(INT64_MAX - *id))
        return false;
    *id += (int64_t)delta;
    return true;
}

bool members_decode(const void *bytes, size_t len, int64_t *out, size_t count, GError **error)
{
    int64_t id = 0;
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        if (!next_id(bytes, len, &at, &id)) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "chunk members end at %zu of %zu", i,
                        count);
            return false;
        }
        out[i] = id;
    }
    if (at != len) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "chunk members have %zu bytes too many",
                    len - at);
        return false;
    }
    return true;
}

int members_find(const void *bytes, size_t len, int64_t wanted)
{
    int64_t id = 0;
    size_t at = 0;

    for (int position = 0; at < len && next_id(bytes, len, &at, &id); position++) {
        if (id == wanted)
            return position;
        if (id > wanted)
            break;
    }
    return -1;
}
