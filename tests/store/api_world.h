/* The HTTP API in this process, on a real port, with a client: for tests/store/api_*.c. */
#ifndef LOA_TESTS_STORE_API_WORLD_H
#define LOA_TESTS_STORE_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "api/api.h"
#include "base/json.h"
#include "engine/device_secret.h"
#include "tests/support/stage.h"

/* One server with its stage. */
struct world {
    struct stage *stage;
    struct settings *settings;
    struct api *api;
    struct http_server *server;
    char *base; /* "http://127.0.0.1:port" */
    char *key_file;
    char *public_file;
    unsigned keys; /* Idempotency-Keys given out */
};

struct answer {
    long status;
    GString *head;
    GString *text;
    json_t *json; /* NULL when the body is none */
};

static inline void answer_clear(struct answer *answer)
{
    g_string_free(answer->head, TRUE);
    g_string_free(answer->text, TRUE);
    json_decref(answer->json);
}
#define ANSWER __attribute__((cleanup(answer_clear))) struct answer

static inline size_t append(char *data, size_t size, size_t n, void *user)
{
    g_string_append_len(user, data, (gssize)(size * n));
    return size * n;
}

/* headers: further "Name: value" strings up to NULL; each may be NULL-terminated early. */
static inline struct answer ask(struct world *world, const char *method, const char *path,
                                const char *body, const char *const *headers)
{
    struct answer answer = {0, g_string_new(NULL), g_string_new(NULL), NULL};
    g_autofree char *url = g_strconcat(world->base, path, NULL);
    CURL *curl = curl_easy_init();
    struct curl_slist *list = NULL;

    for (; headers != NULL && *headers != NULL; headers++)
        list = curl_slist_append(list, *headers);
    if (body != NULL) {
        list = curl_slist_append(list, "Content-Type: application/json");
        list = curl_slist_append(list, "Expect:");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer.head);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer.text);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        fail_msg("%s %s: %s", method, path, curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    answer.json = json_loads(answer.text->str, 0, NULL);
    return answer;
}

static inline const char *text(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static inline void expect_status(const struct answer *answer, long status)
{
    if (answer->status != status)
        fail_msg("%ld instead of %ld: %s", answer->status, status, answer->text->str);
}

/* The problem document names this field. */
static inline bool names_field(const struct answer *answer, const char *name)
{
    return strstr(answer->text->str, name) != NULL &&
           strstr(answer->head->str, "application/problem+json") != NULL;
}

/* ---- one device ---- */

struct device {
    char *path;   /* "/api/v1/devices/7" */
    char *bearer; /* header */
    char *named;  /* header Loa-Device */
    int64_t id;
};

static inline void device_clear(struct device *device)
{
    g_free(device->path);
    g_free(device->bearer);
    g_free(device->named);
}
#define DEVICE __attribute__((cleanup(device_clear))) struct device

static inline struct answer send_registration(struct world *world, const char *key,
                                              const char *body)
{
    g_autofree char *header = g_strconcat("Idempotency-Key: ", key, NULL);
    const char *const headers[] = {header, NULL};

    return ask(world, "POST", "/api/v1/devices", body, headers);
}

static inline struct device device_from(const struct answer *answer)
{
    struct device device;

    device.id = g_ascii_strtoll(text(answer->json, "device"), NULL, 10);
    device.path = g_strdup_printf("/api/v1/devices/%s", text(answer->json, "device"));
    device.bearer = g_strdup_printf("Authorization: Bearer %s", text(answer->json, "secret"));
    device.named = g_strdup_printf("Loa-Device: %s", text(answer->json, "device"));
    return device;
}

static inline struct device registered(struct world *world, const char *body)
{
    g_autofree char *key = g_strdup_printf("test-key-%016u", world->keys++);
    ANSWER answer = send_registration(world, key, body);

    expect_status(&answer, 201);
    return device_from(&answer);
}

static inline struct answer as_device(struct world *world, const struct device *device,
                                      const char *method, const char *path, const char *body)
{
    const char *const headers[] = {device->bearer, device->named, NULL};

    return ask(world, method, path != NULL ? path : device->path, body, headers);
}

/* A request that must be refused. */
struct refusal {
    const char *key;
    const char *body;
    long status;
    const char *field; /* named in the problem document */
};

/* ---- the world ---- */

static inline char *write_file(const char *dir, const char *name, const void *data, gsize len)
{
    char *path = g_build_filename(dir, name, NULL);

    assert_true(
        g_file_set_contents_full(path, data, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    return path;
}

static inline struct world *world_new(const char *name, int64_t per_address, int64_t per_device)
{
    struct world *world = g_new0(struct world, 1);
    struct http_server_options options = {.listen = "127.0.0.1:0",
                                          .threads = 2,
                                          .connections_max = 100,
                                          .connections_per_address = 100,
                                          .idle_timeout_s = 10,
                                          .request_timeout_s = 10};
    g_autofree char *pem = NULL;
    g_autoptr(GError) error = NULL;

    world->stage = stage_new(name);
    stage_exec(world->stage, "INSERT INTO commune (code, name) VALUES ('01273', 'Thục Phán') "
                             "ON CONFLICT DO NOTHING");
    world->settings = settings_defaults();
    pem = release_public_pem(release_keys_get(world->stage->keys, 0));
    world->key_file =
        write_file(world->stage->dir, "device.key", "0123456789abcdef0123456789abcdef", 32);
    world->public_file = write_file(world->stage->dir, "release.pub", pem, strlen(pem));
    if (!settings_set(world->settings, "database", "conninfo", world->stage->conninfo, &error) ||
        !settings_set(world->settings, "device", "secret_key_file", world->key_file, &error) ||
        !settings_set(world->settings, "broadcast", "public_key_files", world->public_file,
                      &error) ||
        !settings_set(world->settings, "fcm", "service_account_file", world->key_file, &error))
        fail_msg("%s", error->message);
    world->settings->api_threads = 2;
    world->settings->api_rate_per_address = per_address;
    world->settings->api_rate_per_device = per_device;
    world->api = api_new(world->settings, clock_system(), &error);
    if (world->api == NULL)
        fail_msg("%s", error->message);
    options.user = world->api;
    options.routes = api_routes(&options.n_routes);
    world->server = http_server_start(&options, &error);
    if (world->server == NULL)
        fail_msg("%s", error->message);
    world->base = g_strdup_printf("http://127.0.0.1:%u", http_server_port(world->server));
    return world;
}

static inline int world_free(void **state)
{
    struct world *world = *state;

    http_server_stop(world->server);
    api_free(world->api);
    unlink(world->key_file);
    unlink(world->public_file);
    g_free(world->key_file);
    g_free(world->public_file);
    settings_free(world->settings);
    stage_free(world->stage);
    g_free(world->base);
    g_free(world);
    return 0;
}

#endif
