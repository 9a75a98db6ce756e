/* The engine's connection to one MQTT 5 broker, on the default GMainContext: connects by itself,
 * again after a loss (1 s doubling to 30 s, with jitter, names resolved anew each time),
 * subscribes, publishes with QoS 1. Identity is the client certificate. */
#ifndef LOA_MQTT_BROKER_H
#define LOA_MQTT_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#define BROKER_IN_FLIGHT_MAX                                                                       \
    100 /* publications not yet acknowledged; the broker may ask for less */
/* Of these, kept free for emergencies: whatever else is out, one of them leaves at once. Half when
 * the broker asks for very few. */
#define BROKER_URGENT_RESERVE 20

/* What became of a publication. */
enum broker_reply {
    BROKER_ACKED,          /* PUBACK: the broker has it and somebody subscribes to it */
    BROKER_NO_SUBSCRIBERS, /* PUBACK 0x10: taken (and retained if asked), nobody subscribes now */
    BROKER_REFUSED,        /* PUBACK with a reason of 0x80 or above */
    BROKER_LOST,           /* the connection ended first; it may have arrived */
};

struct broker;

/* Runs once per accepted publication, never from inside broker_publish(). reason: the PUBACK's
 * reason code. */
typedef void (*broker_publish_cb)(struct broker *broker, enum broker_reply reply, unsigned reason,
                                  void *user);

/* All may be NULL. None may free the broker. */
struct broker_events {
    void (*up)(struct broker *broker, void *user);
    /* Publications that were out have had their callback with BROKER_LOST. */
    void (*down)(struct broker *broker, void *user);
    /* broker_room() was 0 and something has been acknowledged or let go since: ask again. */
    void (*room)(struct broker *broker, void *user);
    /* payload is borrowed for the length of the call; not NUL-terminated. */
    void (*message)(struct broker *broker, const char *topic, const void *payload, size_t len,
                    void *user);
    /* Connecting failed for a reason that only an operator can mend: "tls_untrusted",
     * "tls_files", "not_authorized". Repeated with each attempt. */
    void (*config_error)(struct broker *broker, const char *reason, void *user);
};

struct broker_options {
    const char *address;                /* host:port, [v6]:port */
    const char *ca_file;                /* "" = the system's */
    const char *cert_file, *key_file;   /* "" = none */
    const char *const *subscriptions;   /* NULL-terminated topic filters, QoS 1 */
    const struct broker_events *events; /* borrowed */
    void *user;
};

/* Copies the options, starts to connect from the main loop. INVALID for a malformed address. Owned.
 */
struct broker *broker_new(const struct broker_options *options, GError **error);
/* Says DISCONNECT; pending publications get BROKER_LOST. */
void broker_free(struct broker *broker);
LOA_AUTO_DEFINE(broker, broker_free)

/* The address as configured: the name in broker_ack, logs and metrics. */
const char *broker_name(const struct broker *broker);
bool broker_is_up(const struct broker *broker);
/* Publications it will take now; 0 while it is down or held. */
unsigned broker_room(const struct broker *broker);
/* The same for an emergency: the reserve counts, and it is never held. */
unsigned broker_room_urgent(const struct broker *broker);
/* While held, only emergencies leave: an emergency is on its way. Letting go calls the room event
 * when somebody has asked in vain. */
void broker_hold(struct broker *broker, bool hold);

/* QoS 1 with content type application/json and message expiry. The room that goes with it must be
 * > 0. False: not taken (too large for this broker, or the connection is about to be lost); no
 * callback then. */
bool broker_publish(struct broker *broker, const char *topic, const void *payload, size_t len,
                    bool retain, uint32_t expiry_s, broker_publish_cb cb, void *user);

#endif
