/* POST /api/v1/receipts: one receipt or an array of them. Confirmed are those that are durable; the
 * device repeats the others. The request waits for its batch suspended, not on a thread: thousands
 * of them share one commit. */
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

static void faults_init(struct faults *faults)
{
    faults->fields = g_array_new(FALSE, FALSE, sizeof(struct http_problem_field));
    faults->texts = g_ptr_array_new_with_free_func(g_free);
}

static void faults_clear(struct faults *faults)
{
    g_array_unref(faults->fields);
    g_ptr_array_unref(faults->texts);
}

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

/* ---- a request that waits ---- */

struct waiting {
    struct receipt_job job; /* first: the writer hands it back */
    struct http_request *request;
    bool single;
    enum receipt_result results[API_RECEIPTS_MAX];
    struct receipt receipts[]; /* job.n */
};

static struct waiting *waiting_new(size_t n)
{
    struct waiting *w = g_malloc0(sizeof(*w) + n * sizeof(w->receipts[0]));

    w->job.receipts = w->receipts;
    w->job.n = n;
    w->job.results = w->results;
    return w;
}

static void waiting_free(void *data)
{
    struct waiting *w = data;

    g_clear_error(&w->job.error);
    g_free(w);
}

/* "name":[…] of the receipts with this result; an alert id needs no escaping. */
static size_t append_results(GString *json, const struct waiting *w, const char *name,
                             enum receipt_result result)
{
    size_t n = 0;

    g_string_append_printf(json, "\"%s\":[", name);
    for (size_t i = 0; i < w->job.n; i++)
        if (w->results[i] == result)
            g_string_append_printf(json, "%s{\"alert\":\"%s\",\"v\":%d,\"event\":\"%s\"}",
                                   n++ > 0 ? "," : "", w->receipts[i].alert_id,
                                   w->receipts[i].version,
                                   receipt_event_name(w->receipts[i].event));
    g_string_append_c(json, ']');
    return n;
}

/* All of them unknown: the request as a whole is wrong. */
static void reply_unknown(struct http_request *request, const struct waiting *w)
{
    struct faults faults;

    faults_init(&faults);
    for (size_t i = 0; i < w->job.n; i++)
        fault(&faults, i, w->single, "alert",
              "was not released in this version, or this device is not registered");
    reply_faults(request, &faults, "Forget these receipts: they will never be confirmed.");
    faults_clear(&faults);
}

/* {"confirmed":[…]}; receipts that Loa does not know are named in "unknown": to be forgotten. */
static void reply_results(struct http_request *request, const struct waiting *w)
{
    g_autoptr(GString) json = g_string_new("{");
    size_t stored = append_results(json, w, "confirmed", RECEIPT_STORED);

    if (stored == 0) {
        reply_unknown(request, w);
        return;
    }
    if (stored < w->job.n) {
        g_string_append_c(json, ',');
        append_results(json, w, "unknown", RECEIPT_UNKNOWN);
    }
    g_string_append_c(json, '}');
    http_reply(request, 200, "application/json; charset=utf-8", json->str, json->len);
}

static void answer(struct http_request *request, void *data)
{
    const struct waiting *w = data;

    if (w->job.error != NULL)
        http_reply_error(request, w->job.error);
    else
        reply_results(request, w);
}

/* On the writer's thread. */
static void on_done(struct receipt_job *job)
{
    http_request_resume(((struct waiting *)job)->request);
}

/* Suspended first: the writer may be done before submit has returned. */
static void store(struct api *api, struct http_request *request, struct waiting *w)
{
    w->request = request;
    w->job.done = on_done;
    http_request_suspend(request, answer, w, waiting_free);
    if (!receipt_writer_submit(api->receipts, &w->job, &w->job.error))
        http_request_resume(request);
}

static void take_receipts(struct api *api, struct http_request *request, json_t *array, bool single,
                          int64_t device_id, struct faults *faults)
{
    size_t n = json_array_size(array);
    struct waiting *w;

    if (n == 0 || n > API_RECEIPTS_MAX) {
        http_reply_problem(request, 422, "invalid-field", "Wrong number of receipts",
                           "Send 1 to 20 receipts in one request.", NULL, 0);
        return;
    }
    w = waiting_new(n);
    w->single = single;
    for (size_t i = 0; i < n; i++) {
        read_one(json_array_get(array, i), i, single, &w->receipts[i], faults);
        w->receipts[i].device_id = device_id;
    }
    if (faults->fields->len == 0) {
        store(api, request, w);
        return;
    }
    reply_faults(request, faults, "Nothing was stored. Correct the named fields.");
    waiting_free(w);
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
    faults_init(&faults);
    take_receipts(api, request, array, single, device_id, &faults);
    faults_clear(&faults);
}
