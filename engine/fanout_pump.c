/* Feeds the connections: most urgent flight first, as many requests as the peer's settings, our
 * window, the quota and the lease allow. Runs once per turn of the loop, so that requests leave in
 * batches. */
#include "engine/fanout_internal.h"
#include "engine/push_id.h"

bool fan_channel_closed(const struct fan_channel *channel)
{
    return channel->stopped || channel->switched_off || channel->fanout->all_stopped;
}

static gint by_urgency(gconstpointer a, gconstpointer b, gpointer user)
{
    const struct fan_broadcast *x = ((const struct flight *)a)->chunk->broadcast;
    const struct fan_broadcast *y = ((const struct flight *)b)->chunk->broadcast;

    (void)user;
    if (x->emergency != y->emergency)
        return x->emergency ? -1 : 1;
    if (x->broadcast->level != y->broadcast->level)
        return x->broadcast->level > y->broadcast->level ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

void fan_lane_ready(struct fan_lane *lane, struct flight *flight)
{
    if (flight->in_ready)
        return;
    flight->in_ready = true;
    g_queue_insert_sorted(&lane->ready, flight, by_urgency, NULL);
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

/* A flight may send while its lease surely holds. */
static struct flight *sendable(struct fan_lane *lane, int64_t now_us)
{
    for (GList *at = lane->ready.head; at != NULL; at = at->next) {
        struct flight *flight = at->data;
        if (flight->chunk->lease_until_mono_us > now_us && !flight->chunk->broadcast->stopped)
            return flight;
    }
    return NULL;
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

static void pump_lane(struct fan_lane *lane)
{
    struct fan_channel *channel = lane->channel;
    int64_t now_us = fanout_mono(channel->fanout);
    struct flight *flight;

    while ((flight = sendable(lane, now_us)) != NULL) {
        int64_t quota = quota_room(&channel->quota, flight->chunk->broadcast->emergency, now_us);
        unsigned room = 0;
        int avoid = -1, slot;
        if (flight->at_once->len > 0)
            avoid = (int)flight
                        ->pushes[g_array_index(flight->at_once, int32_t, flight->at_once->len - 1)]
                        .slot;
        slot = quota > 0 ? pick_slot(lane, avoid, &room) : -1;
        if (slot < 0)
            return;
        if (avoid >= 0)
            room = 1;
        quota_take(&channel->quota,
                   send_batch(lane, flight, (unsigned)slot, MIN(quota, (int64_t)room)));
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
