/* lib: loa_base */
/* The head of a request, parsed as leniently as libmicrohttpd does (in place, bare LF ends a line,
 * folded lines are joined elsewhere) and shown to the guard. What the guard lets through must be
 * what a strict parser, written independently below, reads from the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/http_guard.h"
#include "base/http_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cuts the next line at *at, ends it with NUL; NULL when it is not complete. */
static char *next_line(char *buffer, size_t len, size_t *at)
{
    char *line = buffer + *at;
    char *lf = memchr(line, '\n', len - *at);
    if (lf == NULL)
        return NULL;
    *at = (size_t)(lf + 1 - buffer);
    *lf = '\0';
    if (lf > line && lf[-1] == '\r')
        lf[-1] = '\0';
    return line;
}

static bool request_line(char *line, struct http_head *head, char **out_uri_copy)
{
    char *first = strchr(line, ' '), *last = strrchr(line, ' ');
    if (first == NULL || last == first)
        return false;
    *first = *last = '\0';
    head->method = line;
    head->uri_at = first + 1;
    head->uri = *out_uri_copy = g_strdup(first + 1);
    head->uri_len = strlen(head->uri);
    head->version = last + 1;
    return true;
}

static bool add_line(struct http_head *head, char *line, GPtrArray *joined)
{
    if ((*line == ' ' || *line == '\t') && head->n_fields > 0 &&
        head->n_fields <= HTTP_FIELDS_MAX) {
        struct http_field *field = &head->fields[head->n_fields - 1];
        char *value = g_strconcat(field->value, g_strchug(line), NULL);
        g_ptr_array_add(joined, value);
        field->value = value;
        field->value_len = strlen(value);
        return true;
    }
    char *colon = strchr(line, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    if (head->n_fields < HTTP_FIELDS_MAX)
        head->fields[head->n_fields] =
            (struct http_field){line, strlen(line), value, strlen(value)};
    head->n_fields++;
    return true;
}

/* Number of lines "NAME:…" and the value of the last, in a head that consists of CRLF lines. */
static unsigned strict_count(const char *head, const char *name, char **out_value)
{
    g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
    unsigned n = 0;
    for (size_t i = 1; lines[i] != NULL; i++) {
        size_t len = strlen(name);
        if (strncasecmp(lines[i], name, len) != 0 || lines[i][len] != ':')
            continue;
        g_free(*out_value);
        *out_value = g_strdup(lines[i] + len + 1 + strspn(lines[i] + len + 1, " \t"));
        n++;
    }
    return n;
}

static void strict_check(const char *raw, size_t len, int64_t length)
{
    g_autofree char *host = NULL, *bytes = NULL, *coding = NULL;
    if (strlen(raw) != len || !g_str_has_suffix(raw, "\r\n\r\n") ||
        strstr(raw, "\r\n\r\n") != raw + len - 4)
        __builtin_trap();
    for (size_t i = 0; i < len; i++) {
        bool crlf = raw[i] == '\r' && raw[i + 1] == '\n';
        if (raw[i] == '\n' || (raw[i] == '\r' && !crlf))
            __builtin_trap();
        i += crlf;
        if (crlf && (raw[i + 1] == ' ' || raw[i + 1] == '\t'))
            __builtin_trap();
    }
    unsigned lengths = strict_count(raw, "Content-Length", &bytes);
    unsigned codings = strict_count(raw, "Transfer-Encoding", &coding);
    if (strict_count(raw, "Host", &host) != 1 || lengths + codings > 1)
        __builtin_trap();
    if (codings == 1 ? length != -1 || strcasecmp(coding, "chunked") != 0
                     : length != (lengths == 1 ? g_ascii_strtoll(bytes, NULL, 10) : 0))
        __builtin_trap();
    if (lengths == 1 && strspn(bytes, "0123456789") != strlen(bytes))
        __builtin_trap();
}

static void target_check(const struct http_head *head)
{
    loa_auto(http_target) target = http_target_parse(head->uri, head->uri_len);
    for (guint i = 0; target != NULL && i < target->segments->len; i++) {
        const char *segment = target->segments->pdata[i];
        if (strchr(segment, '/') != NULL || strcmp(segment, "..") == 0 ||
            !g_utf8_validate(segment, -1, NULL))
            __builtin_trap();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *raw = g_malloc(size + 1), *buffer = g_malloc(size + 1), *uri = NULL;
    g_autoptr(GPtrArray) joined = g_ptr_array_new_with_free_func(g_free);
    struct http_head head = {.size = 0};
    size_t at = 0;
    int64_t length = 0;
    memcpy(buffer, data, size);
    memcpy(raw, data, size);
    buffer[size] = raw[size] = '\0';
    char *line = next_line(buffer, size, &at);
    if (line == NULL || !request_line(line, &head, &uri))
        return 0;
    while ((line = next_line(buffer, size, &at)) != NULL && *line != '\0')
        if (!add_line(&head, line, joined))
            return 0;
    if (line == NULL)
        return 0;
    head.size = at;
    if (http_guard_check(&head, &length) != HTTP_VERDICT_OK)
        return 0;
    raw[at] = '\0';
    if (memchr(raw, '\0', at) ==
        NULL) /* see lines_intact: NULs of the input cannot be told apart */
        strict_check(raw, at, length);
    target_check(&head);
    return 0;
}
