/* See http_guard.h. libmicrohttpd 0.9.75 accepts a bare LF as a line end, joins folded lines, takes
 * the first of several Content-Length fields and lets Transfer-Encoding win over Content-Length:
 * each of these is refused here. */
#include "base/http_guard.h"

#include <string.h>
#include <strings.h>

#include <glib.h>

static const struct http_verdict_text texts[HTTP_VERDICT_COUNT] = {
    [HTTP_VERDICT_OK] = {200, "ok", "OK", ""},
    [HTTP_VERDICT_LINE] = {400, "malformed-request", "Malformed request",
                           "Lines end in CRLF, are not folded and hold no control characters."},
    [HTTP_VERDICT_VERSION] = {505, "http-version", "HTTP version not supported", "Use HTTP/1.1."},
    [HTTP_VERDICT_TARGET] = {400, "malformed-target", "Malformed request target",
                             "Send an absolute path with correct percent-encoding."},
    [HTTP_VERDICT_URI_LONG] = {414, "uri-too-long", "URI too long",
                               "The request target has at most 4096 bytes."},
    [HTTP_VERDICT_HEAD_LARGE] = {431, "headers-too-large", "Header fields too large",
                                 "At most 64 header fields and 16384 bytes altogether."},
    [HTTP_VERDICT_HOST] = {400, "bad-host", "Bad Host header",
                           "Send exactly one Host header field."},
    [HTTP_VERDICT_FRAMING] = {400, "ambiguous-length", "Ambiguous message length",
                              "Send one Content-Length in digits, or Transfer-Encoding: chunked, "
                              "never both."},
    [HTTP_VERDICT_BODY_LARGE] = {413, "body-too-large", "Body too large",
                                 "The body is larger than this resource accepts."},
    [HTTP_VERDICT_TIMEOUT] = {408, "timeout", "Request timeout",
                              "The request did not arrive completely in time."},
    [HTTP_VERDICT_STOPPING] = {503, "stopping", "Service is restarting",
                               "Send the request again in a moment."},
    [HTTP_VERDICT_NO_ROUTE] = {404, "not-found", "Not found", "There is nothing at this address."},
    [HTTP_VERDICT_BAD_METHOD] = {405, "method-not-allowed", "Method not allowed",
                                 "The Allow header lists the methods of this address."},
};

const struct http_verdict_text *http_verdict_text(enum http_verdict verdict)
{
    return &texts[verdict];
}

/* RFC 9110 §5.6.2. */
static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(s[i]) && (s[i] == '\0' || strchr("!#$%&'*+-.^_`|~", s[i]) == NULL))
            return false;
    return len > 0;
}

static bool has_control(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

/* Every part stands where a strict parser would have found it. Addresses are compared as numbers: a
 * joined line has been moved to other memory. Because the library writes NUL over line ends, a NUL
 * beside a line end of the request itself can hide a bare LF; no proxy passes a NUL on, and without
 * a proxy there is nobody to be fooled. */
static bool lines_intact(const struct http_head *head)
{
    uintptr_t at = (uintptr_t)head->method + strlen(head->method) + 1;
    if ((uintptr_t)head->uri_at != at)
        return false;
    at += head->uri_len + 1;
    if ((uintptr_t)head->version != at)
        return false;
    at += strlen(head->version) + 2;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct http_field *field = &head->fields[i];
        if ((uintptr_t)field->name != at)
            return false;
        at += field->name_len + 1;
        if ((uintptr_t)field->value < at || (uintptr_t)field->value - at > head->size)
            return false; /* blanks may stand before the value */
        at = (uintptr_t)field->value + field->value_len + 2;
    }
    return at + 2 == (uintptr_t)head->method + head->size;
}

static bool is_named(const struct http_field *field, const char *name)
{
    return field->name_len == strlen(name) && strncasecmp(field->name, name, field->name_len) == 0;
}

/* Number of fields of this name; the last one in *out. */
static size_t find(const struct http_head *head, const char *name, const struct http_field **out)
{
    size_t n = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        if (is_named(&head->fields[i], name)) {
            *out = &head->fields[i];
            n++;
        }
    }
    return n;
}

/* RFC 9112 §3.2: name or address with an optional port, nothing that a URI would have to escape. */
static bool host_ok(const struct http_head *head)
{
    const struct http_field *host = NULL;
    if (find(head, "Host", &host) != 1 || host->value_len == 0 || host->value_len > 255)
        return false;
    for (size_t i = 0; i < host->value_len; i++) {
        char c = host->value[i];
        if (!g_ascii_isalnum(c) && (c == '\0' || strchr("-._~:[]", c) == NULL))
            return false;
    }
    return true;
}

/* Digits only: a sign, a blank or a list would be read differently elsewhere. -1 when it is none.
 */
static int64_t content_length(const struct http_field *field)
{
    int64_t length = 0;
    if (field->value_len == 0)
        return -1;
    for (size_t i = 0; i < field->value_len; i++) {
        if (!g_ascii_isdigit(field->value[i]) || length > HTTP_BODY_MAX)
            return -1;
        length = length * 10 + (field->value[i] - '0');
    }
    return length;
}

static bool framing_ok(const struct http_head *head, int64_t *out_length)
{
    const struct http_field *length = NULL, *encoding = NULL;
    size_t lengths = find(head, "Content-Length", &length);
    size_t encodings = find(head, "Transfer-Encoding", &encoding);
    if (lengths + encodings > 1)
        return false;
    int64_t bytes = 0;
    if (encodings == 1) {
        /* HTTP/1.0 knows no chunks: whoever sends them through such a hop is lost (§6.1). */
        if (encoding->value_len != strlen("chunked") ||
            strncasecmp(encoding->value, "chunked", encoding->value_len) != 0 ||
            strcmp(head->version, "HTTP/1.1") != 0)
            return false;
        bytes = -1;
    } else if (lengths == 1) {
        bytes = content_length(length);
        if (bytes < 0)
            return false;
    }
    *out_length = bytes;
    return true;
}

static bool target_ok(const struct http_head *head)
{
    for (size_t i = 0; i < head->uri_len; i++)
        if (head->uri[i] <= ' ' || head->uri[i] == 0x7f) /* signed: refuses ≥ 0x80 as well */
            return false;
    return head->uri_len > 0 && head->uri[0] == '/';
}

static enum http_verdict fields_check(const struct http_head *head)
{
    if (head->n_fields > HTTP_FIELDS_MAX || head->size > HTTP_HEAD_MAX)
        return HTTP_VERDICT_HEAD_LARGE;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct http_field *field = &head->fields[i];
        if (field->name_len > HTTP_FIELD_NAME_MAX || field->value_len > HTTP_FIELD_VALUE_MAX)
            return HTTP_VERDICT_HEAD_LARGE;
        if (!is_token(field->name, field->name_len) || has_control(field->value, field->value_len))
            return HTTP_VERDICT_LINE;
    }
    return HTTP_VERDICT_OK;
}

enum http_verdict http_guard_check(const struct http_head *head, int64_t *out_length)
{
    if (strcmp(head->version, "HTTP/1.1") != 0 && strcmp(head->version, "HTTP/1.0") != 0)
        return HTTP_VERDICT_VERSION;
    if (head->uri_len > HTTP_URI_MAX)
        return HTTP_VERDICT_URI_LONG;
    enum http_verdict verdict = fields_check(head);
    if (verdict != HTTP_VERDICT_OK)
        return verdict;
    if (!is_token(head->method, strlen(head->method)) || !lines_intact(head))
        return HTTP_VERDICT_LINE;
    if (!target_ok(head))
        return HTTP_VERDICT_TARGET;
    if (!host_ok(head))
        return HTTP_VERDICT_HOST;
    return framing_ok(head, out_length) ? HTTP_VERDICT_OK : HTTP_VERDICT_FRAMING;
}
