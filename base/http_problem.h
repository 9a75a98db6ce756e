/* RFC 9457 problem documents. Used by the HTTP server; handlers call http_reply_problem. */
#ifndef LOA_BASE_HTTP_PROBLEM_H
#define LOA_BASE_HTTP_PROBLEM_H

#include <stddef.h>

#include <glib.h>

#include "base/http_server.h"

#define HTTP_PROBLEM_TYPE "application/problem+json"

/* The document as JSON text; invalid UTF-8 becomes U+FFFD. Owned. */
char *http_problem_json(unsigned status, const char *type, const char *title, const char *detail,
                        const struct http_problem_field *fields, size_t n_fields);
/* A whole answer as bytes on the wire, closing the connection, for a request that the library is
 * still reading. Owned. */
char *http_problem_wire(unsigned status, const char *type, const char *title, const char *detail);

/* What http_reply_error says for an error. */
struct http_problem_error {
    unsigned status;
    const char *type;
    const char *title;
    const char *detail; /* borrowed from error, or a fixed text */
};
struct http_problem_error http_problem_from_error(const GError *error);

#endif
