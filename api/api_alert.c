/* Public reads: what has been released to the live realm. Answers may be cached for some seconds by
 * anybody; the ETag is the hash of the bytes. */
#include <inttypes.h>
#include <string.h>

#include "api/api_internal.h"
#include "base/crypto.h"
#include "base/error.h"

#define PAGE_DEFAULT  20
#define CACHE_CONTROL "public, max-age=10"

/* If-None-Match is "*" or a list of tags, weak ones compared alike (RFC 9110 §13.1.2). */
static bool matches(const char *if_none_match, const char *etag)
{
    g_auto(GStrv) tags = NULL;

    if (if_none_match == NULL)
        return false;
    tags = g_strsplit(if_none_match, ",", 32);
    for (char **tag = tags; *tag != NULL; tag++) {
        const char *bare = g_strstrip(*tag);
        if (strncmp(bare, "W/", 2) == 0)
            bare += 2;
        if (strcmp(bare, "*") == 0 || strcmp(bare, etag) == 0)
            return true;
    }
    return false;
}

/* Takes the reference. */
static void reply_cacheable(struct http_request *request, json_t *json)
{
    g_autofree char *text = json_dumps(json, JSON_COMPACT);
    g_autofree char *hash = NULL;
    g_autofree char *etag = NULL;
    uint8_t digest[SHA256_LEN];

    json_decref(json);
    crypto_sha256(text, strlen(text), digest);
    hash = crypto_base64url(digest, 16);
    etag = g_strdup_printf("\"%s\"", hash);
    http_reply_header(request, "ETag", etag);
    http_reply_header(request, "Cache-Control", CACHE_CONTROL);
    if (matches(http_request_header(request, "If-None-Match"), etag))
        http_reply(request, 304, NULL, "", 0);
    else
        http_reply(request, 200, "application/json; charset=utf-8", text, strlen(text));
}

/* A number in the query, or the default. false: replied. */
static bool query_number(struct http_request *request, const char *name, guint64 max,
                         const char *detail, int64_t *inout)
{
    const char *text = http_request_query(request, name);
    struct http_problem_field field = {name, detail};
    guint64 number;

    if (text == NULL)
        return true;
    if (g_ascii_string_to_unsigned(text, 10, 1, max, &number, NULL)) {
        *inout = (int64_t)number;
        return true;
    }
    http_reply_problem(request, 422, "invalid-field", "A query parameter is wrong",
                       "Correct the named parameter.", &field, 1);
    return false;
}

void api_alert_list(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(GError) error = NULL;
    const char *active = http_request_query(request, "active");
    int64_t limit = PAGE_DEFAULT, cursor = 0, next = 0;
    json_t *alerts, *reply;
    struct db *db;
    char text[24];

    if (!api_admit(api, request) ||
        !query_number(request, "limit", BROADCAST_PAGE_MAX, "must be a number from 1 to 100",
                      &limit) ||
        !query_number(request, "cursor", INT64_MAX, "must be the \"next\" of the page before",
                      &cursor) ||
        (db = api_db(api, request)) == NULL)
        return;
    alerts = broadcast_public_list(api->shelf, db, g_strcmp0(active, "true") == 0, cursor,
                                   (int)limit, &next, &error);
    if (alerts == NULL) {
        http_reply_error(request, error);
        return;
    }
    reply = json_object();
    json_object_set_new(reply, "alerts", alerts);
    g_snprintf(text, sizeof(text), "%" PRId64, next);
    json_object_set_new(reply, "next", next != 0 ? json_string(text) : json_null());
    reply_cacheable(request, reply);
}

void api_alert_show(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(GError) error = NULL;
    json_t *alert;
    struct db *db;

    if (!api_admit(api, request) || (db = api_db(api, request)) == NULL)
        return;
    alert = broadcast_public_get(api->shelf, db, http_request_segment(request, 0), &error);
    if (alert == NULL)
        http_reply_error(request, error);
    else
        reply_cacheable(request, alert);
}
