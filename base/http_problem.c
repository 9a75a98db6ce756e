/* Builds problem documents. An internal error's text stays in the log: it may name what no stranger
 * should read. */
#include "base/http_problem.h"

#include <stdlib.h>
#include <string.h>

#include "base/db.h"
#include "base/error.h"
#include "base/json.h"

static json_t *text(const char *s)
{
    g_autofree char *valid = g_utf8_make_valid(s != NULL ? s : "", -1);
    return json_string(valid);
}

char *http_problem_json(unsigned status, const char *type, const char *title, const char *detail,
                        const struct http_problem_field *fields, size_t n_fields)
{
    g_autofree char *urn = g_strconcat("urn:loa:problem:", type, NULL);
    g_autoptr(json_t) document = json_object();
    json_object_set_new(document, "type", text(urn));
    json_object_set_new(document, "title", text(title));
    json_object_set_new(document, "status", json_integer(status));
    if (detail != NULL && *detail != '\0')
        json_object_set_new(document, "detail", text(detail));
    if (n_fields > 0) {
        json_t *errors = json_array();
        for (size_t i = 0; i < n_fields; i++) {
            json_t *one = json_object();
            json_object_set_new(one, "name", text(fields[i].name));
            json_object_set_new(one, "detail", text(fields[i].detail));
            json_array_append_new(errors, one);
        }
        json_object_set_new(document, "errors", errors);
    }
    char *dumped = json_dumps(document, JSON_COMPACT);
    char *owned = g_strdup(dumped);
    free(dumped); /* jansson's allocator, not GLib's */
    return owned;
}

char *http_problem_wire(unsigned status, const char *type, const char *title, const char *detail)
{
    g_autofree char *json = http_problem_json(status, type, title, detail, NULL, 0);
    return g_strdup_printf("HTTP/1.1 %u %s\r\n"
                           "Content-Type: " HTTP_PROBLEM_TYPE "\r\n"
                           "Content-Length: %zu\r\n"
                           "Cache-Control: no-store\r\n"
                           "X-Content-Type-Options: nosniff\r\n"
                           "Connection: close\r\n"
                           "\r\n"
                           "%s",
                           status, title, strlen(json), json);
}

/* The server's text names tables and constraints: it goes to the log. Whatever it refuses but a
 * conflict (missing rights, no room, a row that should have been checked before) is ours to mend.
 */
static struct http_problem_error from_database(enum loa_error code)
{
    if (code == LOA_ERROR_RETRY || code == LOA_ERROR_UNCERTAIN)
        return (struct http_problem_error){503, "unavailable", "Temporarily unavailable",
                                           "Send the request again in a moment."};
    if (code == LOA_ERROR_CONFLICT)
        return (struct http_problem_error){409, "conflict", "Conflict", NULL};
    return (struct http_problem_error){500, "internal", "Internal error", NULL};
}

struct http_problem_error http_problem_from_error(const GError *error)
{
    if (error->domain == LOA_ERROR && db_error_is_servers(error))
        return from_database((enum loa_error)error->code);
    if (error->domain != LOA_ERROR)
        return (struct http_problem_error){500, "internal", "Internal error", NULL};
    switch ((enum loa_error)error->code) {
    case LOA_ERROR_INVALID:
        return (struct http_problem_error){422, "invalid", "Invalid content", error->message};
    case LOA_ERROR_NOT_FOUND:
        return (struct http_problem_error){404, "not-found", "Not found", error->message};
    case LOA_ERROR_CONFLICT:
        return (struct http_problem_error){409, "conflict", "Conflict", error->message};
    case LOA_ERROR_DENIED:
        return (struct http_problem_error){403, "denied", "Not allowed", error->message};
    case LOA_ERROR_LIMIT:
        return (struct http_problem_error){429, "limit", "Limit reached", error->message};
    case LOA_ERROR_RETRY:
    case LOA_ERROR_UNCERTAIN:
        return (struct http_problem_error){503, "unavailable", "Temporarily unavailable",
                                           "Send the request again in a moment."};
    case LOA_ERROR_INTERNAL:
        break;
    }
    return (struct http_problem_error){500, "internal", "Internal error", NULL};
}
