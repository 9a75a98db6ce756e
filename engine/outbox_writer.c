/* See the header. A failed batch goes back to the others: the epochs make a repeat harmless. */
#include "engine/outbox_writer.h"

#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/outbox_store.h"

#define BATCH_MAX   1000
#define BATCHES_OUT 2
#define AGAIN_MS    300

struct outbox_writer {
    struct db_async *db;
    GArray *results; /* struct outbox_result: not yet being written */
    unsigned out;    /* batches being written */
    guint source;
    void (*written)(void *user);
    void *user;
};

struct batch {
    struct outbox_writer *writer;
    GArray *results;
};

static void result_clear(void *data)
{
    g_free(((struct outbox_result *)data)->token);
}

static GArray *results_new(void)
{
    GArray *results = g_array_new(FALSE, FALSE, sizeof(struct outbox_result));

    g_array_set_clear_func(results, result_clear);
    return results;
}

static void write_soon(struct outbox_writer *w, guint delay_ms);

static void count(const GArray *results)
{
    for (guint i = 0; i < results->len; i++) {
        const struct outbox_result *r = &g_array_index(results, struct outbox_result, i);
        char label[48];
        if (strcmp(r->state, "queued") == 0 || strcmp(r->state, "unstored") == 0)
            continue;
        g_snprintf(label, sizeof(label), "%s/%s", r->channel, r->state);
        metric_add(METRIC_OUTBOX_SENT, label, 1);
    }
}

static void batch_written(PGresult *res, const GError *error, void *user)
{
    g_autofree struct batch *batch = user;
    struct outbox_writer *w = batch->writer;

    (void)res;
    w->out--;
    if (error != NULL) {
        log_event(LOG_LEVEL_WARN, "outbox_unsettled", LOG_STR("error", error->message));
        g_array_append_vals(w->results, batch->results->data, batch->results->len);
        g_array_set_clear_func(batch->results, NULL); /* the tokens moved */
    } else {
        count(batch->results);
    }
    g_array_unref(batch->results);
    write_soon(w, error != NULL ? AGAIN_MS : 0);
    w->written(w->user);
}

static void tokens_learned(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)user;
    if (error != NULL) /* the next push of the same token learns it again */
        log_event(LOG_LEVEL_WARN, "outbox_tokens_unwritten", LOG_STR("error", error->message));
}

static void learn_tokens(struct outbox_writer *w, const GArray *results)
{
    guint n = results->len;
    g_autofree int64_t *devices = g_new(int64_t, 2 * n);
    g_autofree const char **tokens = g_new(const char *, 2 * n);
    struct outbox_tokens t = {.dead_device = devices,
                              .dead_token = tokens,
                              .proven_device = devices + n,
                              .proven_token = tokens + n};

    for (guint i = 0; i < n; i++) {
        const struct outbox_result *r = &g_array_index(results, struct outbox_result, i);
        if (r->token_dead) {
            devices[t.n_dead] = r->device_id;
            tokens[t.n_dead++] = r->token;
        } else if (r->token_proven) {
            devices[n + t.n_proven] = r->device_id;
            tokens[n + t.n_proven++] = r->token;
        }
    }
    if (t.n_dead > 0 || t.n_proven > 0)
        outbox_learn_tokens(w->db, &t, tokens_learned, NULL);
}

static void settle(struct outbox_writer *w, struct batch *batch)
{
    guint n = batch->results->len;
    g_autofree int64_t *notification = g_new(int64_t, n);
    g_autofree int64_t *device = g_new(int64_t, n);
    g_autofree int64_t *delay_ms = g_new(int64_t, n);
    g_autofree int32_t *epoch = g_new(int32_t, n);
    g_autofree int32_t *attempt = g_new(int32_t, n);
    g_autofree const char **state = g_new(const char *, n);
    g_autofree const char **reason = g_new(const char *, n);
    struct outbox_results columns = {n,     notification, device,  epoch,
                                     state, delay_ms,     attempt, reason};

    for (guint i = 0; i < n; i++) {
        const struct outbox_result *r = &g_array_index(batch->results, struct outbox_result, i);
        notification[i] = r->notification_id;
        device[i] = r->device_id;
        epoch[i] = r->epoch;
        state[i] = r->state;
        delay_ms[i] = r->delay_ms;
        attempt[i] = r->attempt;
        reason[i] = r->reason;
    }
    outbox_settle(w->db, &columns, batch_written, batch);
}

static gboolean write_now(gpointer data)
{
    struct outbox_writer *w = data;

    w->source = 0;
    while (w->results->len > 0 && w->out < BATCHES_OUT) {
        struct batch *batch = g_new(struct batch, 1);
        guint n = MIN(w->results->len, BATCH_MAX);
        guint rest = w->results->len - n;
        *batch = (struct batch){w, results_new()};
        g_array_append_vals(batch->results, &g_array_index(w->results, struct outbox_result, rest),
                            n);
        g_array_set_clear_func(w->results, NULL); /* the tokens moved */
        g_array_set_size(w->results, rest);
        g_array_set_clear_func(w->results, result_clear);
        w->out++;
        learn_tokens(w, batch->results);
        settle(w, batch);
    }
    return G_SOURCE_REMOVE;
}

static void write_soon(struct outbox_writer *w, guint delay_ms)
{
    if (w->source != 0 || w->results->len == 0)
        return;
    w->source = delay_ms > 0 ? g_timeout_add(delay_ms, write_now, w) : g_idle_add(write_now, w);
}

struct outbox_writer *outbox_writer_new(struct db_async *db, void (*written)(void *user),
                                        void *user)
{
    struct outbox_writer *w = g_new0(struct outbox_writer, 1);

    *w = (struct outbox_writer){
        .db = db, .results = results_new(), .written = written, .user = user};
    return w;
}

void outbox_writer_free(struct outbox_writer *w)
{
    if (w == NULL)
        return;
    if (w->source != 0)
        g_source_remove(w->source);
    g_array_unref(w->results);
    g_free(w);
}

void outbox_writer_add(struct outbox_writer *w, const struct outbox_result *result)
{
    g_array_append_val(w->results, *result);
    if (w->out < BATCHES_OUT)
        write_soon(w, 0);
}

bool outbox_writer_idle(const struct outbox_writer *w)
{
    return w->results->len == 0 && w->out == 0;
}
