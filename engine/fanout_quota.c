/* A channel's quota between the pump and the database: leases are asked for before they run out,
 * and what a provider says about waiting goes to every process. */
#include "base/log.h"
#include "engine/fanout_internal.h"

struct lease_call {
    struct fan_channel *channel;
    bool emergency;
    int64_t asked_us;
};

static gboolean pump_again(gpointer data)
{
    struct fan_channel *channel = data;

    channel->quota_timer = 0;
    fan_channel_pump_soon(channel);
    return G_SOURCE_REMOVE;
}

/* The pump runs at this instant at the latest. */
static void pump_at(struct fan_channel *channel, int64_t mono_us)
{
    int64_t wait_ms = (mono_us - fanout_mono(channel->fanout)) / USEC_PER_MSEC + 1;

    if (channel->quota_timer != 0 && channel->quota_timer_us <= mono_us)
        return;
    if (channel->quota_timer != 0)
        g_source_remove(channel->quota_timer);
    channel->quota_timer_us = mono_us;
    channel->quota_timer = g_timeout_add((guint)CLAMP(wait_ms, 1, 60000), pump_again, channel);
}

static void leased(PGresult *res, const GError *error, void *user)
{
    g_autofree struct lease_call *call = user;
    struct fan_channel *channel = call->channel;
    int64_t granted = -1;

    if (error != NULL)
        log_event(LOG_LEVEL_WARN, "quota_unleased", LOG_STR("error", error->message));
    else if (PQntuples(res) == 1)
        granted = db_get_i64(res, 0, 0);
    quota_granted(&channel->quota, granted, call->emergency, call->asked_us,
                  fanout_mono(channel->fanout));
    if (granted > 0)
        fan_channel_pump_soon(channel);
    else
        pump_at(channel, channel->quota.ask_again_us[call->emergency]);
}

void fan_channel_want(struct fan_channel *channel, int64_t n, bool emergency)
{
    struct fanout *f = channel->fanout;
    int64_t now_us = fanout_mono(f);
    int64_t ask = quota_ask(&channel->quota, n, emergency, now_us);
    struct lease_call *call;

    if (ask == 0)
        return;
    call = g_new(struct lease_call, 1);
    *call = (struct lease_call){channel, emergency, now_us};
    fanout_quota_lease(f->options.db_plan, channel->channel->name, channel->quota.per_minute,
                       channel->quota.reserve, ask, emergency, leased, call);
}

static void gate_told(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)user;
    if (error != NULL) /* each process learns it from the provider, then */
        log_event(LOG_LEVEL_WARN, "gate_untold", LOG_STR("error", error->message));
}

bool fan_channel_gate(struct fan_channel *channel, int64_t wait_us)
{
    bool news = quota_gate(&channel->quota, fanout_mono(channel->fanout) + wait_us);

    pump_at(channel, channel->quota.gate_until_us);
    return news;
}

void fan_channel_gate_all(struct fan_channel *channel, int64_t wait_us)
{
    struct fanout *f = channel->fanout;

    if (fan_channel_gate(channel, wait_us))
        fanout_gate(f->options.db_plan, channel->channel->name, wait_us / USEC_PER_MSEC, gate_told,
                    NULL);
}
