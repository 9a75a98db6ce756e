/* /api/v1/devices: registration, refresh, own row, unregistration. The secret is an HMAC and is
 * told by the registration only; alerts that are live now come in the same answer. */
#include <inttypes.h>
#include <string.h>

#include "api/api_internal.h"
#include "base/crypto.h"
#include "base/error.h"
#include "engine/device.h"
#include "engine/device_store.h"

#define REFRESH_TRIES 3

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static json_t *time_json(int64_t utc_us)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(utc_us / USEC_PER_SEC);
    g_autofree char *text = time != NULL ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ") : NULL;

    return text_or_null(text);
}

/* What a device may see of its row; the token only by its tail. */
static json_t *device_json(const struct device_row *row)
{
    const struct device_state *state = &row->state;
    json_t *json = json_object();
    char id[24];

    g_snprintf(id, sizeof(id), "%" PRId64, row->id);
    json_object_set_new(json, "device", json_string(id));
    json_object_set_new(json, "realm", json_string(row->realm));
    json_object_set_new(json, "channel", json_string(state->channel));
    json_object_set_new(json, "id_kind", text_or_null(state->id_kind));
    json_object_set_new(
        json, "token_tail",
        text_or_null(state->push_token != NULL ? device_token_tail(state->push_token) : NULL));
    json_object_set_new(json, "environment", text_or_null(state->apns_environment));
    json_object_set_new(json, "mqtt", json_boolean(state->mqtt));
    json_object_set_new(json, "os", json_string(state->os));
    json_object_set_new(json, "app_version", json_string(state->app_version));
    json_object_set_new(json, "language", json_string(state->language));
    json_object_set_new(json, "commune", text_or_null(state->commune));
    json_object_set_new(json, "silent_information", json_boolean(state->silent_information));
    json_object_set_new(json, "registered", time_json(row->registered_utc_us));
    json_object_set_new(json, "last_seen", time_json(row->last_seen_utc_us));
    return json;
}

/* The answer to a registration or refresh: id, channel, live alerts; the secret when asked for. */
static void reply_registered(struct api *api, struct http_request *request, struct db *db,
                             unsigned status, int64_t id, int generation, const char *realm,
                             const struct device_state *state, bool with_secret)
{
    g_autoptr(GError) error = NULL;
    json_t *alerts = broadcast_live(api->shelf, db, realm, state->commune, state->language, &error);
    json_t *json;
    char text[DEVICE_SECRET_MAX];

    if (alerts == NULL) {
        http_reply_error(request, error); /* stored; the repeated request brings the alerts */
        return;
    }
    json = json_object();
    g_snprintf(text, sizeof(text), "%" PRId64, id);
    json_object_set_new(json, "device", json_string(text));
    if (with_secret) {
        device_secret_make(api->device_key, id, generation, text);
        json_object_set_new(json, "secret", json_string(text));
        explicit_bzero(text, sizeof(text));
    }
    json_object_set_new(json, "realm", json_string(realm));
    json_object_set_new(json, "channel", json_string(state->channel));
    json_object_set_new(json, "mqtt", json_boolean(state->mqtt));
    json_object_set_new(json, "alerts", alerts);
    api_reply_json(request, status, json);
}

/* SHA-256 of the Idempotency-Key; false: replied. */
static bool read_key(struct http_request *request, uint8_t out[SHA256_LEN])
{
    static const struct http_problem_field field = {
        "Idempotency-Key", "send 16 to 200 random printable ASCII characters, new for each "
                           "registration, the same when "
                           "a registration is repeated because no answer came"};
    const char *key = http_request_header(request, "Idempotency-Key");

    if (key != NULL && device_key_valid(key)) {
        crypto_sha256(key, strlen(key), out);
        return true;
    }
    http_reply_problem(request, 422, "invalid-field", "The header Idempotency-Key is needed",
                       "It makes a repeated registration harmless.", &field, 1);
    return false;
}

/* Reads and merges the body over before (NULL: new). false: replied. Strings live in *body. */
static bool read_device(struct api *api, struct http_request *request, json_t *body,
                        const struct device_state *before, struct device_state *out)
{
    loa_auto(json_reader) reader = json_reader_new(body);
    struct device_told told;
    GHashTable *communes;

    device_told_read(reader, before == NULL, &told);
    json_reader_end(reader);
    communes = api_communes(api, request, told.commune);
    if (communes == NULL)
        return false;
    device_merge(before, &told, communes, reader, out);
    return !api_reply_complaints(request, reader);
}

void api_device_register(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) body = NULL;
    loa_auto(device_row) row = NULL;
    struct device_state state;
    uint8_t key[SHA256_LEN];
    bool created;
    struct db *db;

    if (!api_admit(api, request) || !read_key(request, key) ||
        (body = api_body(request, DEVICE_BODY_MAX)) == NULL ||
        !read_device(api, request, body, NULL, &state) || (db = api_db(api, request)) == NULL)
        return;
    row = device_register(db, key, api->settings->device_realm, &state, &created, &error);
    if (row == NULL)
        http_reply_error(request, error);
    else
        reply_registered(api, request, db, created ? 201 : 200, row->id, row->generation,
                         row->realm, &row->state, true);
}

/* The caller's own row; NULL: replied. */
static struct device_row *own_row(struct http_request *request, struct db *db, int64_t id,
                                  int generation, bool for_update)
{
    g_autoptr(GError) error = NULL;
    loa_auto(device_row) row = device_get(db, id, for_update, &error);

    if (row == NULL) {
        http_reply_error(request, error);
        return NULL;
    }
    if (row->generation != generation) {
        api_reply_unauthorized(request, "This secret has been replaced; register again.");
        return NULL;
    }
    if (device_row_unregistered(row)) {
        http_reply_problem(request, 404, "unregistered", "This device has been unregistered",
                           "Register again with POST /api/v1/devices and a new Idempotency-Key.",
                           NULL, 0);
        return NULL;
    }
    return g_steal_pointer(&row);
}

enum refresh { REFRESH_DONE, REFRESH_REPLIED, REFRESH_AGAIN };

/* Inside a transaction: lock, lay the body over the row, write. AGAIN: error says why. */
static enum refresh refresh_row(struct api *api, struct http_request *request, struct db *db,
                                json_t *body, int64_t id, int generation, GError **error)
{
    loa_auto(device_row) row = own_row(request, db, id, generation, true);
    struct device_state state;

    if (row == NULL || !read_device(api, request, body, &row->state, &state))
        return REFRESH_REPLIED;
    if (!device_update(db, id, &state, error) || !db_commit(db, error))
        return REFRESH_AGAIN;
    reply_registered(api, request, db, 200, id, generation, row->realm, &state, false);
    return REFRESH_DONE;
}

void api_device_refresh(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(json_t) body = NULL;
    enum refresh result = REFRESH_AGAIN;
    int64_t id;
    int generation;
    struct db *db;

    if (!api_admit(api, request) ||
        !api_authenticate(api, request, http_request_segment(request, 0), &id, &generation) ||
        (body = api_body(request, DEVICE_BODY_MAX)) == NULL || (db = api_db(api, request)) == NULL)
        return;
    /* Two devices that take each other's token, or one token at once, meet in the database: the one
     * who loses begins again. */
    for (int try = 1; result == REFRESH_AGAIN; try++) {
        g_autoptr(GError) error = NULL;
        if (db_begin(db, &error))
            result = refresh_row(api, request, db, body, id, generation, &error);
        db_rollback(db);
        if (result == REFRESH_AGAIN && try == REFRESH_TRIES) {
            http_reply_error(request, error);
            return;
        }
    }
}

void api_device_show(struct http_request *request, void *user)
{
    struct api *api = user;
    int64_t id;
    int generation;
    struct db *db;

    if (!api_admit(api, request) ||
        !api_authenticate(api, request, http_request_segment(request, 0), &id, &generation) ||
        (db = api_db(api, request)) == NULL)
        return;
    loa_auto(device_row) row = own_row(request, db, id, generation, false);
    if (row == NULL)
        return;
    api_reply_json(request, 200, device_json(row));
}

void api_device_unregister(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(GError) error = NULL;
    loa_auto(device_row) row = NULL;
    int64_t id;
    int generation;
    struct db *db;

    if (!api_admit(api, request) ||
        !api_authenticate(api, request, http_request_segment(request, 0), &id, &generation) ||
        (db = api_db(api, request)) == NULL)
        return;
    row = device_get(db, id, false, &error);
    if (row == NULL)
        http_reply_error(request, error);
    else if (row->generation != generation)
        api_reply_unauthorized(request, "This secret has been replaced; register again.");
    else if (!device_unregister(db, id, &error))
        http_reply_error(request, error);
    else
        http_reply(request, 204, NULL, "", 0);
}
