/* Public reads: what has been released to the live realm. Answers may be cached for some seconds by
 * anybody; the ETag is the hash of the bytes. The same bytes lie in the files of
 * engine/public_files.h. */
#include <string.h>

#include "api/api_internal.h"
#include "base/crypto.h"
#include "base/error.h"
#include "engine/public_feed.h"
#include "engine/public_json.h"

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

static void reply_cacheable(struct http_request *request, const char *type, const char *text)
{
    g_autofree char *hash = NULL;
    g_autofree char *etag = NULL;
    uint8_t digest[SHA256_LEN];

    crypto_sha256(text, strlen(text), digest);
    hash = crypto_base64url(digest, 16);
    etag = g_strdup_printf("\"%s\"", hash);
    http_reply_header(request, "ETag", etag);
    http_reply_header(request, "Cache-Control", CACHE_CONTROL);
    if (matches(http_request_header(request, "If-None-Match"), etag))
        http_reply(request, 304, NULL, "", 0);
    else
        http_reply(request, 200, type, text, strlen(text));
}

/* Takes the reference. */
static void reply_json(struct http_request *request, json_t *json)
{
    g_autofree char *text = public_json_text(json);

    reply_cacheable(request, PUBLIC_JSON_TYPE, text);
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
    int64_t limit = BROADCAST_PAGE_DEFAULT, cursor = 0, next = 0;
    json_t *alerts;
    struct db *db;

    if (!api_admit(api, request) ||
        !query_number(request, "limit", BROADCAST_PAGE_MAX, "must be a number from 1 to 100",
                      &limit) ||
        !query_number(request, "cursor", INT64_MAX, "must be the \"next\" of the page before",
                      &cursor) ||
        (db = api_db(api, request)) == NULL)
        return;
    alerts = broadcast_public_list(api->shelf, db, g_strcmp0(active, "true") == 0, cursor,
                                   (int)limit, &next, &error);
    if (alerts == NULL)
        http_reply_error(request, error);
    else
        reply_json(request, public_list_json(alerts, next));
}

void api_alert_feed(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) alerts = NULL;
    g_autofree char *text = NULL;
    int64_t next;
    struct db *db;

    if (!api_admit(api, request) || (db = api_db(api, request)) == NULL)
        return;
    alerts = broadcast_public_list(api->shelf, db, false, 0, BROADCAST_PAGE_DEFAULT, &next, &error);
    if (alerts == NULL) {
        http_reply_error(request, error);
        return;
    }
    text = public_feed_text(alerts, api->settings->api_public_url, api->settings->public_author);
    reply_cacheable(request, PUBLIC_FEED_TYPE, text);
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
        reply_json(request, alert);
}
