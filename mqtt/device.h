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

/* Runs once, never from inside the call; also at brokers_free. */
typedef void (*mqtt_device_cb)(enum mqtt_device_reply reply, void *user);

/* Publishes to every broker that is up: the device may be at any of them. cb may be NULL. */
void mqtt_publish_device(struct brokers *brokers, int64_t device_id, const void *json, size_t len,
                         uint32_t expiry_s, mqtt_device_cb cb, void *user);

#endif
