/* See the header. One turn: expand what is due into pushes, claim some per channel, send while
 * there is room, hand the verdicts to the writer. */
#include "engine/outbox_worker.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "engine/outbox.h"
#include "engine/outbox_store.h"
#include "engine/outbox_writer.h"
#include "engine/outcome.h"
#include "engine/push_id.h"
#include "engine/retry_policy.h"

#define EXPAND_BATCH       500
#define HOLD_MAX           500 /* pushes claimed per channel, sent or not */
#define RETRY_AFTER_MAX_MS INT64_C(1800000)

struct worker_channel {
    struct outbox_worker *worker;
    struct channel *channel;
    const struct channel_ops *ops; /* the channel's: they outlive it */
    GQueue waiting;                /* struct item *: claimed, not sent */
    GQueue sent;                   /* not answered */
    bool claiming;
    bool claim_again; /* the last claim was full, or something happened meanwhile */
};

/* One claimed push. */
struct item {
    GList link; /* in waiting or sent */
    struct push push;
    struct worker_channel *channel;
    struct outbox_result result; /* grows until it is handed to the writer */
    int64_t expires_utc_us;
    int64_t token_at_us;
    int64_t lease_until_mono_us;
    bool proven;
    struct channel_payload *payload;
};

struct outbox_worker {
    struct outbox_worker_options options;
    struct worker_channel channels[FANOUT_CHANNELS_MAX];
    struct outbox_writer *writer;
    bool expanding, expand_again;
    bool draining;
    void (*drained)(void *user);
    void *drained_user;
    guint poll_timer;
};

static void claim(struct worker_channel *c);

static int64_t mono_us(const struct outbox_worker *w)
{
    return w->options.clock->mono_us(w->options.clock);
}

static int64_t utc_us(const struct outbox_worker *w)
{
    return w->options.clock->utc_us(w->options.clock);
}

static void item_free(struct item *item)
{
    if (item->payload != NULL)
        item->channel->ops->payload_free(item->payload);
    g_free(item->result.token);
    g_free(item);
}

static void check_drained(struct outbox_worker *w)
{
    void (*drained)(void *) = w->drained;

    if (!w->draining || drained == NULL || !outbox_writer_idle(w->writer))
        return;
    for (size_t i = 0; i < w->options.n_channels; i++)
        if (w->channels[i].sent.length > 0 || w->channels[i].waiting.length > 0 ||
            w->channels[i].claiming)
            return;
    w->drained = NULL;
    drained(w->drained_user);
}

/* Hands the result to the writer and frees the item, which is in no queue any more. */
static void finish(struct item *item, const char *state, int64_t delay_ms, const char *reason)
{
    struct outbox_writer *writer = item->channel->worker->writer;

    item->result.state = state;
    item->result.delay_ms = delay_ms;
    item->result.reason = reason;
    outbox_writer_add(writer, &item->result);
    item->result.token = NULL;
    item_free(item);
}

static void written(void *user)
{
    struct outbox_worker *w = user;

    for (size_t i = 0; i < w->options.n_channels; i++)
        claim(&w->channels[i]);
    check_drained(w);
}

/* ---- verdicts ---- */

static void learn_from(struct item *item, const struct verdict *verdict)
{
    bool registered_since =
        verdict->dead_since_utc_us != 0 && item->token_at_us > verdict->dead_since_utc_us;

    item->result.token_dead =
        verdict->kind == VERDICT_DEAD_TOKEN && item->result.token != NULL && !registered_since;
    item->result.token_proven =
        verdict->kind == VERDICT_ACCEPTED && item->result.token != NULL && !item->proven;
    if (verdict->kind != VERDICT_NOT_SENT)
        item->result.attempt++;
}

static void answered(struct push *push, const struct verdict *verdict)
{
    struct item *item = push->owner;
    struct worker_channel *c = item->channel;
    struct outbox_worker *w = c->worker;
    int64_t now = utc_us(w);
    struct retry_input input = {.verdict = *verdict,
                                .tried_at_once = true,
                                .first_utc_us = now,
                                .now_utc_us = now,
                                .expires_utc_us = item->expires_utc_us,
                                .payload_proven = true,
                                .random01 = g_random_double()};
    struct retry_decision decision;

    g_queue_unlink(&c->sent, &item->link);
    learn_from(item, verdict);
    input.attempts = item->result.attempt;
    /* At least once: what may have arrived is sent again, and the app drops the repeat. */
    if (verdict->kind == VERDICT_UNKNOWN)
        input.verdict.kind = VERDICT_TRANSIENT;
    input.verdict.retry_after_ms = MIN(verdict->retry_after_ms, RETRY_AFTER_MAX_MS);
    retry_decide(&input, &decision);
    if (decision.stop_channel)
        fanout_channel_stop(w->options.fanout, c->channel, verdict->reason);
    if (decision.gate_until_utc_us > now)
        fanout_channel_gate(w->options.fanout, c->channel,
                            (decision.gate_until_utc_us - now) / USEC_PER_MSEC);
    if (decision.step == RETRY_STEP_SETTLE)
        finish(item, outcome_name(decision.outcome), 0, verdict->reason);
    else
        finish(item, "queued", (decision.next_utc_us - now) / USEC_PER_MSEC, verdict->reason);
    claim(c);
    check_drained(w);
}

/* ---- sending ---- */

/* A connection of the lane with room; -1 when none. */
static int find_slot(struct worker_channel *c, enum lane lane)
{
    const struct channel_ops *ops = c->channel->ops;
    unsigned n = ops->slots(c->channel, lane);

    for (unsigned slot = 0; slot < n; slot++)
        if (ops->room(c->channel, lane, slot) > 0)
            return (int)slot;
    return -1;
}

static void send_item(struct worker_channel *c, struct item *item, unsigned slot)
{
    struct push *push = &item->push;

    push->slot = slot;
    push_id_make(push->push_id, item->result.notification_id, push->device_id,
                 item->result.attempt);
    g_queue_push_tail_link(&c->sent, &item->link);
    c->channel->ops->send(c->channel, push);
}

/* Sends what waits, most urgent first; a full lane does not hold up the others. */
static void pump(struct worker_channel *c)
{
    struct outbox_worker *w = c->worker;
    bool full[LANE_COUNT] = {false};
    bool any = false;
    GList *next;

    if (fanout_emergency_waiting(w->options.fanout, c->channel) ||
        fanout_channel_closed(w->options.fanout, c->channel))
        return;
    for (GList *at = c->waiting.head; at != NULL; at = next) {
        struct item *item = at->data;
        int slot = full[item->push.lane] ? -1 : find_slot(c, item->push.lane);
        next = at->next;
        if (slot < 0) {
            full[item->push.lane] = true;
            continue;
        }
        if (item->lease_until_mono_us <= mono_us(w)) { /* by now it may be another's */
            g_queue_unlink(&c->waiting, at);
            item_free(item);
            continue;
        }
        if (fanout_quota_take(w->options.fanout, c->channel, 1) == 0)
            break;
        g_queue_unlink(&c->waiting, at);
        send_item(c, item, (unsigned)slot);
        any = true;
    }
    if (any)
        c->channel->ops->flush(c->channel);
}

/* ---- claiming ---- */

static enum lane lane_of(const struct worker_channel *c, const struct item *item, bool sandbox)
{
    if (sandbox)
        return LANE_SANDBOX;
    if (item->proven || c->channel->ops->slots(c->channel, LANE_UNPROVEN) == 0)
        return LANE_PROVEN;
    return LANE_UNPROVEN;
}

static struct channel_payload *render(struct worker_channel *c, const PGresult *res, int row,
                                      GError **error)
{
    struct message message;
    char alert_id[32];

    outbox_message(db_get_text(res, row, OUTBOX_COL_TITLE), db_get_text(res, row, OUTBOX_COL_BODY),
                   db_get_text(res, row, OUTBOX_COL_URL), db_get_text(res, row, OUTBOX_COL_CLASS),
                   db_get_i64(res, row, OUTBOX_COL_ID), db_get_utc_us(res, row, OUTBOX_COL_CREATED),
                   db_get_utc_us(res, row, OUTBOX_COL_EXPIRES), alert_id, &message);
    return c->channel->ops->render(c->channel, &message, error);
}

static struct item *item_new(struct worker_channel *c, const PGresult *res, int row,
                             int64_t asked_mono_us)
{
    struct outbox_worker *w = c->worker;
    struct item *item = g_new0(struct item, 1);

    item->channel = c;
    item->link.data = item;
    item->result = (struct outbox_result){
        .notification_id = db_get_i64(res, row, OUTBOX_COL_ID),
        .device_id = db_get_i64(res, row, OUTBOX_COL_DEVICE),
        .epoch = (int32_t)db_get_i64(res, row, OUTBOX_COL_EPOCH),
        .attempt = (int32_t)db_get_i64(res, row, OUTBOX_COL_ATTEMPT),
        .channel = c->channel->name,
        .token = g_strdup(db_get_text(res, row, OUTBOX_COL_TOKEN)),
    };
    item->expires_utc_us = db_get_utc_us(res, row, OUTBOX_COL_EXPIRES);
    item->token_at_us = db_get_utc_us(res, row, OUTBOX_COL_TOKEN_AT);
    item->proven = db_get_bool(res, row, OUTBOX_COL_PROVEN);
    item->lease_until_mono_us = asked_mono_us + w->options.lease_ms * USEC_PER_MSEC;
    item->push = (struct push){
        .token = item->result.token != NULL ? item->result.token : "",
        .is_fid = !db_is_null(res, row, OUTBOX_COL_FID) && db_get_bool(res, row, OUTBOX_COL_FID),
        .device_id = item->result.device_id,
        .lane = lane_of(c, item,
                        !db_is_null(res, row, OUTBOX_COL_SANDBOX) &&
                            db_get_bool(res, row, OUTBOX_COL_SANDBOX)),
        .done = answered,
        .owner = item,
    };
    return item;
}

/* Sends it, or says at once why not. */
static void take(struct worker_channel *c, const PGresult *res, int row, int64_t asked_mono_us)
{
    struct item *item = item_new(c, res, row, asked_mono_us);
    const char *channel = db_get_text(res, row, OUTBOX_COL_CHANNEL);
    g_autoptr(GError) error = NULL;

    if (channel == NULL || strcmp(channel, "none") == 0) {
        finish(item, "DEAD_TOKEN", 0, "unregistered");
    } else if (item->expires_utc_us <= utc_us(c->worker)) {
        finish(item, "EXPIRED", 0, "");
    } else if (strcmp(channel, c->channel->name) != 0) {
        finish(item, "queued", 0, "moved");
    } else if (c->worker->draining) {
        finish(item, "queued", 0, "");
    } else {
        item->payload = render(c, res, row, &error);
        item->push.payload = item->payload;
        if (item->payload != NULL)
            g_queue_push_tail_link(&c->waiting, &item->link);
        else
            finish(item, "REJECTED_PAYLOAD", 0, "too_large");
    }
}

struct claim_call {
    struct worker_channel *channel;
    int64_t asked_mono_us;
    int limit;
};

static void claimed(PGresult *res, const GError *error, void *user)
{
    g_autofree struct claim_call *call = user;
    struct worker_channel *c = call->channel;

    c->claiming = false;
    if (error != NULL) {
        log_event(LOG_LEVEL_WARN, "outbox_unclaimed", LOG_STR("error", error->message));
        check_drained(c->worker);
        return; /* the next poll asks again */
    }
    if (PQntuples(res) == call->limit)
        c->claim_again = true;
    for (int row = 0; row < PQntuples(res); row++)
        take(c, res, row, call->asked_mono_us);
    pump(c);
    claim(c);
    check_drained(c->worker);
}

/* Asks for more when there is something and half of what may be held is free. */
static void claim(struct worker_channel *c)
{
    struct outbox_worker *w = c->worker;
    unsigned held = c->waiting.length + c->sent.length;
    struct claim_call *call;

    if (c->claiming || w->draining || !c->claim_again || held > HOLD_MAX / 2 ||
        fanout_emergency_waiting(w->options.fanout, c->channel) ||
        fanout_channel_closed(w->options.fanout, c->channel))
        return;
    c->claiming = true;
    c->claim_again = false;
    call = g_new(struct claim_call, 1);
    *call = (struct claim_call){c, mono_us(w), (int)(HOLD_MAX - held)};
    outbox_claim(w->options.db, c->channel->name, call->limit, w->options.owner,
                 w->options.lease_ms, claimed, call);
}

/* ---- the loop ---- */

static void expand(struct outbox_worker *w);

static void expanded(PGresult *res, const GError *error, void *user)
{
    struct outbox_worker *w = user;

    w->expanding = false;
    if (error != NULL) {
        log_event(LOG_LEVEL_WARN, "outbox_unexpanded", LOG_STR("error", error->message));
        return;
    }
    if (db_get_i64(res, 0, 0) == EXPAND_BATCH)
        w->expand_again = true;
    for (size_t i = 0; i < w->options.n_channels; i++) {
        w->channels[i].claim_again = true;
        claim(&w->channels[i]);
    }
    if (w->expand_again)
        expand(w);
}

static void expand(struct outbox_worker *w)
{
    if (w->draining)
        return;
    if (w->expanding) {
        w->expand_again = true;
        return;
    }
    w->expanding = true;
    w->expand_again = false;
    outbox_expand(w->options.db, EXPAND_BATCH, expanded, w);
}

static gboolean poll_tick(gpointer data)
{
    struct outbox_worker *w = data;

    for (size_t i = 0; i < w->options.n_channels; i++)
        pump(&w->channels[i]);
    expand(w);
    return G_SOURCE_CONTINUE;
}

static void notified(const char *channel, const char *payload, void *user)
{
    (void)channel;
    (void)payload;
    expand(user);
}

static void spare_room(struct channel *channel, void *user)
{
    struct outbox_worker *w = user;

    for (size_t i = 0; i < w->options.n_channels; i++)
        if (w->channels[i].channel == channel) {
            pump(&w->channels[i]);
            claim(&w->channels[i]);
        }
}

struct outbox_worker *outbox_worker_new(const struct outbox_worker_options *options)
{
    struct outbox_worker *w = g_new0(struct outbox_worker, 1);

    assert(options->n_channels <= FANOUT_CHANNELS_MAX);
    w->options = *options;
    if (w->options.lease_ms == 0)
        w->options.lease_ms = OUTBOX_LEASE_MS;
    w->writer = outbox_writer_new(options->db, written, w);
    for (size_t i = 0; i < options->n_channels; i++) {
        w->channels[i].worker = w;
        w->channels[i].channel = options->channels[i];
        w->channels[i].ops = options->channels[i]->ops;
        g_queue_init(&w->channels[i].waiting);
        g_queue_init(&w->channels[i].sent);
    }
    fanout_on_spare_room(options->fanout, spare_room, w);
    db_async_listen(options->db, "loa_outbox", notified, w);
    w->poll_timer = g_timeout_add((guint)options->poll_ms, poll_tick, w);
    expand(w);
    return w;
}

void outbox_worker_drain(struct outbox_worker *w, void (*done)(void *user), void *user)
{
    w->draining = true;
    w->drained = done;
    w->drained_user = user;
    for (size_t i = 0; i < w->options.n_channels; i++) {
        GList *link;
        while ((link = g_queue_pop_head_link(&w->channels[i].waiting)) != NULL)
            finish(link->data, "queued", 0, "");
    }
    check_drained(w);
}

static void queue_free_items(GQueue *queue)
{
    GList *link;

    while ((link = g_queue_pop_head_link(queue)) != NULL)
        item_free(link->data);
}

void outbox_worker_free(struct outbox_worker *w)
{
    if (w == NULL)
        return;
    fanout_on_spare_room(w->options.fanout, NULL, NULL);
    g_source_remove(w->poll_timer);
    for (size_t i = 0; i < w->options.n_channels; i++) {
        queue_free_items(&w->channels[i].waiting);
        queue_free_items(&w->channels[i].sent); /* of a channel that drops what is out */
    }
    outbox_writer_free(w->writer);
    g_free(w);
}
