/* A citizen's app or a monitoring system at the HTTP listeners of the rig. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "tests/scenario/rig.h"

#define TIMEOUT_MS 20000L
#define ANSWER_MAX (1024 * 1024)

static size_t take(char *data, size_t size, size_t n, void *user)
{
    GString *answer = user;

    if (answer->len + size * n > ANSWER_MAX)
        return 0;
    g_string_append_len(answer, data, (gssize)(size * n));
    return size * n;
}

static struct curl_slist *header(struct curl_slist *list, const char *name, const char *value)
{
    g_autofree char *line = value != NULL ? g_strconcat(name, value, NULL) : NULL;

    return line != NULL ? curl_slist_append(list, line) : list;
}

long rig_http(struct rig *rig, const struct rig_request *request, char **out)
{
    int port = request->port != 0 ? request->port : rig->api_port;
    g_autofree char *url = g_strdup_printf("http://127.0.0.1:%d%s", port, request->path);
    GString *answer = g_string_new(NULL);
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    long status = 0;

    headers = header(headers, "Loa-Device: ", request->device);
    headers = header(headers, "Authorization: Bearer ", request->secret);
    headers = header(headers, "Idempotency-Key: ", request->key);
    headers = header(headers, "Content-Type: ", "application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (request->body != NULL)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (out != NULL)
        *out = g_string_free(answer, FALSE);
    else
        g_string_free(answer, TRUE);
    return status;
}

json_t *rig_http_json(struct rig *rig, const struct rig_request *request, long status)
{
    g_autofree char *text = NULL;
    long got = rig_http(rig, request, &text);
    json_t *json = json_loads(text, 0, NULL);

    if (got != status || json == NULL)
        fail_msg("%s %s: %ld, not %ld: %s", request->method, request->path, got, status, text);
    return json;
}
