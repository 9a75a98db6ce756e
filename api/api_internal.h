/* What the route files share. */
#ifndef LOA_API_API_INTERNAL_H
#define LOA_API_API_INTERNAL_H

#include "api/api.h"
#include "base/db.h"
#include "base/json.h"
#include "engine/broadcast_live.h"
#include "engine/device_secret.h"
#include "engine/receipt.h"
#include "engine/release.h"

#define API_RECEIPTS_MAX 20 /* in one request */

/* Of one server thread; touched by no other. */
struct api_thread {
    struct db *db;        /* opened by the first request that needs it */
    GHashTable *communes; /* known codes; NULL = not read yet */
    int64_t communes_mono_us;
};

struct api {
    const struct settings *settings;
    const struct clock *clock;
    struct device_secret_key *device_key;
    struct release_keys *release_keys;
    struct broadcast_shelf *shelf;
    struct receipt_writer *receipts;
    struct rate_table *per_address;
    struct rate_table *per_device;
    struct api_thread *threads; /* one per server thread */
    size_t n_threads;
};

/* The calling thread's database; NULL: replied. */
struct db *api_db(struct api *api, struct http_request *request);
/* Known commune codes; read again when the code is unknown and the set older than 10 s. code may
 * be NULL. NULL: replied. Borrowed. */
GHashTable *api_communes(struct api *api, struct http_request *request, const char *code);

/* One request of this address; false: too many, replied 429. Every route but health asks first. */
bool api_admit(struct api *api, struct http_request *request);
/* The device that signs this request with its secret. path_id: the {id} of the path, or NULL: then
 * the header Loa-Device names it. Counts the device's rate. false: replied 401, 403, 404 or 429. */
bool api_authenticate(struct api *api, struct http_request *request, const char *path_id,
                      int64_t *out_device_id, int *out_generation);
/* 401 with what to do. */
void api_reply_unauthorized(struct http_request *request, const char *detail);

/* The body as a JSON object of at most max bytes; NULL: replied. Owned. */
json_t *api_body(struct http_request *request, size_t max);
/* Ends the reader and replies 422 with every complaint, names prefixed (JSON pointers); false when
 * there was none. */
bool api_reply_complaints(struct http_request *request, struct json_reader *reader);
/* Takes the reference. */
void api_reply_json(struct http_request *request, unsigned status, json_t *json);

/* Handlers, one file per resource. */
void api_device_register(struct http_request *request, void *user);
void api_device_refresh(struct http_request *request, void *user);
void api_device_show(struct http_request *request, void *user);
void api_device_unregister(struct http_request *request, void *user);
void api_receipts(struct http_request *request, void *user);
void api_alert_list(struct http_request *request, void *user);
void api_alert_show(struct http_request *request, void *user);
void api_alert_feed(struct http_request *request, void *user);
void api_healthz(struct http_request *request, void *user);
void api_readyz(struct http_request *request, void *user);
void api_metrics(struct http_request *request, void *user);

#endif
