/* What the engine knows of a channel: a struct of functions. fcm/, apns/ and mqtt/ implement it,
 * app/ plugs them in. Single-threaded: every call and callback runs on the loop's thread. */
#ifndef LOA_ENGINE_CHANNEL_H
#define LOA_ENGINE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "engine/message.h"

/* A lane has its own connections, so that trouble in one does not slow the others. */
enum lane {
    LANE_PROVEN,   /* tokens that the provider has accepted before */
    LANE_UNPROVEN, /* tokens never accepted: APNs slows connections with many 4xx */
    LANE_SANDBOX,  /* APNs sandbox devices: another host */
    LANE_COUNT
};

/* Result of one attempt. The names are the metric's label values. */
enum verdict_kind {
    VERDICT_ACCEPTED,         /* the provider took it; not yet shown */
    VERDICT_DEAD_TOKEN,       /* this token will never work again: retire it */
    VERDICT_REJECTED_PAYLOAD, /* the message itself is refused: stop the broadcast on the channel */
    VERDICT_REJECTED_CONFIG,  /* our credentials or set-up are refused: stop the channel, page */
    VERDICT_THROTTLED,        /* the whole channel waits until retry_after_ms from now */
    VERDICT_TRANSIENT,        /* this device again after retry_after_ms (0 = the usual back-off) */
    VERDICT_UNKNOWN,          /* the request may have arrived; no answer will come */
    VERDICT_NOT_SENT,         /* surely not processed (REFUSED_STREAM, above GOAWAY's last id) */
    VERDICT_KINDS
};
const char *verdict_name(enum verdict_kind kind);

struct verdict {
    enum verdict_kind kind;
    int64_t retry_after_ms;    /* THROTTLED, TRANSIENT; 0 = not told */
    int64_t dead_since_utc_us; /* DEAD_TOKEN: dead only if registered before this (APNs 410); 0 =
                                  always */
    bool close_connection;  /* this connection is of no more use (Shutdown, ExpiredProviderToken) */
    bool renew_credentials; /* mint a new provider token before trying again */
    const char *reason;     /* static or interned: "UNREGISTERED", "tls_untrusted"; never NULL */
};

/* Rendered bytes of one message for one channel and language; the channel's own struct. */
struct channel_payload;

/* One attempt for one device. The engine owns it and keeps it and all it borrows alive until done.
 */
struct push {
    const struct channel_payload *payload; /* borrowed */
    const char *token;                     /* borrowed: push token, FID, or device id for mqtt */
    bool is_fid;                           /* FCM: token is a Firebase installation id */
    int64_t broadcast_id;                  /* 0 for a targeted notification */
    int64_t device_id;
    uint8_t push_id[16]; /* UUIDv8 of (broadcast or notification, device, attempt): APNs' apns-id */
    enum lane lane;
    unsigned slot; /* the connection it was given to */
    /* Called exactly once, never from inside send(). The push may be freed or sent again inside. */
    void (*done)(struct push *push, const struct verdict *verdict);
    void *owner; /* the engine's */
};

struct channel_ops;

struct channel {
    const struct channel_ops *ops;
    const char *name;   /* "fcm", "apns", "mqtt" */
    size_t payload_max; /* bytes of a rendered message, token not counted */
    /* Set by the engine before start(); called when room may have grown or a connection came up. */
    void (*on_room)(void *engine_data, struct channel *channel);
    /* Set by the engine; called when connecting fails for a reason that only an operator can mend
     * (untrusted certificate, refused credentials): the engine stops the channel and pages. */
    void (*on_config_error)(void *engine_data, struct channel *channel, const char *reason);
    void *engine_data;
};

struct channel_ops {
    /* Renders once per message. INVALID when it does not fit payload_max (the message names the
     * size and the limit). Needs no connection: `loa broadcast create` measures with it. */
    struct channel_payload *(*render)(struct channel *channel, const struct message *message,
                                      GError **error);
    void (*payload_free)(struct channel_payload *payload);
    /* Bytes of the rendered message as the provider counts them. */
    size_t (*payload_size)(const struct channel_payload *payload);

    /* Begins to connect and to keep credentials fresh. */
    void (*start)(struct channel *channel);
    /* Connections of a lane (0 = the channel has no such lane). */
    unsigned (*slots)(const struct channel *channel, enum lane lane);
    /* Requests the peer will take on this connection now, in-flight ones already subtracted;
     * 0 while connecting, without credentials, or draining. */
    unsigned (*room)(const struct channel *channel, enum lane lane, unsigned slot);
    /* Requests open on it now. */
    unsigned (*in_flight)(const struct channel *channel, enum lane lane, unsigned slot);
    /* Sends one push on push->lane, push->slot. room() was > 0. Never calls done from inside. */
    void (*send)(struct channel *channel, struct push *push);
    /* Writes what send() has queued: called once after a batch of sends. */
    void (*flush)(struct channel *channel);

    /* One dry run without reaching a phone: for the canary and `loa doctor`. The callback runs
     * once; detail is a static or borrowed string for people. */
    void (*dry_run)(struct channel *channel,
                    void (*cb)(bool ok, const char *detail, int64_t duration_us, void *user),
                    void *user);
    void (*free)(struct channel *channel);
};

#endif
