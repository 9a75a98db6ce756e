/* Request targets and routes: percent-decoding with limits, and matching. Used by http_server.c. */
#ifndef LOA_BASE_HTTP_ROUTE_H
#define LOA_BASE_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "base/auto.h"
#include "base/http_server.h"

#define HTTP_SEGMENTS_MAX 16 /* of a path */
#define HTTP_QUERY_MAX    32 /* parameters */

/* A decoded target: "/a/b%20c?x=1" → segments "a", "b c"; x → "1". */
struct http_target {
    char *path; /* decoded, owned */
    GPtrArray *segments;
    GPtrArray *names;  /* of the query's parameters */
    GPtrArray *values; /* same index */
};

/* NULL when the target is refused: wrong percent-encoding, NUL or other control characters, invalid
 * UTF-8, an encoded slash, "." or "..", a parameter named twice, too many parts. Owned. */
struct http_target *http_target_parse(const char *uri, size_t len);
void http_target_free(struct http_target *target);
LOA_AUTO_DEFINE(http_target, http_target_free)
/* Value of a parameter, "" without "=", NULL when absent. Borrowed. */
const char *http_target_query(const struct http_target *target, const char *name);

/* First route whose pattern and method fit (HEAD fits GET), NULL when none does. Segments matched
 * by {placeholders} go to params (borrowed from target, at most HTTP_SEGMENTS_MAX). *out_allow:
 * owned list for the Allow header when only the method did not fit, else NULL. */
const struct http_route *http_route_find(const struct http_route *routes, size_t n_routes,
                                         const char *method, const struct http_target *target,
                                         const char **params, unsigned *out_n_params,
                                         char **out_allow);

#endif
