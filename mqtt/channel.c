/* See channel.h: accounting for broadcasts, one publication for each targeted notification. */
#include "mqtt/channel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "mqtt/alert.h"
#include "mqtt/device.h"
#include "mqtt/echo.h"
#include "mqtt/topic.h"

#define ROOM_MAX          10000 /* pushes waiting for the next turn of the loop */
#define TARGETED_EXPIRY_S 60    /* of a notification that must not be stored */

struct channel_payload {
    char *json; /* from jansson */
    size_t len;
    int64_t expires_s;
    bool store;
};

struct mqtt_channel {
    struct channel channel;
    struct brokers *brokers;
    const struct clock *clock;
    struct echo *echo;
    struct mqtt_devices *devices;
    bool owns_brokers;
    GQueue accepted;       /* struct push, done in the next turn of the loop */
    GQueue targeted;       /* struct push, not yet published */
    unsigned targeted_out; /* each holds a reference: answers may come after mqtt_free */
    bool closed;
    guint idle_id;
    bool started;
};

static struct mqtt_channel *mqtt_of(struct channel *channel)
{
    return (struct mqtt_channel *)channel;
}

static struct channel_payload *mqtt_render(struct channel *channel, const struct message *message,
                                           GError **error)
{
    g_autoptr(json_t) object = message_to_json(message, NULL);
    char *json = json_dumps(object, JSON_COMPACT);
    size_t len = json != NULL ? strlen(json) : 0;

    if (json == NULL || len > channel->payload_max) {
        free(json);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "mqtt: the message in '%s' has %zu bytes, at most %zu fit", message->language,
                    len, channel->payload_max);
        return NULL;
    }
    struct channel_payload *payload = g_new(struct channel_payload, 1);
    *payload = (struct channel_payload){
        .json = json, .len = len, .expires_s = message->expires_s, .store = message->store};
    return payload;
}

static void mqtt_payload_free(struct channel_payload *payload)
{
    free(payload->json);
    g_free(payload);
}

static size_t mqtt_payload_size(const struct channel_payload *payload)
{
    return payload->len;
}

static void mqtt_start(struct channel *channel)
{
    struct mqtt_channel *self = mqtt_of(channel);

    assert(self->brokers != NULL);
    self->started = true;
}

static unsigned mqtt_slots(const struct channel *channel, enum lane lane)
{
    (void)channel;
    return lane == LANE_PROVEN ? 1 : 0;
}

static unsigned mqtt_in_flight(const struct channel *channel, enum lane lane, unsigned slot)
{
    const struct mqtt_channel *self = (const struct mqtt_channel *)channel;
    (void)slot;

    if (lane != LANE_PROVEN)
        return 0;
    return self->accepted.length + self->targeted.length + self->targeted_out;
}

static unsigned mqtt_room(const struct channel *channel, enum lane lane, unsigned slot)
{
    const struct mqtt_channel *self = (const struct mqtt_channel *)channel;
    unsigned out = mqtt_in_flight(channel, lane, slot);

    if (lane != LANE_PROVEN || !self->started || out >= ROOM_MAX)
        return 0;
    return ROOM_MAX - out;
}

static void tell_room(struct mqtt_channel *self)
{
    if (self->channel.on_room != NULL)
        self->channel.on_room(self->channel.engine_data, &self->channel);
}

/* --- targeted notifications --- */

struct targeted_push {
    struct mqtt_channel *self;
    struct push *push;
};

/* A device without a session is tried again like one that does not answer: it may come back before
 * the notification expires. */
static void targeted_done(enum mqtt_device_reply reply, void *user)
{
    static const struct verdict verdicts[] = {
        [MQTT_DEVICE_ACCEPTED] = {.kind = VERDICT_ACCEPTED, .reason = "broker_acked"},
        [MQTT_DEVICE_ABSENT] = {.kind = VERDICT_TRANSIENT, .reason = "no_subscriber"},
        [MQTT_DEVICE_UNCERTAIN] = {.kind = VERDICT_UNKNOWN, .reason = "connection_lost"},
        [MQTT_DEVICE_REFUSED] = {.kind = VERDICT_TRANSIENT, .reason = "broker_refused"},
        [MQTT_DEVICE_NO_BROKER] = {.kind = VERDICT_TRANSIENT, .reason = "no_broker"},
    };
    g_autofree struct targeted_push *targeted = user;
    struct mqtt_channel *self = targeted->self;

    self->targeted_out--;
    if (!self->closed) {
        targeted->push->done(targeted->push, &verdicts[reply]);
        tell_room(self);
    }
    g_rc_box_release(self);
}

static void publish_targeted(struct mqtt_channel *self, struct push *push)
{
    const struct channel_payload *payload = push->payload;
    int64_t left_s = payload->expires_s - self->clock->utc_us(self->clock) / USEC_PER_SEC;
    uint32_t expiry_s = payload->store ? (uint32_t)CLAMP(left_s, 1, UINT32_MAX) : TARGETED_EXPIRY_S;
    struct targeted_push *targeted = g_new(struct targeted_push, 1);

    *targeted = (struct targeted_push){.self = g_rc_box_acquire(self), .push = push};
    self->targeted_out++;
    mqtt_devices_publish(self->devices, push->device_id, payload->json, payload->len, expiry_s,
                         targeted_done, targeted);
}

/* --- sending --- */

static gboolean on_idle(gpointer user)
{
    static const struct verdict accepted = {.kind = VERDICT_ACCEPTED, .reason = "brokers_acked"};
    struct mqtt_channel *self = user;

    self->idle_id = 0;
    /* Only those of this turn: done() may send more. */
    for (guint n = self->accepted.length; n > 0; n--) {
        struct push *push = g_queue_pop_head(&self->accepted);
        push->done(push, &accepted);
    }
    while (self->targeted.length > 0)
        publish_targeted(self, g_queue_pop_head(&self->targeted));
    tell_room(self);
    return G_SOURCE_REMOVE;
}

static void mqtt_send(struct channel *channel, struct push *push)
{
    struct mqtt_channel *self = mqtt_of(channel);

    g_queue_push_tail(push->broadcast_id == 0 ? &self->targeted : &self->accepted, push);
    if (self->idle_id == 0)
        self->idle_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_idle, self, NULL);
}

static void mqtt_flush(struct channel *channel)
{
    (void)channel; /* the idle source above does it */
}

static void mqtt_dry_run(struct channel *channel,
                         void (*cb)(bool ok, const char *detail, int64_t duration_us, void *user),
                         void *user)
{
    echo_run(mqtt_of(channel)->echo, cb, user);
}

static void mqtt_free(struct channel *channel)
{
    struct mqtt_channel *self = mqtt_of(channel);

    g_clear_handle_id(&self->idle_id, g_source_remove);
    g_queue_clear(&self->accepted);
    g_queue_clear(&self->targeted);
    if (self->brokers != NULL) {
        echo_free(self->echo);
        self->closed = true;
        mqtt_devices_free(self->devices);
        brokers_unobserve(self->brokers, self);
    }
    if (self->owns_brokers)
        brokers_free(self->brokers);
    g_rc_box_release(self);
}

/* One broker out of order is an alarm in the log; the channel stops only when all are. */
static void on_config_error(struct broker *broker, const char *reason, void *user)
{
    struct mqtt_channel *self = user;
    (void)broker;

    if (self->started && self->channel.on_config_error != NULL &&
        brokers_all_misconfigured(self->brokers))
        self->channel.on_config_error(self->channel.engine_data, &self->channel, reason);
}

static const struct broker_events events = {.config_error = on_config_error};

static const struct channel_ops ops = {
    .render = mqtt_render,
    .payload_free = mqtt_payload_free,
    .payload_size = mqtt_payload_size,
    .start = mqtt_start,
    .slots = mqtt_slots,
    .room = mqtt_room,
    .in_flight = mqtt_in_flight,
    .send = mqtt_send,
    .flush = mqtt_flush,
    .dry_run = mqtt_dry_run,
    .free = mqtt_free,
};

struct channel *mqtt_channel_new(struct brokers *brokers, const struct clock *clock)
{
    struct mqtt_channel *self = g_rc_box_new0(struct mqtt_channel);

    self->channel.ops = &ops;
    self->channel.name = "mqtt";
    self->channel.payload_max = MQTT_PAYLOAD_MAX;
    self->brokers = brokers;
    self->clock = clock;
    g_queue_init(&self->accepted);
    g_queue_init(&self->targeted);
    if (brokers != NULL) {
        self->echo = echo_new(brokers, clock);
        self->devices = mqtt_devices_new(brokers);
        brokers_observe(brokers, &events, self);
    }
    return &self->channel;
}

struct channel *mqtt_channel_open(const struct settings *settings, const struct clock *clock,
                                  GError **error)
{
    struct brokers *brokers = brokers_new(settings, false, error);

    if (brokers == NULL)
        return NULL;
    struct channel *channel = mqtt_channel_new(brokers, clock);
    mqtt_of(channel)->owns_brokers = true;
    return channel;
}
