/* What is going on, asked of the database once per poll_ms and after every NOTIFY: live broadcasts,
 * plans to make, stop switches, the database's clock. Every held chunk then follows what was
 * learnt. */
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/fanout_internal.h"

#define DEAD_AFTER_US (5 * USEC_PER_SEC)

static struct fan_channel *find_channel(struct fanout *f, const char *name)
{
    for (size_t i = 0; i < f->n_channels; i++)
        if (g_strcmp0(f->channels[i].channel->name, name) == 0)
            return &f->channels[i];
    return NULL;
}

static void forget_what_is_over(struct fanout *f)
{
    GHashTableIter iter;
    struct fan_broadcast *b;

    g_hash_table_iter_init(&iter, f->broadcasts);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&b))
        if (!b->seen && b->chunks == 0 && b->state != FAN_BROADCAST_LOADING)
            g_hash_table_iter_remove(&iter);
}

static void poll_reset(struct fanout *f)
{
    GHashTableIter iter;
    struct fan_broadcast *b;

    f->all_stopped = false;
    f->any_live = false;
    for (size_t i = 0; i < f->n_channels; i++)
        f->channels[i].switched_off = false;
    g_hash_table_iter_init(&iter, f->broadcasts);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&b)) {
        b->stopped = false;
        b->seen = false;
    }
}

static void poll_row(struct fanout *f, const PGresult *res, int row)
{
    const char *what = db_get_text(res, row, 0);
    int64_t id = db_get_i64(res, row, 1);
    struct fan_broadcast *b = g_hash_table_lookup(f->broadcasts, &id);

    if (strcmp(what, "now") == 0) {
        database_clock_follow(f->options.clock, db_get_utc_us(res, row, 3));
    } else if (strcmp(what, "live") == 0) {
        f->any_live = true;
        if (b != NULL)
            b->seen = true;
    } else if (strcmp(what, "cancelled") == 0) {
        if (b != NULL)
            b->cancelled = true;
    } else if (strcmp(what, "plan") == 0) {
        if (f->options.plans && !f->draining)
            fan_plan_start(f, id);
    } else if (strcmp(what, "emergency") == 0) {
        struct fan_channel *channel = find_channel(f, db_get_text(res, row, 2));
        if (channel != NULL && (b == NULL || b->state != FAN_BROADCAST_REFUSED))
            channel->emergency_at_work = true;
    } else if (strcmp(what, "gate") == 0) {
        struct fan_channel *channel = find_channel(f, db_get_text(res, row, 2));
        if (channel != NULL)
            fan_channel_gate(channel, db_get_utc_us(res, row, 3) - fanout_utc(f));
    } else if (!db_is_null(res, row, 2)) {
        struct fan_channel *channel = find_channel(f, db_get_text(res, row, 2));
        if (channel != NULL)
            channel->switched_off = true;
    } else if (db_is_null(res, row, 1)) {
        f->all_stopped = true;
    } else if (b != NULL) {
        b->stopped = true;
    }
}

/* What the last poll means for a chunk that is held. */
static void follow_chunk(struct chunk *chunk)
{
    struct fan_broadcast *b = chunk->broadcast;

    if (b->cancelled)
        fan_chunk_close(chunk, OUTCOME_CANCELLED);
    else if (b->state == FAN_BROADCAST_READY &&
             fanout_utc(b->fanout) >= b->broadcast->expires_utc_us)
        fan_chunk_close(chunk, OUTCOME_EXPIRED);
    else if (b->stopped || b->fanout->draining || fan_channel_closed(chunk->lane->channel))
        fan_chunk_abort(chunk);
    else if (!chunk->lane->channel->overtaken &&
             (chunk->phase == CHUNK_SENDING || chunk->phase == CHUNK_RETRYING))
        fan_chunk_go_on(chunk); /* it may have been overtaken until now */
}

/* A lane that has had no connection for some seconds gives its chunks to who has one. */
static bool lane_dead(struct fan_lane *lane)
{
    int64_t now_us = fanout_mono(lane->channel->fanout);

    if (fan_lane_connected(lane))
        lane->alive_us = now_us;
    return now_us - lane->alive_us > DEAD_AFTER_US;
}

static void follow_lane(struct fan_lane *lane)
{
    bool dead = lane_dead(lane);

    for (guint i = lane->chunks->len; i-- > 0;) {
        if (dead)
            fan_chunk_abort(lane->chunks->pdata[i]);
        else
            follow_chunk(lane->chunks->pdata[i]);
        if (i > lane->chunks->len)
            i = lane->chunks->len;
    }
    fan_lane_claim(lane);
}

static void channel_metrics(struct fan_channel *channel)
{
    const char *name = channel->channel->name;
    unsigned held = 0, in_flight = 0, connected = 0;

    for (int l = 0; l < LANE_COUNT; l++) {
        held += channel->lanes[l].chunks->len;
        for (unsigned s = 0; s < channel->lanes[l].n_slots; s++) {
            unsigned n = channel->channel->ops->in_flight(channel->channel, (enum lane)l, s);
            in_flight += n;
            connected +=
                n > 0 || channel->channel->ops->room(channel->channel, (enum lane)l, s) > 0;
        }
    }
    metric_set(METRIC_CHUNKS_HELD, name, held);
    metric_set(METRIC_PUSHES_IN_FLIGHT, name, in_flight);
    metric_set(METRIC_CONNECTIONS, name, connected);
    metric_set(METRIC_CHANNEL_STOPPED, name, fan_channel_closed(channel) ? 1 : 0);
    for (int k = 0; k < VERDICT_KINDS; k++) {
        g_autofree char *label = g_strdup_printf("%s/%s", name, verdict_name((enum verdict_kind)k));
        if (channel->verdicts[k] > 0)
            metric_add(METRIC_PUSH_VERDICTS, label, (double)channel->verdicts[k]);
        channel->verdicts[k] = 0;
    }
}

static void set_overtaken(struct fan_channel *channel, bool overtaken)
{
    channel->overtakes += overtaken && !channel->overtaken;
    channel->overtaken = overtaken;
}

static void poll_answered(PGresult *res, const GError *error, void *user)
{
    struct fanout *f = user;

    f->polling = false;
    if (error != NULL) {
        log_event(LOG_LEVEL_WARN, "poll_failed", LOG_STR("error", error->message));
        return;
    }
    poll_reset(f);
    for (int row = 0; row < PQntuples(res); row++)
        poll_row(f, res, row);
    for (size_t i = 0; i < f->n_channels; i++) {
        struct fan_channel *channel = &f->channels[i];
        channel->stopped = channel->stopped && channel->stop_unwritten;
        set_overtaken(channel, channel->emergency_at_work || f->told != f->told_before_poll);
        channel->emergency_at_work = false;
        for (int l = 0; l < LANE_COUNT; l++)
            follow_lane(&channel->lanes[l]);
        channel_metrics(channel);
        fan_channel_pump_soon(channel);
    }
    forget_what_is_over(f);
    fanout_check_drained(f);
    if (f->poll_again)
        fanout_poll_soon(f);
}

void fanout_poll_soon(struct fanout *f)
{
    f->poll_again = f->polling;
    if (f->polling)
        return;
    f->polling = true;
    f->told_before_poll = f->told;
    fanout_poll(f->options.db_plan, poll_answered, f);
}

void fanout_overtake(struct fanout *f)
{
    f->told++;
    for (size_t i = 0; i < f->n_channels; i++)
        set_overtaken(&f->channels[i], true);
}

static void finished_swept(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)error; /* the next tick asks again */
    (void)user;
}

/* The sweep finishes a broadcast whose last process died between its last chunk and this mark. */
gboolean fanout_poll_tick(gpointer data)
{
    struct fanout *f = data;

    if (f->any_live && !f->polling) {
        fanout_finish_broadcast(f->options.db_plan, 0, finished_swept, NULL);
        fanout_first_pass(f->options.db_plan, finished_swept, NULL);
        fanout_claim_over(f);
    }
    fanout_poll_soon(f);
    return G_SOURCE_CONTINUE;
}
