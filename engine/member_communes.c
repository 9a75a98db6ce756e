/* A chunk has at most MEMBERS_MAX members, so at most as many codes: an index fits 16 bits. */
#include "engine/member_communes.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "engine/members.h"

struct member_communes {
    GHashTable *index; /* code (owned by codes) → index */
    GPtrArray *codes;
    GArray *members; /* uint16_t */
};

struct member_communes *member_communes_new(void)
{
    struct member_communes *c = g_new0(struct member_communes, 1);

    c->index = g_hash_table_new(g_str_hash, g_str_equal);
    c->codes = g_ptr_array_new_with_free_func(g_free);
    c->members = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    return c;
}

void member_communes_free(struct member_communes *c)
{
    if (c == NULL)
        return;
    g_hash_table_unref(c->index);
    g_ptr_array_unref(c->codes);
    g_array_unref(c->members);
    g_free(c);
}

void member_communes_add(struct member_communes *c, const char *code)
{
    const char *wanted = code != NULL ? code : "";
    gpointer found;
    uint16_t index;

    assert(c->members->len < MEMBERS_MAX);
    if (g_hash_table_lookup_extended(c->index, wanted, NULL, &found)) {
        index = (uint16_t)GPOINTER_TO_UINT(found);
    } else {
        char *kept = g_strdup(wanted);
        index = (uint16_t)c->codes->len;
        g_ptr_array_add(c->codes, kept);
        g_hash_table_insert(c->index, kept, GUINT_TO_POINTER(index));
    }
    g_array_append_val(c->members, index);
}

GByteArray *member_communes_encode(const struct member_communes *c)
{
    bool wide = c->codes->len > MEMBER_COMMUNES_NARROW;
    GByteArray *bytes = g_byte_array_sized_new(c->members->len * (wide ? 2 : 1));

    for (guint i = 0; i < c->members->len; i++) {
        uint16_t index = g_array_index(c->members, uint16_t, i);
        uint8_t two[2] = {(uint8_t)(index >> 8), (uint8_t)index};
        g_byte_array_append(bytes, wide ? two : two + 1, wide ? 2 : 1);
    }
    return bytes;
}

char *member_communes_codes(const struct member_communes *c)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < c->codes->len; i++) {
        assert(strchr(c->codes->pdata[i], ',') == NULL);
        g_string_append_c(text, ',');
        g_string_append(text, c->codes->pdata[i]);
    }
    return g_string_free(text, FALSE);
}

bool member_communes_decode(const void *data, size_t len, size_t n_codes, uint16_t *out,
                            size_t count, GError **error)
{
    const uint8_t *bytes = data;
    size_t width = n_codes > MEMBER_COMMUNES_NARROW ? 2 : 1;
    bool good = len == count * width;

    for (size_t i = 0; good && i < count; i++) {
        out[i] = width == 1 ? bytes[i] : (uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
        good = out[i] < n_codes;
    }
    if (!good)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                    "communes of a chunk: %zu bytes for %zu members in %zu communes", len, count,
                    n_codes);
    return good;
}
