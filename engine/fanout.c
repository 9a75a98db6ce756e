/* The loop around the fan-out: its life, its timers, the database's clock, repeats of failed
 * statements, stopping a channel, draining. The work itself stands in fanout_poll, _plan, _chunk,
 * _flight, _pump. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/fanout_internal.h"

#define AGAIN_MS            300
#define CLOCK_SKEW_ALARM_US (60 * USEC_PER_SEC)

static int64_t database_utc_us(const struct clock *clock)
{
    const struct database_clock *self = (const struct database_clock *)clock;

    return self->machine->utc_us(self->machine) + self->offset_us;
}

static int64_t database_mono_us(const struct clock *clock)
{
    const struct database_clock *self = (const struct database_clock *)clock;

    return self->machine->mono_us(self->machine);
}

void database_clock_init(struct database_clock *clock, const struct clock *machine)
{
    *clock = (struct database_clock){
        .clock = {.utc_us = database_utc_us, .mono_us = database_mono_us}, .machine = machine};
}

void database_clock_follow(struct database_clock *clock, int64_t database_now_utc_us)
{
    int64_t offset = database_now_utc_us - clock->machine->utc_us(clock->machine);
    bool skewed = ABS(offset) > CLOCK_SKEW_ALARM_US;

    if (skewed && ABS(offset - clock->offset_us) > CLOCK_SKEW_ALARM_US)
        log_event(LOG_LEVEL_ALERT, "clock_skewed", LOG_INT("offset_s", offset / USEC_PER_SEC));
    clock->offset_us = offset;
}

/* ---- repeating failed statements ---- */

struct later {
    struct fanout *fanout;
    void (*again)(void *user);
    void *user;
    guint source;
};

static void later_free(gpointer data)
{
    struct later *later = data;

    if (later->source != 0)
        g_source_remove(later->source);
    g_free(later);
}

static gboolean later_run(gpointer data)
{
    struct later *later = data;
    void (*again)(void *) = later->again;
    void *user = later->user;

    later->source = 0;
    g_ptr_array_remove_fast(later->fanout->laters, later);
    again(user);
    return G_SOURCE_REMOVE;
}

void fanout_again(struct fanout *fanout, const char *what, const GError *error,
                  void (*again)(void *user), void *user)
{
    struct later *later = g_new0(struct later, 1);

    if (error != NULL)
        log_event(LOG_LEVEL_WARN, "statement_failed", LOG_STR("what", what),
                  LOG_STR("error", error->message));
    *later = (struct later){.fanout = fanout, .again = again, .user = user};
    later->source = g_timeout_add(AGAIN_MS, later_run, later);
    g_ptr_array_add(fanout->laters, later);
}

void fanout_forget(struct fanout *fanout, const void *user)
{
    for (guint i = fanout->laters->len; i-- > 0;) {
        const struct later *later = fanout->laters->pdata[i];
        if (later->user == user)
            g_ptr_array_remove_index_fast(fanout->laters, i);
    }
}

static void notified(const char *channel, const char *payload, void *user)
{
    (void)channel;
    if (strcmp(payload, "emergency") == 0)
        fanout_overtake(user);
    fanout_poll_soon(user);
}

static gboolean renew_tick(gpointer data)
{
    fanout_renew_all(data);
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

static void on_room(void *engine_data, struct channel *channel)
{
    struct fan_channel *self = engine_data;

    (void)channel;
    fan_channel_pump_soon(self);
}

static void stop_written(PGresult *res, const GError *error, void *user)
{
    struct fan_channel *channel = user;

    (void)res;
    channel->stop_unwritten = false;
    if (error != NULL) /* seen again by the next attempt, which stops the channel again */
        log_event(LOG_LEVEL_ERROR, "stop_unwritten", LOG_STR("error", error->message));
    else
        fanout_poll_soon(channel->fanout);
}

static void stop_channel(struct fan_channel *channel, const char *reason)
{
    struct fanout *f = channel->fanout;

    if (channel->stopped || channel->switched_off)
        return;
    channel->stopped = true;
    channel->stop_unwritten = true;
    log_event(LOG_LEVEL_ALERT, "channel_stopped", LOG_STR("channel", channel->channel->name),
              LOG_STR("reason", reason));
    metric_set(METRIC_CHANNEL_STOPPED, channel->channel->name, 1);
    fanout_stop_channel(f->options.db_plan, channel->channel->name, reason, stop_written, channel);
    for (int l = 0; l < LANE_COUNT; l++)
        for (guint i = channel->lanes[l].chunks->len; i-- > 0;)
            if (i < channel->lanes[l].chunks->len)
                fan_chunk_abort(channel->lanes[l].chunks->pdata[i]);
}

static void on_config_error(void *engine_data, struct channel *channel, const char *reason)
{
    (void)channel;
    stop_channel(engine_data, reason);
}

static void channel_init(struct fanout *f, struct fan_channel *self, struct channel *channel)
{
    const struct settings *s = f->options.settings;
    bool fcm = strcmp(channel->name, "fcm") == 0;
    unsigned streams = (unsigned)(fcm ? s->fcm_streams_max : s->apns_streams_max);

    self->fanout = f;
    self->channel = channel;
    quota_init(&self->quota, fcm ? s->fcm_quota_per_minute : 0,
               (unsigned)s->fcm_emergency_reserve_percent);
    channel->engine_data = self;
    channel->on_room = on_room;
    channel->on_config_error = on_config_error;
    channel->ops->start(channel);
    for (int l = 0; l < LANE_COUNT; l++) {
        struct fan_lane *lane = &self->lanes[l];
        lane->channel = self;
        lane->lane = (enum lane)l;
        lane->chunks = g_ptr_array_new();
        g_queue_init(&lane->ready);
        lane->n_slots = channel->ops->slots(channel, (enum lane)l);
        lane->windows = g_new0(struct window, lane->n_slots);
        for (unsigned i = 0; i < lane->n_slots; i++)
            window_init(&lane->windows[i], streams);
    }
}

struct fanout *fanout_new(const struct fanout_options *options)
{
    struct fanout *f = g_new0(struct fanout, 1);

    assert(options->n_channels <= FANOUT_CHANNELS_MAX);
    f->options = *options;
    f->broadcasts = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                          (GDestroyNotify)fan_broadcast_free);
    f->plans = g_ptr_array_new();
    f->laters = g_ptr_array_new_with_free_func(later_free);
    f->n_channels = options->n_channels;
    for (size_t i = 0; i < f->n_channels; i++)
        channel_init(f, &f->channels[i], options->channels[i]);
    db_async_listen(options->db_listen, "loa_fanout", notified, f);
    f->poll_timer = g_timeout_add((guint)options->settings->deliver_poll_ms, fanout_poll_tick, f);
    f->renew_timer = g_timeout_add((guint)options->settings->deliver_lease_ms / 4, renew_tick, f);
    fanout_poll_soon(f);
    return f;
}

void fanout_check_drained(struct fanout *f)
{
    if (!f->draining || f->drained == NULL || f->plans->len > 0 || f->claiming_over)
        return;
    for (size_t i = 0; i < f->n_channels; i++)
        for (int l = 0; l < LANE_COUNT; l++)
            if (f->channels[i].lanes[l].chunks->len > 0 || f->channels[i].lanes[l].claiming)
                return;
    void (*drained)(void *) = f->drained;
    f->drained = NULL;
    drained(f->drained_user);
}

void fanout_drain(struct fanout *f, void (*done)(void *user), void *user)
{
    f->draining = true;
    f->drained = done;
    f->drained_user = user;
    fanout_poll_soon(f);
}

void fanout_free(struct fanout *f)
{
    g_source_remove(f->poll_timer);
    g_source_remove(f->renew_timer);
    for (size_t i = 0; i < f->n_channels; i++) {
        struct fan_channel *channel = &f->channels[i];
        if (channel->pump_source != 0)
            g_source_remove(channel->pump_source);
        if (channel->quota_timer != 0)
            g_source_remove(channel->quota_timer);
        for (int l = 0; l < LANE_COUNT; l++) {
            struct fan_lane *lane = &channel->lanes[l];
            while (lane->chunks->len > 0)
                fan_chunk_free(lane->chunks->pdata[0]);
            g_ptr_array_free(lane->chunks, TRUE);
            g_queue_clear(&lane->ready);
            g_free(lane->windows);
        }
    }
    fan_plans_free(f);
    g_hash_table_destroy(f->broadcasts);
    g_ptr_array_free(f->laters, TRUE);
    g_free(f);
}

/* ---- what the outbox shares with the fan-out ---- */

static struct fan_channel *channel_of(const struct fanout *f, const struct channel *channel)
{
    for (size_t i = 0; i < f->n_channels; i++)
        if (f->channels[i].channel == channel)
            return (struct fan_channel *)&f->channels[i];
    assert(!"channel of this fan-out");
    return NULL;
}

bool fanout_emergency_waiting(const struct fanout *f, const struct channel *channel)
{
    return channel_of(f, channel)->overtaken;
}

bool fanout_channel_closed(const struct fanout *f, const struct channel *channel)
{
    const struct fan_channel *self = channel_of(f, channel);

    return fan_channel_closed(self) || fanout_mono(f) < self->quota.gate_until_us;
}

int64_t fanout_quota_take(struct fanout *f, const struct channel *channel, int64_t n)
{
    struct fan_channel *self = channel_of(f, channel);
    int64_t now_us = fanout_mono(f);
    int64_t room = quota_room(&self->quota, false, now_us);

    fan_channel_want(self, n, false);
    if (n > room)
        n = room;
    quota_take(&self->quota, n, false, now_us);
    return n;
}

void fanout_channel_stop(struct fanout *f, const struct channel *channel, const char *reason)
{
    stop_channel(channel_of(f, channel), reason);
}

void fanout_channel_gate(struct fanout *f, const struct channel *channel, int64_t wait_ms)
{
    fan_channel_gate_all(channel_of(f, channel), wait_ms * USEC_PER_MSEC);
}

void fanout_on_spare_room(struct fanout *f, void (*cb)(struct channel *channel, void *user),
                          void *user)
{
    f->spare_room = cb;
    f->spare_room_user = user;
}
