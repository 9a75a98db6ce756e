/* Feeds the connections: most urgent flight first, as many requests as the peer's settings, our
 * window, the quota and the lease allow; while an emergency is being sent, nothing but that. Runs
 * once per turn of the loop, so that requests leave in batches. */
#include "engine/fanout_internal.h"
#include "engine/push_id.h"

bool fan_channel_closed(const struct fan_channel *channel)
{
    return channel->stopped || channel->switched_off || channel->fanout->all_stopped;
}

void fan_lane_ready(struct fan_lane *lane, struct flight *flight)
{
    if (flight->in_ready)
        return;
    flight->in_ready = true;
    g_queue_push_tail(&lane->ready, flight);
    fan_channel_pump_soon(lane->channel);
}

void fan_lane_unready(struct fan_lane *lane, struct flight *flight)
{
    if (!flight->in_ready)
        return;
    flight->in_ready = false;
    g_queue_remove(&lane->ready, flight);
}

/* The next member to send: first those to be tried again at once. -1 when none is left. */
static int32_t next_member(struct flight *flight)
{
    if (flight->at_once->len > 0) {
        int32_t i = g_array_index(flight->at_once, int32_t, flight->at_once->len - 1);
        g_array_set_size(flight->at_once, flight->at_once->len - 1);
        return i;
    }
    while (flight->next < flight->size) {
        int32_t i = flight->next++;
        if (flight->members[i].code == OUTCOME_NONE)
            return i;
    }
    return -1;
}

static bool has_more(struct flight *flight)
{
    while (flight->next < flight->size && flight->members[flight->next].code != OUTCOME_NONE)
        flight->next++;
    return flight->at_once->len > 0 || flight->next < flight->size;
}

/* Requests that are no emergency's and may still go out: a short pipe lets an emergency through. */
static int64_t ordinary_room(const struct fan_channel *channel)
{
    return channel->overtaken ? 0
                              : channel->fanout->options.settings->deliver_ordinary_in_flight -
                                    (int64_t)channel->ordinary_out;
}

/* A flight may send while its lease surely holds. */
static bool sendable(const struct flight *flight, int64_t now_us)
{
    const struct fan_broadcast *b = flight->chunk->broadcast;

    return flight->chunk->lease_until_mono_us > now_us && !b->stopped &&
           (b->emergency ||
            (ordinary_room(flight->chunk->lane->channel) > 0 && !fan_flight_stale(flight)));
}

/* The most urgent flight that may send; broadcasts of one urgency take turns. */
static struct flight *next_flight(struct fan_lane *lane, int64_t now_us)
{
    struct flight *best = NULL;

    for (GList *at = lane->ready.head; at != NULL; at = at->next) {
        struct flight *flight = at->data;
        const struct fan_broadcast *b = flight->chunk->broadcast;
        if (!sendable(flight, now_us))
            continue;
        if (best == NULL || b->priority < best->chunk->broadcast->priority ||
            (b->priority == best->chunk->broadcast->priority &&
             b->turn < best->chunk->broadcast->turn))
            best = flight;
    }
    return best;
}

static unsigned slot_room(struct fan_lane *lane, unsigned slot)
{
    struct channel *channel = lane->channel->channel;
    unsigned limit = window_limit(&lane->windows[slot]);
    unsigned busy = channel->ops->in_flight(channel, lane->lane, slot);
    unsigned room = channel->ops->room(channel, lane->lane, slot);

    if (busy >= limit)
        return 0;
    return MIN(room, limit - busy);
}

bool fan_lane_connected(const struct fan_lane *lane)
{
    struct channel *channel = lane->channel->channel;

    for (unsigned slot = 0; slot < lane->n_slots; slot++)
        if (channel->ops->room(channel, lane->lane, slot) > 0 ||
            channel->ops->in_flight(channel, lane->lane, slot) > 0)
            return true;
    return false;
}

/* A slot with room, other than avoid when there is a choice; -1 when none. Round robin. */
static int pick_slot(struct fan_lane *lane, int avoid, unsigned *out_room)
{
    int fallback = -1;

    for (unsigned n = 0; n < lane->n_slots; n++) {
        unsigned slot = (lane->next_slot + n) % lane->n_slots;
        unsigned room = slot_room(lane, slot);
        if (room == 0)
            continue;
        if ((int)slot == avoid) {
            fallback = (int)slot;
            continue;
        }
        lane->next_slot = slot + 1;
        *out_room = room;
        return (int)slot;
    }
    if (fallback >= 0)
        *out_room = slot_room(lane, (unsigned)fallback);
    return fallback;
}

static void send_member(struct fan_lane *lane, struct flight *flight, int32_t i, unsigned slot)
{
    struct push *push = &flight->pushes[i];
    const struct member *member = &flight->members[i];
    struct channel *channel = lane->channel->channel;

    push->slot = slot;
    push_id_make(push->push_id, push->broadcast_id, push->device_id,
                 2 * member->attempts + (member->tried_at_once ? 1 : 0));
    flight->outstanding++;
    if (!flight->chunk->broadcast->emergency)
        lane->channel->ordinary_out++;
    channel->ops->send(channel, push);
}

/* Sends up to n members of one flight over one slot; returns how many. */
static unsigned send_batch(struct fan_lane *lane, struct flight *flight, unsigned slot, int64_t n)
{
    unsigned sent = 0;

    while (sent < n) {
        int32_t i = next_member(flight);
        if (i < 0)
            break;
        send_member(lane, flight, i, slot);
        sent++;
    }
    if (!has_more(flight))
        fan_lane_unready(lane, flight);
    return sent;
}

/* How many of the flight's members may go on which slot now; 0 when none. Quota is asked for only
 * when there is room to use it. */
static int64_t batch_size(struct fan_lane *lane, const struct flight *flight, int64_t now_us,
                          int *out_slot)
{
    struct fan_channel *channel = lane->channel;
    bool emergency = flight->chunk->broadcast->emergency;
    guint again = flight->at_once->len;
    int avoid = -1;
    unsigned room = 0;
    int64_t n;

    if (again > 0) /* each on another connection than its last attempt */
        avoid = (int)flight->pushes[g_array_index(flight->at_once, int32_t, again - 1)].slot;
    if ((*out_slot = pick_slot(lane, avoid, &room)) < 0)
        return 0;
    n = again > 0 ? 1 : (int64_t)room;
    if (!emergency)
        n = MIN(n, ordinary_room(channel));
    fan_channel_want(channel, n, emergency);
    return MIN(n, quota_room(&channel->quota, emergency, now_us));
}

static void pump_lane(struct fan_lane *lane)
{
    struct fan_channel *channel = lane->channel;
    int64_t now_us = fanout_mono(channel->fanout);
    struct flight *flight;

    while ((flight = next_flight(lane, now_us)) != NULL) {
        struct fan_broadcast *b = flight->chunk->broadcast;
        int slot = -1;
        int64_t n = batch_size(lane, flight, now_us, &slot);
        if (n <= 0)
            return;
        b->turn = ++channel->fanout->turns;
        n = send_batch(lane, flight, (unsigned)slot, n);
        quota_take(&channel->quota, n, b->emergency, now_us);
    }
}

static gboolean pump(gpointer data)
{
    struct fan_channel *channel = data;
    struct fanout *f = channel->fanout;

    channel->pump_source = 0;
    if (fan_channel_closed(channel))
        return G_SOURCE_REMOVE;
    for (int l = 0; l < LANE_COUNT; l++)
        pump_lane(&channel->lanes[l]);
    if (f->spare_room != NULL)
        f->spare_room(channel->channel, f->spare_room_user);
    channel->channel->ops->flush(channel->channel);
    return G_SOURCE_REMOVE;
}

void fan_channel_pump_soon(struct fan_channel *channel)
{
    if (channel->pump_source == 0)
        channel->pump_source = g_idle_add_full(G_PRIORITY_DEFAULT, pump, channel, NULL);
}
