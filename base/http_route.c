/* A path is split before it is decoded, so that an encoded slash can never make a segment; what it
 * decodes to is text: UTF-8 without control characters. Few routes exist, so they are tried in
 * order. */
#include "base/http_route.h"

#include <string.h>

/* One byte of s at *i, decoded, *i moved behind it; -1 when the encoding is wrong. */
static int next_byte(const char *s, size_t len, size_t *i)
{
    if (s[*i] != '%')
        return (unsigned char)s[(*i)++];
    if (len - *i < 3)
        return -1;
    int high = g_ascii_xdigit_value(s[*i + 1]), low = g_ascii_xdigit_value(s[*i + 2]);
    if (high < 0 || low < 0)
        return -1;
    *i += 3;
    return high * 16 + low;
}

/* Decodes [s, s + len); owned, NULL when it is refused. In a query '+' is a blank. */
static char *decode(const char *s, size_t len, bool query)
{
    g_autofree char *out = g_malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        bool plus = query && s[i] == '+';
        int c = next_byte(s, len, &i);
        if (c < 0 || c == 0x7f || (c < 0x20 && !(query && (c == '\n' || c == '\t'))) ||
            (!query && c == '/'))
            return NULL;
        out[n++] = plus ? ' ' : (char)c;
    }
    out[n] = '\0';
    return g_utf8_validate(out, (gssize)n, NULL) ? g_steal_pointer(&out) : NULL;
}

static bool parse_path(struct http_target *target, const char *s, size_t len)
{
    g_autoptr(GString) path = g_string_new(NULL);
    if (len == 0 || *s != '/')
        return false;
    for (size_t at = 0; at < len;) {
        const char *start = s + at + 1;
        const char *slash = memchr(start, '/', len - at - 1);
        size_t n = slash != NULL ? (size_t)(slash - start) : len - at - 1;
        char *segment = decode(start, n, false);
        if (segment == NULL)
            return false;
        g_ptr_array_add(target->segments, segment);
        if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0 ||
            target->segments->len > HTTP_SEGMENTS_MAX)
            return false;
        g_string_append_printf(path, "/%s", segment);
        at += n + 1;
    }
    target->path = g_string_free(g_steal_pointer(&path), FALSE);
    return true;
}

static bool parse_pair(struct http_target *target, const char *s, size_t len)
{
    const char *equals = memchr(s, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - s) : len;
    g_autofree char *name = decode(s, name_len, true);
    g_autofree char *value =
        equals != NULL ? decode(equals + 1, len - name_len - 1, true) : g_strdup("");
    if (name == NULL || value == NULL || *name == '\0' || target->names->len == HTTP_QUERY_MAX ||
        http_target_query(target, name) != NULL)
        return false;
    g_ptr_array_add(target->names, g_steal_pointer(&name));
    g_ptr_array_add(target->values, g_steal_pointer(&value));
    return true;
}

static bool parse_query(struct http_target *target, const char *s, size_t len)
{
    while (len > 0) {
        const char *amp = memchr(s, '&', len);
        size_t n = amp != NULL ? (size_t)(amp - s) : len;
        if (n > 0 && !parse_pair(target, s, n))
            return false;
        s += n + (amp != NULL);
        len -= n + (amp != NULL);
    }
    return true;
}

struct http_target *http_target_parse(const char *uri, size_t len)
{
    loa_auto(http_target) target = g_new0(struct http_target, 1);
    target->segments = g_ptr_array_new_with_free_func(g_free);
    target->names = g_ptr_array_new_with_free_func(g_free);
    target->values = g_ptr_array_new_with_free_func(g_free);
    const char *question = memchr(uri, '?', len);
    size_t path_len = question != NULL ? (size_t)(question - uri) : len;
    if (!parse_path(target, uri, path_len) ||
        (question != NULL && !parse_query(target, question + 1, len - path_len - 1)))
        return NULL;
    return g_steal_pointer(&target);
}

void http_target_free(struct http_target *target)
{
    if (target == NULL)
        return;
    g_free(target->path);
    g_ptr_array_unref(target->segments);
    g_ptr_array_unref(target->names);
    g_ptr_array_unref(target->values);
    g_free(target);
}

const char *http_target_query(const struct http_target *target, const char *name)
{
    for (size_t i = 0; i < target->names->len; i++)
        if (strcmp(target->names->pdata[i], name) == 0)
            return target->values->pdata[i];
    return NULL;
}

/* Pattern against segments; fills params. */
static bool matches(const char *pattern, const struct http_target *target, const char **params,
                    unsigned *out_n)
{
    unsigned n = 0;
    for (size_t i = 0; i < target->segments->len; i++) {
        const char *segment = target->segments->pdata[i];
        if (*pattern != '/')
            return false;
        size_t len = strcspn(++pattern, "/");
        if (*pattern == '{') {
            if (*segment == '\0')
                return false;
            params[n++] = segment;
        } else if (strlen(segment) != len || strncmp(segment, pattern, len) != 0) {
            return false;
        }
        pattern += len;
    }
    *out_n = n;
    return *pattern == '\0';
}

static bool method_fits(const char *route_method, const char *method)
{
    return strcmp(route_method, method) == 0 ||
           (strcmp(route_method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

const struct http_route *http_route_find(const struct http_route *routes, size_t n_routes,
                                         const char *method, const struct http_target *target,
                                         const char **params, unsigned *out_n_params,
                                         char **out_allow)
{
    g_autoptr(GString) allow = g_string_new(NULL);
    *out_allow = NULL;
    for (size_t i = 0; i < n_routes; i++) {
        if (!matches(routes[i].pattern, target, params, out_n_params))
            continue;
        if (method_fits(routes[i].method, method))
            return &routes[i];
        g_string_append_printf(allow, "%s%s%s", allow->len > 0 ? ", " : "", routes[i].method,
                               strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allow->len > 0)
        *out_allow = g_string_free(g_steal_pointer(&allow), FALSE);
    return NULL;
}
