/* Broadcasts in use: loaded once, verified before the first frame, rendered once per channel,
 * language and loudness. A row whose release signature is wrong is refused by this process and
 * raises an alarm. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/broadcast_store.h"
#include "engine/fanout_internal.h"

static void wake(struct fan_broadcast *b)
{
    struct fanout *f = b->fanout;

    for (size_t i = 0; i < f->n_channels; i++)
        for (int l = 0; l < LANE_COUNT; l++) {
            GPtrArray *chunks = f->channels[i].lanes[l].chunks;
            for (guint c = chunks->len; c-- > 0;) {
                struct chunk *chunk = c < chunks->len ? chunks->pdata[c] : NULL;
                if (chunk != NULL && chunk->broadcast == b)
                    fan_chunk_step(chunk);
            }
        }
    fan_plans_step(f);
}

static void write_refusal(void *user);

/* Until it is written, other processes and the next start of this one look at the broadcast again.
 */
static void refusal_written(PGresult *res, const GError *error, void *user)
{
    struct fan_broadcast *b = user;

    (void)res;
    if (error != NULL)
        fanout_again(b->fanout, "broadcast_refuse", error, write_refusal, b);
    else
        b->chunks--;
}

static void write_refusal(void *user)
{
    struct fan_broadcast *b = user;

    fanout_refuse(b->fanout->options.db_plan, b->id, b->refusal, refusal_written, b);
}

static void refuse(struct fan_broadcast *b, const char *why)
{
    b->state = FAN_BROADCAST_REFUSED;
    log_event(LOG_LEVEL_ALERT, "broadcast_refused", LOG_INT("broadcast", b->id),
              LOG_STR("reason", why));
    metric_add(METRIC_SIGNATURES_REFUSED, NULL, 1);
    b->refusal = g_strdup(why);
    b->chunks++;
    write_refusal(b);
}

/* 0 an emergency, then warnings before information, urgent before ordinary. */
static int priority(const struct broadcast *b)
{
    if (broadcast_is_emergency(b))
        return 0;
    return (b->kind == BROADCAST_CANH_BAO ? 1 : 4) + (BROADCAST_KHAN_CAP - (int)b->level);
}

static void load(void *user);

static void loaded(PGresult *res, const GError *error, void *user)
{
    struct fan_broadcast *b = user;
    g_autoptr(GError) why = NULL;

    if (error != NULL) {
        fanout_again(b->fanout, "broadcast_load", error, load, b);
        return;
    }
    if (PQntuples(res) == 1)
        b->broadcast = broadcast_decode(res, 0, &why);
    else
        g_set_error(&why, LOA_ERROR, LOA_ERROR_NOT_FOUND, "the broadcast's row is not there");
    if (b->broadcast != NULL && release_verify(b->broadcast, b->fanout->options.keys, &why)) {
        b->state = FAN_BROADCAST_READY;
        b->emergency = broadcast_is_emergency(b->broadcast);
        b->priority = priority(b->broadcast);
        b->cancelled = b->broadcast->state == BROADCAST_CANCELLED;
    } else {
        refuse(b, why->message);
    }
    wake(b);
}

static void load(void *user)
{
    struct fan_broadcast *b = user;
    struct db_params *params = db_params_new();

    db_param_i64(params, b->id);
    db_async_query(b->fanout->options.db_plan, broadcast_load_sql, params, loaded, b);
}

static void payload_clear(gpointer data)
{
    struct fan_payload *p = data;

    if (p->payload != NULL)
        p->ops->payload_free(p->payload);
    g_free(p->language);
}

struct fan_broadcast *fan_broadcast_get(struct fanout *f, int64_t id)
{
    struct fan_broadcast *b = g_hash_table_lookup(f->broadcasts, &id);

    if (b != NULL)
        return b;
    b = g_new0(struct fan_broadcast, 1);
    b->fanout = f;
    b->id = id;
    b->seen = true;
    b->payloads = g_array_new(FALSE, TRUE, sizeof(struct fan_payload));
    g_array_set_clear_func(b->payloads, payload_clear);
    g_hash_table_insert(f->broadcasts, &b->id, b);
    load(b);
    return b;
}

void fan_broadcast_free(struct fan_broadcast *b)
{
    fanout_forget(b->fanout, b);
    g_array_free(b->payloads, TRUE);
    if (b->broadcast != NULL)
        broadcast_free(b->broadcast);
    g_free(b->refusal);
    g_free(b);
}

int fan_broadcast_payload(struct fan_broadcast *b, struct channel *channel, const char *language,
                          bool silent)
{
    struct fan_payload fresh = {.channel = channel, .ops = channel->ops, .silent = silent};
    struct message message;
    g_autoptr(GError) error = NULL;

    assert(b->state == FAN_BROADCAST_READY);
    for (guint i = 0; i < b->payloads->len; i++) {
        const struct fan_payload *p = &g_array_index(b->payloads, struct fan_payload, i);
        if (p->channel == channel && p->silent == silent && strcmp(p->language, language) == 0)
            return (int)i;
    }
    broadcast_message(b->broadcast, language, &message);
    message.silent = silent;
    if (strcmp(message.language, language) != 0) /* no such text: share Vietnamese's payload */
        return fan_broadcast_payload(b, channel, message.language, silent);
    fresh.language = g_strdup(language);
    fresh.payload = channel->ops->render(channel, &message, &error);
    if (fresh.payload == NULL)
        log_event(LOG_LEVEL_ALERT, "payload_unrendered", LOG_INT("broadcast", b->id),
                  LOG_STR("channel", channel->name), LOG_STR("error", error->message));
    g_array_append_val(b->payloads, fresh);
    return (int)b->payloads->len - 1;
}
