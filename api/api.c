/* The route table, and what every route needs: a database per thread, rates, who is asking, JSON in
 * and out. Server threads share only what locks itself. */
#include "api/api_internal.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "engine/device.h"
#include "engine/device_store.h"

#define RATE_KEYS_MAX       100000 /* addresses and devices remembered */
#define RATE_BURST_S        10     /* seconds' worth that may come at once */
#define COMMUNES_MAX_AGE_US (10 * USEC_PER_SEC)

static const struct http_route routes[] = {
    {"POST", "/api/v1/devices", "device_register", DEVICE_BODY_MAX, api_device_register},
    {"PUT", "/api/v1/devices/{id}", "device_refresh", DEVICE_BODY_MAX, api_device_refresh},
    {"GET", "/api/v1/devices/{id}", "device_show", 0, api_device_show},
    {"DELETE", "/api/v1/devices/{id}", "device_unregister", 0, api_device_unregister},
    {"POST", "/api/v1/receipts", "receipts", API_RECEIPTS_MAX *RECEIPT_BODY_MAX, api_receipts},
    {"GET", "/api/v1/alerts", "alert_list", 0, api_alert_list},
    {"GET", "/api/v1/alerts/{id}", "alert_show", 0, api_alert_show},
    {"GET", "/api/v1/alerts.atom", "alert_feed", 0, api_alert_feed},
    {"GET", "/alerts", "alert_list", 0, api_alert_list},
    {"GET", "/alerts/{id}", "alert_show", 0, api_alert_show},
    {"GET", "/alerts.atom", "alert_feed", 0, api_alert_feed},
    {"GET", "/healthz", "healthz", 0, api_healthz},
    {"GET", "/readyz", "readyz", 0, api_readyz},
    {"GET", "/metrics", "metrics", 0, api_metrics},
};

const struct http_route *api_routes(size_t *out_n)
{
    *out_n = G_N_ELEMENTS(routes);
    return routes;
}

static bool check_realm(const struct settings *settings, GError **error)
{
    static const char *const realms[] = {"live", "exercise", "test", NULL};

    if (g_strv_contains(realms, settings->device_realm))
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                "[device] realm = %s: must be live, exercise or test", settings->device_realm);
    return false;
}

struct api *api_new(const struct settings *settings, const struct clock *clock, GError **error)
{
    loa_auto(api) api = g_new0(struct api, 1);

    api->settings = settings;
    api->clock = clock;
    api->n_threads = (size_t)settings->api_threads;
    api->threads = g_new0(struct api_thread, api->n_threads);
    api->per_address = rate_table_new(RATE_KEYS_MAX, (double)settings->api_rate_per_address,
                                      (double)(settings->api_rate_per_address * RATE_BURST_S));
    api->per_device = rate_table_new(RATE_KEYS_MAX, (double)settings->api_rate_per_device,
                                     (double)(settings->api_rate_per_device * RATE_BURST_S));
    if (!check_realm(settings, error))
        return NULL;
    api->device_key = device_secret_key_load(settings->device_secret_key_file, error);
    if (api->device_key == NULL)
        return NULL;
    api->release_keys =
        release_keys_load((const char *const *)settings->broadcast_public_key_files, error);
    if (api->release_keys == NULL)
        return NULL;
    api->shelf = broadcast_shelf_new(api->release_keys);
    api->receipts = receipt_writer_start(settings->database_conninfo, error);
    return api->receipts != NULL ? g_steal_pointer(&api) : NULL;
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    receipt_writer_stop(api->receipts);
    broadcast_shelf_free(api->shelf);
    if (api->release_keys != NULL)
        release_keys_free(api->release_keys);
    device_secret_key_free(api->device_key);
    rate_table_free(api->per_device);
    rate_table_free(api->per_address);
    for (size_t i = 0; i < api->n_threads; i++) {
        db_close(api->threads[i].db);
        if (api->threads[i].communes != NULL)
            g_hash_table_unref(api->threads[i].communes);
    }
    g_free(api->threads);
    g_free(api);
}

struct db *api_db(struct api *api, struct http_request *request)
{
    struct api_thread *thread = &api->threads[http_request_thread(request)];
    g_autoptr(GError) error = NULL;

    if (thread->db == NULL)
        thread->db = db_open(api->settings->database_conninfo, &error);
    if (thread->db == NULL)
        http_reply_error(request, error);
    return thread->db;
}

GHashTable *api_communes(struct api *api, struct http_request *request, const char *code)
{
    struct api_thread *thread = &api->threads[http_request_thread(request)];
    int64_t now = api->clock->mono_us(api->clock);
    g_autoptr(GError) error = NULL;
    struct db *db;
    GHashTable *fresh;

    if (thread->communes != NULL &&
        (code == NULL || g_hash_table_contains(thread->communes, code) ||
         now - thread->communes_mono_us < COMMUNES_MAX_AGE_US))
        return thread->communes;
    db = api_db(api, request);
    if (db == NULL)
        return NULL;
    fresh = device_communes_load(db, &error);
    if (fresh == NULL) {
        http_reply_error(request, error);
        return NULL;
    }
    if (thread->communes != NULL)
        g_hash_table_unref(thread->communes);
    thread->communes = fresh;
    thread->communes_mono_us = now;
    return fresh;
}

static bool take(struct api *api, struct http_request *request, struct rate_table *table,
                 const char *key)
{
    char wait[16];
    unsigned wait_s = 0;

    if (rate_table_take(table, key, api->clock->mono_us(api->clock), &wait_s))
        return true;
    g_snprintf(wait, sizeof(wait), "%u", wait_s);
    http_reply_header(request, "Retry-After", wait);
    http_reply_problem(request, 429, "too-many-requests", "Too many requests",
                       "Wait for the seconds that Retry-After tells, then repeat the request.",
                       NULL, 0);
    return false;
}

/* Whoever has one IPv6 address has 2^64 of them: the /64 counts as one. */
static void address_key(const char *address, char out[INET6_ADDRSTRLEN])
{
    struct in6_addr v6;

    g_strlcpy(out, address, INET6_ADDRSTRLEN);
    if (inet_pton(AF_INET6, address, &v6) != 1 || IN6_IS_ADDR_V4MAPPED(&v6))
        return;
    memset(v6.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &v6, out, INET6_ADDRSTRLEN);
}

bool api_admit(struct api *api, struct http_request *request)
{
    char key[INET6_ADDRSTRLEN];

    address_key(http_request_address(request), key);
    return take(api, request, api->per_address, key);
}

void api_reply_unauthorized(struct http_request *request, const char *detail)
{
    http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"loa-device\"");
    http_reply_problem(request, 401, "unauthorized", "The device's secret is needed", detail, NULL,
                       0);
}

static bool parse_id(const char *text, int64_t *out)
{
    guint64 id;

    /* The number in its one form: "07" or "+7" is not the id that was told. */
    if (text == NULL || text[0] < '1' || text[0] > '9' ||
        !g_ascii_string_to_unsigned(text, 10, 1, INT64_MAX, &id, NULL))
        return false;
    *out = (int64_t)id;
    return true;
}

bool api_authenticate(struct api *api, struct http_request *request, const char *path_id,
                      int64_t *out_device_id, int *out_generation)
{
    const char *bearer = http_request_header(request, "Authorization");
    const char *named = http_request_header(request, "Loa-Device");
    int64_t id;
    char key[32];

    if (!parse_id(named != NULL ? named : path_id, &id)) {
        if (named != NULL || path_id == NULL)
            api_reply_unauthorized(request, "Send the header \"Loa-Device: <device id>\".");
        else
            http_reply_problem(request, 404, "not-found", "No such device",
                               "A device id is a number.", NULL, 0);
        return false;
    }
    if (bearer == NULL || g_ascii_strncasecmp(bearer, "Bearer ", 7) != 0 ||
        !device_secret_check(api->device_key, id, bearer + 7, out_generation)) {
        api_reply_unauthorized(request,
                               "Send \"Authorization: Bearer <secret>\" with the secret that the "
                               "registration of this device returned.");
        return false;
    }
    if (path_id != NULL && named != NULL && strcmp(path_id, named) != 0) {
        http_reply_problem(request, 403, "not-yours", "This is another device",
                           "A device sees and changes only its own registration.", NULL, 0);
        return false;
    }
    g_snprintf(key, sizeof(key), "%" PRId64, id);
    *out_device_id = id;
    return take(api, request, api->per_device, key);
}

json_t *api_body(struct http_request *request, size_t max)
{
    g_autoptr(GError) error = NULL;
    size_t len;
    const char *body = http_request_body(request, &len);
    json_t *object = json_parse_object(body != NULL ? body : "", len, max, &error);

    if (object == NULL)
        http_reply_problem(request, 400, "invalid-json", "The body is not a JSON object",
                           error->message, NULL, 0);
    return object;
}

bool api_reply_complaints(struct http_request *request, struct json_reader *reader)
{
    size_t n = json_reader_complaints(reader);
    g_autofree struct http_problem_field *fields = g_new0(struct http_problem_field, n + 1);

    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        json_reader_complaint(reader, i, &fields[i].name, &fields[i].detail);
    http_reply_problem(request, 422, "invalid-field", "Some fields are wrong",
                       "Nothing was changed. Correct the named fields and send all again.", fields,
                       n);
    return true;
}

void api_reply_json(struct http_request *request, unsigned status, json_t *json)
{
    g_autofree char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    http_reply(request, status, "application/json; charset=utf-8", text, strlen(text));
}
