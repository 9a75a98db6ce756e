/* One targeted message goes to every broker; the best answer counts. Each broker has a queue of its
 * own for what it has no room for yet: it is short unless the broker hangs, and then ends with its
 * connection. */
#include "mqtt/device.h"

#include "mqtt/topic.h"

#define QUEUE_MAX 10000 /* per broker; what is beyond it is not published there */

struct mqtt_devices {
    struct brokers *brokers;
    GQueue *waiting; /* per broker: struct targeted, counted in its open */
};

struct targeted {
    char *topic;
    GBytes *payload;
    uint32_t expiry_s;
    unsigned open; /* brokers that have not answered */
    enum mqtt_device_reply best;
    mqtt_device_cb cb; /* NULL = answered */
    void *user;
};

static enum mqtt_device_reply of_broker(enum broker_reply reply)
{
    switch (reply) {
    case BROKER_ACKED:
        return MQTT_DEVICE_ACCEPTED;
    case BROKER_NO_SUBSCRIBERS:
        return MQTT_DEVICE_ABSENT;
    case BROKER_LOST:
        return MQTT_DEVICE_UNCERTAIN;
    case BROKER_REFUSED:
        break;
    }
    return MQTT_DEVICE_REFUSED;
}

/* Accepted by one is accepted; a broker that may have it outweighs those that surely have not. */
static unsigned weight(enum mqtt_device_reply reply)
{
    static const unsigned weights[] = {[MQTT_DEVICE_ACCEPTED] = 4,
                                       [MQTT_DEVICE_UNCERTAIN] = 3,
                                       [MQTT_DEVICE_REFUSED] = 2,
                                       [MQTT_DEVICE_ABSENT] = 1,
                                       [MQTT_DEVICE_NO_BROKER] = 0};
    return weights[reply];
}

static void tell(struct targeted *targeted)
{
    mqtt_device_cb cb = targeted->cb;

    targeted->cb = NULL;
    if (cb != NULL)
        cb(targeted->best, targeted->user);
}

static void targeted_free(struct targeted *targeted)
{
    g_free(targeted->topic);
    g_bytes_unref(targeted->payload);
    g_free(targeted);
}

/* One of the open brokers has answered. */
static void note_reply(struct targeted *targeted, enum mqtt_device_reply reply)
{
    if (weight(reply) > weight(targeted->best))
        targeted->best = reply;
    targeted->open--;
    if (targeted->open == 0 || reply == MQTT_DEVICE_ACCEPTED)
        tell(targeted);
    if (targeted->open == 0)
        targeted_free(targeted);
}

static void answered(struct broker *broker, enum broker_reply reply, unsigned reason, void *user)
{
    (void)broker, (void)reason;
    note_reply(user, of_broker(reply));
}

static void pump(struct mqtt_devices *devices, unsigned n)
{
    struct broker *broker = brokers_get(devices->brokers, n);

    while (devices->waiting[n].length > 0 && broker_room(broker) > 0) {
        struct targeted *targeted = g_queue_pop_head(&devices->waiting[n]);
        gsize len;
        const void *json = g_bytes_get_data(targeted->payload, &len);
        if (!broker_publish(broker, targeted->topic, json, len, false, targeted->expiry_s, answered,
                            targeted))
            note_reply(targeted, MQTT_DEVICE_REFUSED);
    }
}

/* What waits for this broker never was there. */
static void give_up(struct mqtt_devices *devices, unsigned n)
{
    struct targeted *targeted;

    while ((targeted = g_queue_pop_head(&devices->waiting[n])) != NULL)
        note_reply(targeted, MQTT_DEVICE_NO_BROKER);
}

static void on_room(struct broker *broker, void *user)
{
    struct mqtt_devices *devices = user;

    pump(devices, brokers_index(devices->brokers, broker));
}

static void on_down(struct broker *broker, void *user)
{
    struct mqtt_devices *devices = user;

    give_up(devices, brokers_index(devices->brokers, broker));
}

static const struct broker_events events = {.down = on_down, .room = on_room};

struct mqtt_devices *mqtt_devices_new(struct brokers *brokers)
{
    struct mqtt_devices *devices = g_new0(struct mqtt_devices, 1);

    devices->brokers = brokers;
    devices->waiting = g_new0(GQueue, brokers_count(brokers));
    brokers_observe(brokers, &events, devices);
    return devices;
}

void mqtt_devices_free(struct mqtt_devices *devices)
{
    brokers_unobserve(devices->brokers, devices);
    for (unsigned n = 0; n < brokers_count(devices->brokers); n++)
        give_up(devices, n);
    g_free(devices->waiting);
    g_free(devices);
}

static gboolean no_broker_idle(gpointer user)
{
    note_reply(user, MQTT_DEVICE_NO_BROKER);
    return G_SOURCE_REMOVE;
}

void mqtt_devices_publish(struct mqtt_devices *devices, int64_t device_id, const void *json,
                          size_t len, uint32_t expiry_s, mqtt_device_cb cb, void *user)
{
    struct targeted *targeted = g_new(struct targeted, 1);

    /* One more is open than there are brokers, until the main loop turns: nothing is told from
     * inside, and something is told when no broker is up. */
    *targeted = (struct targeted){.topic = mqtt_device_topic(device_id),
                                  .payload = g_bytes_new(json, len),
                                  .expiry_s = expiry_s,
                                  .open = 1,
                                  .best = MQTT_DEVICE_NO_BROKER,
                                  .cb = cb,
                                  .user = user};
    g_idle_add_full(G_PRIORITY_DEFAULT, no_broker_idle, targeted, NULL);
    for (unsigned n = 0; n < brokers_count(devices->brokers); n++) {
        if (!broker_is_up(brokers_get(devices->brokers, n)) ||
            devices->waiting[n].length >= QUEUE_MAX)
            continue;
        targeted->open++;
        g_queue_push_tail(&devices->waiting[n], targeted);
        pump(devices, n);
    }
}
