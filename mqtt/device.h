/* What is addressed to one device: loa/v1/device/{id}, QoS 1, not retained. */
#ifndef LOA_MQTT_DEVICE_H
#define LOA_MQTT_DEVICE_H

#include "mqtt/brokers.h"

enum mqtt_device_reply {
    MQTT_DEVICE_ACCEPTED,  /* a broker has it for the device: connected, or its session is kept */
    MQTT_DEVICE_ABSENT,    /* every broker that is up says that nobody subscribes */
    MQTT_DEVICE_UNCERTAIN, /* a connection fell before its answer */
    MQTT_DEVICE_REFUSED,   /* a broker refused it, none accepted */
    MQTT_DEVICE_NO_BROKER, /* none is up or has room */
};

/* Runs once, never from inside mqtt_devices_publish; at the latest when the brokers are freed. */
typedef void (*mqtt_device_cb)(enum mqtt_device_reply reply, void *user);

struct mqtt_devices;

/* Observes the brokers, borrowed. Owned. */
struct mqtt_devices *mqtt_devices_new(struct brokers *brokers);
/* What has not left is answered; what is out is answered when the brokers are freed. */
void mqtt_devices_free(struct mqtt_devices *devices);
LOA_AUTO_DEFINE(mqtt_devices, mqtt_devices_free)

/* Publishes to every broker that is up, because the device may be at any of them; at each as soon
 * as it has room, so that a slow one delays nobody else's phones. Answered by the first broker that
 * accepts, else when all have answered. json is copied. */
void mqtt_devices_publish(struct mqtt_devices *devices, int64_t device_id, const void *json,
                          size_t len, uint32_t expiry_s, mqtt_device_cb cb, void *user);

#endif
