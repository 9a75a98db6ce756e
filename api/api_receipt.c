/* POST /api/v1/receipts: one receipt or an array of them. Confirmed are those that are durable; the
 * device repeats the others. */
#include <string.h>

#include "api/api_internal.h"
#include "base/error.h"

/* The body as an array of receipts: an object counts as an array of one. NULL: replied. */
static json_t *receipts_array(struct http_request *request, bool *out_single)
{
    size_t len = 0;
    const char *body = http_request_body(request, &len);
    size_t at = 0;
    json_t *array;
    g_autofree char *wrapped = NULL;
    g_autoptr(json_t) object = NULL;
    g_autoptr(GError) error = NULL;

    while (at < len && g_ascii_isspace(body[at]))
        at++;
    *out_single = at == len || body[at] != '[';
    if (*out_single) {
        object = api_body(request, API_RECEIPTS_MAX * RECEIPT_BODY_MAX);
        return object != NULL ? json_pack("[O]", object) : NULL;
    }
    /* The parser takes objects only, so that one place decides about depth and doubles. */
    wrapped = g_strdup_printf("{\"receipts\":%.*s}", (int)len, body);
    object = strlen(wrapped) == len + strlen("{\"receipts\":}")
                 ? json_parse_object(wrapped, strlen(wrapped), strlen(wrapped), &error)
                 : NULL;
    array = json_object_get(object, "receipts");
    if (object != NULL && json_object_size(object) == 1 && json_is_array(array))
        return json_incref(array);
    http_reply_problem(request, 400, "invalid-json", "The body is not JSON",
                       error != NULL ? error->message : "Send one object or an array of objects.",
                       NULL, 0);
    return NULL;
}

/* Everything that is wrong with any of the receipts, by JSON pointer ("/3/event"). */
struct faults {
    GArray *fields; /* struct http_problem_field */
    GPtrArray *texts;
};

static void fault(struct faults *faults, size_t index, bool single, const char *name,
                  const char *detail)
{
    char *pointer = single ? g_strdup(name) : g_strdup_printf("/%zu/%s", index, name);
    struct http_problem_field field = {pointer, g_strdup(detail)};

    g_ptr_array_add(faults->texts, (gpointer)field.name);
    g_ptr_array_add(faults->texts, (gpointer)field.detail);
    g_array_append_val(faults->fields, field);
}

static void read_one(json_t *item, size_t index, bool single, struct receipt *out,
                     struct faults *faults)
{
    loa_auto(json_reader) reader = NULL;

    if (!json_is_object(item)) {
        fault(faults, index, single, "", "must be an object");
        return;
    }
    reader = json_reader_new(item);
    receipt_read(reader, out);
    json_reader_end(reader);
    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        const char *name, *detail;
        json_reader_complaint(reader, i, &name, &detail);
        fault(faults, index, single, name, detail);
    }
}

static void reply_faults(struct http_request *request, const struct faults *faults,
                         const char *detail)
{
    http_reply_problem(request, 422, "invalid-field", "Some receipts are wrong", detail,
                       (const struct http_problem_field *)(void *)faults->fields->data,
                       faults->fields->len);
}

/* {"confirmed":[…]}; receipts that Loa does not know are named in "unknown": to be forgotten. */
static void reply_results(struct http_request *request, json_t *array,
                          const enum receipt_result *results)
{
    json_t *confirmed = json_array();
    json_t *unknown = json_array();
    json_t *reply = json_object();

    for (size_t i = 0; i < json_array_size(array); i++)
        json_array_append(results[i] == RECEIPT_STORED ? confirmed : unknown,
                          json_array_get(array, i));
    json_object_set_new(reply, "confirmed", confirmed);
    if (json_array_size(unknown) > 0)
        json_object_set_new(reply, "unknown", unknown);
    else
        json_decref(unknown);
    api_reply_json(request, 200, reply);
}

/* All of them unknown: the request as a whole is wrong. */
static bool none_stored(const enum receipt_result *results, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (results[i] == RECEIPT_STORED)
            return false;
    return true;
}

static void store(struct api *api, struct http_request *request, json_t *array, bool single,
                  const struct receipt *receipts, struct faults *faults)
{
    enum receipt_result results[API_RECEIPTS_MAX];
    g_autoptr(GError) error = NULL;
    size_t n = json_array_size(array);

    if (!receipt_writer_store(api->receipts, receipts, n, results, &error)) {
        http_reply_error(request, error);
        return;
    }
    if (!none_stored(results, n)) {
        reply_results(request, array, results);
        return;
    }
    for (size_t i = 0; i < n; i++)
        fault(faults, i, single, "alert",
              "was not released in this version, or this device is not registered");
    reply_faults(request, faults, "Forget these receipts: they will never be confirmed.");
}

static void take_receipts(struct api *api, struct http_request *request, json_t *array, bool single,
                          int64_t device_id, struct faults *faults)
{
    struct receipt receipts[API_RECEIPTS_MAX];
    size_t n = json_array_size(array);

    if (n == 0 || n > API_RECEIPTS_MAX) {
        http_reply_problem(request, 422, "invalid-field", "Wrong number of receipts",
                           "Send 1 to 20 receipts in one request.", NULL, 0);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        read_one(json_array_get(array, i), i, single, &receipts[i], faults);
        receipts[i].device_id = device_id;
    }
    if (faults->fields->len > 0)
        reply_faults(request, faults, "Nothing was stored. Correct the named fields.");
    else
        store(api, request, array, single, receipts, faults);
}

void api_receipts(struct http_request *request, void *user)
{
    struct api *api = user;
    g_autoptr(json_t) array = NULL;
    struct faults faults;
    bool single;
    int64_t device_id;
    int generation;

    if (!api_admit(api, request) ||
        !api_authenticate(api, request, NULL, &device_id, &generation) ||
        (array = receipts_array(request, &single)) == NULL)
        return;
    faults.fields = g_array_new(FALSE, FALSE, sizeof(struct http_problem_field));
    faults.texts = g_ptr_array_new_with_free_func(g_free);
    take_receipts(api, request, array, single, device_id, &faults);
    g_array_unref(faults.fields);
    g_ptr_array_unref(faults.texts);
}
