/* One targeted message goes to every broker; the best answer counts. */
#include "mqtt/device.h"

#include "mqtt/topic.h"

struct targeted {
    unsigned waiting; /* brokers that have not answered */
    enum mqtt_device_reply best;
    mqtt_device_cb cb;
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

static void finish(struct targeted *targeted)
{
    if (targeted->cb != NULL)
        targeted->cb(targeted->best, targeted->user);
    g_free(targeted);
}

static void answered(struct broker *broker, enum broker_reply reply, unsigned reason, void *user)
{
    struct targeted *targeted = user;
    enum mqtt_device_reply now = of_broker(reply);
    (void)broker, (void)reason;

    if (weight(now) > weight(targeted->best))
        targeted->best = now;
    if (--targeted->waiting == 0)
        finish(targeted);
}

static gboolean finish_idle(gpointer user)
{
    finish(user);
    return G_SOURCE_REMOVE;
}

void mqtt_publish_device(struct brokers *brokers, int64_t device_id, const void *json, size_t len,
                         uint32_t expiry_s, mqtt_device_cb cb, void *user)
{
    g_autofree char *topic = mqtt_device_topic(device_id);
    struct targeted *targeted = g_new0(struct targeted, 1);

    targeted->best = MQTT_DEVICE_NO_BROKER;
    targeted->cb = cb;
    targeted->user = user;
    for (unsigned n = 0; n < brokers_count(brokers); n++) {
        struct broker *broker = brokers_get(brokers, n);
        if (broker_room(broker) > 0 &&
            broker_publish(broker, topic, json, len, false, expiry_s, answered, targeted))
            targeted->waiting++;
    }
    if (targeted->waiting == 0)
        g_idle_add_full(G_PRIORITY_DEFAULT, finish_idle, targeted, NULL);
}
