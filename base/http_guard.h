/* Decides whether the head of a request can have only one meaning, before any route sees it: what
 * two HTTP parsers may read differently is how a second request is smuggled past the first of them
 * (RFC 9112 §11.2). A pure function over the parsed head. Used by http_server.c only. */
#ifndef LOA_BASE_HTTP_GUARD_H
#define LOA_BASE_HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FIELDS_MAX      64                     /* header lines */
#define HTTP_HEAD_MAX        16384                  /* bytes from the method to the empty line */
#define HTTP_URI_MAX         4096                   /* bytes of the request target */
#define HTTP_FIELD_NAME_MAX  64                     /* bytes of a header's name */
#define HTTP_FIELD_VALUE_MAX 8192                   /* bytes of a header's value */
#define HTTP_BODY_MAX        INT64_C(1000000000000) /* far above any route's limit: no overflow */

struct http_field {
    const char *name;
    size_t name_len;
    const char *value; /* without leading blanks */
    size_t value_len;
};

/* The head as libmicrohttpd has parsed it. Its parser works in place, so the pointers also tell
 * what stood between the parts: http_guard_check asks that they are exactly one space, one colon or
 * one CRLF apart. */
struct http_head {
    const char *method;
    const char *uri; /* raw, as it came */
    size_t uri_len;
    const char *uri_at; /* where it stands; never read: the parser has cut it at the '?' since */
    const char *version;
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t n_fields; /* may be above HTTP_FIELDS_MAX: the rest was not kept */
    size_t size;     /* bytes from the method to the end of the empty line */
};

enum http_verdict {
    HTTP_VERDICT_OK,         /* goes to the routes */
    HTTP_VERDICT_LINE,       /* bare LF, folded line, more than one space, control character */
    HTTP_VERDICT_VERSION,    /* neither HTTP/1.1 nor HTTP/1.0 */
    HTTP_VERDICT_TARGET,     /* the request target is not a plain absolute path */
    HTTP_VERDICT_URI_LONG,   /* above HTTP_URI_MAX */
    HTTP_VERDICT_HEAD_LARGE, /* too many, too long */
    HTTP_VERDICT_HOST,       /* missing, repeated or malformed (RFC 9112 §3.2) */
    HTTP_VERDICT_FRAMING,    /* Content-Length and Transfer-Encoding (RFC 9112 §6) */
    HTTP_VERDICT_BODY_LARGE, /* above the route's limit */
    HTTP_VERDICT_TIMEOUT,    /* not complete within request_timeout_s */
    HTTP_VERDICT_STOPPING,   /* the server is being stopped */
    HTTP_VERDICT_NO_ROUTE,   /* nothing at this path */
    HTTP_VERDICT_BAD_METHOD, /* the path knows other methods */
    HTTP_VERDICT_COUNT
};

/* How a verdict is answered. */
struct http_verdict_text {
    unsigned status;
    const char *type;   /* token of the problem type and of the metric's reason */
    const char *title;  /* of the problem document */
    const char *detail; /* what the client should change */
};
const struct http_verdict_text *http_verdict_text(enum http_verdict verdict);

/* out_length: bytes of the coming body, 0 for none, -1 when it is chunked; written on OK only. */
enum http_verdict http_guard_check(const struct http_head *head, int64_t *out_length);

#endif
