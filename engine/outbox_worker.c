/* See the header. One turn: what is due becomes pushes and comes back claimed, what waits from
 * earlier is claimed per channel, both are sent while there is room, and the verdicts go to the
 * writer. All statements use one connection, so a later answer never knows less.
 *
 * A claim says for which devices an emergency is live. When one is released while pushes wait here
 * unsent, they go back and are claimed anew: until this process has looked again, nothing leaves.
 */
#include "engine/outbox_worker.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "engine/outbox_item.h"
#include "engine/outbox_store.h"
#include "engine/outbox_writer.h"
#include "engine/push_id.h"

#define TAKE_BATCH   1000
#define EXPIRE_BATCH 500
#define HOLD_MAX     2000 /* pushes claimed per channel, sent or not */

struct worker_channel {
    struct outbox_worker *worker;
    struct channel *channel;
    const struct channel_ops *ops; /* the channel's: they outlive it */
    GQueue waiting;                /* struct outbox_item *: claimed, not sent */
    GQueue sent;                   /* not answered */
    unsigned asked;                /* the claims on their way may bring so many */
    bool claiming;
    bool claim_again; /* the last claim was full, or something happened meanwhile */
};

struct outbox_worker {
    struct outbox_worker_options options;
    struct outbox_claimer claimer;
    struct worker_channel channels[FANOUT_CHANNELS_MAX];
    struct outbox_writer *writer;
    bool taking, take_again;
    int64_t emergencies;                /* OUTBOX_COL_EMERGENCIES of the last answer */
    unsigned releases, releases_looked; /* notified; before the last answered outbox_take */
    bool draining;
    void (*drained)(void *user);
    void *drained_user;
    guint poll_timer;
};

static void refill(struct outbox_worker *w);

static int64_t mono_us(const struct outbox_worker *w)
{
    return w->options.clock->mono_us(w->options.clock);
}

static int64_t utc_us(const struct outbox_worker *w)
{
    return w->options.clock->utc_us(w->options.clock);
}

static void check_drained(struct outbox_worker *w)
{
    void (*drained)(void *) = w->drained;

    if (!w->draining || drained == NULL || w->taking || !outbox_writer_idle(w->writer))
        return;
    for (size_t i = 0; i < w->options.n_channels; i++)
        if (w->channels[i].sent.length > 0 || w->channels[i].waiting.length > 0 ||
            w->channels[i].claiming)
            return;
    w->drained = NULL;
    drained(w->drained_user);
}

/* Hands the result to the writer and frees the item, which is in no queue any more. */
static void finish(struct outbox_worker *w, struct outbox_item *item)
{
    outbox_writer_add(w->writer, &item->result);
    item->result.token = NULL;
    outbox_item_free(item);
}

static void put_back(struct worker_channel *c, struct outbox_item *item)
{
    outbox_item_put_back(item);
    finish(c->worker, item);
    c->claim_again = true;
}

static void written(void *user)
{
    struct outbox_worker *w = user;

    refill(w);
    check_drained(w);
}

static void answered(struct push *push, const struct verdict *verdict)
{
    struct outbox_item *item = push->owner;
    struct worker_channel *c = item->owner;
    struct outbox_worker *w = c->worker;
    struct retry_decision decision;
    int64_t now = utc_us(w);

    g_queue_unlink(&c->sent, &item->link);
    outbox_item_judge(item, verdict, now, &decision);
    if (decision.stop_channel)
        fanout_channel_stop(w->options.fanout, c->channel, verdict->reason);
    if (decision.gate_until_utc_us > now)
        fanout_channel_gate(w->options.fanout, c->channel,
                            (decision.gate_until_utc_us - now) / USEC_PER_MSEC);
    finish(w, item);
    refill(w);
    check_drained(w);
}

/* ---- sending ---- */

static bool may_send(const struct worker_channel *c)
{
    const struct outbox_worker *w = c->worker;

    return w->releases_looked == w->releases &&
           !fanout_emergency_waiting(w->options.fanout, c->channel) &&
           !fanout_channel_closed(w->options.fanout, c->channel);
}

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

static void send_item(struct worker_channel *c, struct outbox_item *item, unsigned slot)
{
    struct push *push = &item->push;

    push->slot = slot;
    push_id_make(push->push_id, item->result.notification_id, push->device_id,
                 item->result.attempt);
    g_queue_push_tail_link(&c->sent, &item->link);
    c->channel->ops->send(c->channel, push);
}

/* What must not leave as it is goes out of the queue: by now it may be another's, or what it knows
 * of emergencies is out of date. */
static bool is_fresh(struct worker_channel *c, struct outbox_item *item)
{
    struct outbox_worker *w = c->worker;
    bool lapsed = item->lease_until_mono_us <= mono_us(w);

    if (!lapsed && item->emergencies == w->emergencies)
        return true;
    g_queue_unlink(&c->waiting, &item->link);
    if (lapsed)
        outbox_item_free(item);
    else
        put_back(c, item);
    return false;
}

/* Sends what waits, most urgent first; a full lane does not hold up the others. */
static void pump(struct worker_channel *c)
{
    bool full[LANE_COUNT] = {false};
    bool any = false;
    GList *next;

    if (!may_send(c))
        return;
    for (GList *at = c->waiting.head; at != NULL; at = next) {
        struct outbox_item *item = at->data;
        int slot;
        next = at->next;
        if (!is_fresh(c, item))
            continue;
        slot = full[item->push.lane] ? -1 : find_slot(c, item->push.lane);
        if (slot < 0) {
            full[item->push.lane] = true;
            continue;
        }
        if (fanout_quota_take(c->worker->options.fanout, c->channel, 1) == 0)
            break;
        g_queue_unlink(&c->waiting, at);
        send_item(c, item, (unsigned)slot);
        any = true;
    }
    if (any)
        c->channel->ops->flush(c->channel);
}

static void pump_all(struct outbox_worker *w)
{
    for (size_t i = 0; i < w->options.n_channels; i++)
        pump(&w->channels[i]);
}

/* ---- claiming ---- */

/* One answer of outbox_take or outbox_claim on its way. */
struct claim_call {
    struct outbox_worker *worker;
    struct worker_channel *channel; /* of a claim */
    int64_t asked_mono_us;
    unsigned limit;
    unsigned releases;              /* notified when it was asked */
    bool asks[FANOUT_CHANNELS_MAX]; /* a take: from which channels */
};

static struct claim_call *claim_call_new(struct outbox_worker *w, struct worker_channel *c,
                                         unsigned limit)
{
    struct claim_call *call = g_new0(struct claim_call, 1);

    call->worker = w;
    call->channel = c;
    call->asked_mono_us = mono_us(w);
    call->limit = limit;
    call->releases = w->releases;
    return call;
}

static unsigned held(const struct worker_channel *c)
{
    return c->waiting.length + c->sent.length + c->asked;
}

/* Half of what may be held is free, and what is claimed could leave. */
static bool may_claim(const struct worker_channel *c)
{
    return !c->worker->draining && held(c) <= HOLD_MAX / 2 && may_send(c);
}

/* Queues a claimed push, or says at once why it will not be sent. */
static void accept(struct worker_channel *c, const PGresult *res, int row,
                   const struct claim_call *call)
{
    struct outbox_worker *w = c->worker;
    int64_t now = utc_us(w);
    struct outbox_item *item = outbox_item_new(res, row, c->channel, now);

    item->owner = c;
    item->push.done = answered;
    item->lease_until_mono_us = call->asked_mono_us + w->claimer.lease_ms * USEC_PER_MSEC;
    if (w->draining)
        put_back(c, item);
    else if (outbox_item_prepare(item, res, row, c->channel, now))
        g_queue_push_tail_link(&c->waiting, &item->link);
    else
        finish(w, item);
}

static struct worker_channel *find_channel(struct outbox_worker *w, const char *name)
{
    for (size_t i = 0; i < w->options.n_channels; i++)
        if (strcmp(w->channels[i].channel->name, name) == 0)
            return &w->channels[i];
    return NULL;
}

static void claimed(PGresult *res, const GError *error, void *user)
{
    g_autofree struct claim_call *call = user;
    struct worker_channel *c = call->channel;
    struct outbox_worker *w = call->worker;

    c->claiming = false;
    c->asked -= call->limit;
    if (error != NULL) {
        log_event(LOG_LEVEL_WARN, "outbox_unclaimed", LOG_STR("error", error->message));
        check_drained(w);
        return; /* the next poll asks again */
    }
    if (PQntuples(res) == (int)call->limit)
        c->claim_again = true;
    if (PQntuples(res) > 0)
        w->emergencies = db_get_i64(res, 0, OUTBOX_COL_EMERGENCIES);
    for (int row = 0; row < PQntuples(res); row++)
        accept(c, res, row, call);
    pump(c);
    refill(w);
    check_drained(w);
}

static void claim(struct worker_channel *c)
{
    struct outbox_worker *w = c->worker;
    unsigned limit = HOLD_MAX - held(c);

    if (c->claiming || !c->claim_again || !may_claim(c))
        return;
    c->claiming = true;
    c->claim_again = false;
    c->asked += limit;
    outbox_claim(w->options.db, &w->claimer, c->channel->name, (int)limit, claimed,
                 claim_call_new(w, c, limit));
}

static void taken(PGresult *res, const GError *error, void *user)
{
    g_autofree struct claim_call *call = user;
    struct outbox_worker *w = call->worker;

    w->taking = false;
    for (size_t i = 0; i < w->options.n_channels; i++)
        if (call->asks[i])
            w->channels[i].asked -= call->limit;
    if (error != NULL) {
        log_event(LOG_LEVEL_WARN, "outbox_untaken", LOG_STR("error", error->message));
        check_drained(w);
        return;
    }
    w->releases_looked = call->releases;
    w->emergencies = db_get_i64(res, 0, OUTBOX_COL_EMERGENCIES);
    if (PQntuples(res) > 1)
        w->take_again = true;
    for (int row = 1; row < PQntuples(res); row++)
        if (!db_is_null(res, row, OUTBOX_COL_DEVICE))
            accept(find_channel(w, db_get_text(res, row, OUTBOX_COL_CHANNEL)), res, row, call);
    pump_all(w);
    refill(w);
    check_drained(w);
}

/* Asks for what is due. only_look: also when no channel can have it, to know of emergencies and
 * for other processes. */
static void take(struct outbox_worker *w, bool only_look)
{
    struct claim_call *call;
    const char *names[FANOUT_CHANNELS_MAX];
    size_t n = 0;
    unsigned room = HOLD_MAX;

    if (w->taking || w->draining)
        return;
    call = claim_call_new(w, NULL, 0);
    for (size_t i = 0; i < w->options.n_channels; i++) {
        struct worker_channel *c = &w->channels[i];
        call->asks[i] = may_claim(c);
        if (call->asks[i]) {
            names[n++] = c->channel->name;
            room = MIN(room, HOLD_MAX - held(c));
        }
    }
    if (n == 0 && !only_look) {
        g_free(call);
        return;
    }
    w->taking = true;
    w->take_again = false;
    call->limit = MIN(room, TAKE_BATCH);
    for (size_t i = 0; i < w->options.n_channels; i++)
        if (call->asks[i])
            w->channels[i].asked += call->limit;
    outbox_take(w->options.db, &w->claimer, TAKE_BATCH, names, n, (int)call->limit, taken, call);
}

static void refill(struct outbox_worker *w)
{
    if (w->take_again)
        take(w, w->releases != w->releases_looked);
    for (size_t i = 0; i < w->options.n_channels; i++)
        claim(&w->channels[i]);
}

/* ---- the loop ---- */

static void look(struct outbox_worker *w)
{
    w->take_again = true;
    take(w, true);
}

static void claim_all(struct outbox_worker *w)
{
    for (size_t i = 0; i < w->options.n_channels; i++) {
        w->channels[i].claim_again = true;
        claim(&w->channels[i]);
    }
}

static void expired(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)user;
    if (error != NULL)
        log_event(LOG_LEVEL_WARN, "outbox_unexpired", LOG_STR("error", error->message));
}

static gboolean poll_tick(gpointer data)
{
    struct outbox_worker *w = data;

    if (w->draining)
        return G_SOURCE_CONTINUE;
    pump_all(w);
    outbox_expire(w->options.db, EXPIRE_BATCH, expired, w);
    look(w);
    claim_all(w);
    return G_SOURCE_CONTINUE;
}

/* "queued": another process has made pushes that this one may send. */
static void notified(const char *channel, const char *payload, void *user)
{
    struct outbox_worker *w = user;

    (void)channel;
    if (strcmp(payload, "queued") == 0) {
        claim_all(w);
    } else {
        w->take_again = true;
        take(w, false);
    }
}

/* An emergency was released: nothing leaves before its devices are known. */
static void emergency_released(const char *channel, const char *payload, void *user)
{
    struct outbox_worker *w = user;

    (void)channel;
    if (strcmp(payload, "emergency") != 0)
        return;
    w->releases++;
    look(w);
}

static void spare_room(struct channel *channel, void *user)
{
    struct outbox_worker *w = user;

    for (size_t i = 0; i < w->options.n_channels; i++)
        if (w->channels[i].channel == channel)
            pump(&w->channels[i]);
    refill(w);
}

struct outbox_worker *outbox_worker_new(const struct outbox_worker_options *options)
{
    struct outbox_worker *w = g_new0(struct outbox_worker, 1);

    assert(options->n_channels <= FANOUT_CHANNELS_MAX);
    w->options = *options;
    w->claimer = (struct outbox_claimer){options->owner, options->lease_ms != 0 ? options->lease_ms
                                                                                : OUTBOX_LEASE_MS};
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
    db_async_listen(options->db, "loa_fanout", emergency_released, w);
    w->poll_timer = g_timeout_add((guint)options->poll_ms, poll_tick, w);
    poll_tick(w);
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
            put_back(&w->channels[i], link->data);
    }
    check_drained(w);
}

static void queue_free_items(GQueue *queue)
{
    GList *link;

    while ((link = g_queue_pop_head_link(queue)) != NULL)
        outbox_item_free(link->data);
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
