/* One live broadcast inside the publisher, and what each broker still owes for it. Pure. */
#ifndef LOA_MQTT_LIVE_ALERT_H
#define LOA_MQTT_LIVE_ALERT_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "engine/broadcast.h"

enum live_alert_state {
    LIVE_ALERT_LOADING, /* its row is being read; next: READY, REFUSED */
    LIVE_ALERT_READY,   /* verified and rendered */
    LIVE_ALERT_REFUSED, /* wrong signature, or it does not fit: publishes nothing */
};

/* One alert at one broker. A round is one attempt at all its topics. */
struct delivery {
    unsigned round;
    unsigned sent, acked; /* topics, in this round */
    unsigned failures;    /* rounds that the broker refused, in a row */
    int64_t not_before_mono_us;
    bool recording, recorded; /* in broker_ack */
};

struct live_alert {
    int64_t broadcast_id;
    char *alert_id;
    int version;
    bool emergency;
    enum live_alert_state state;
    int64_t deadline_mono_us; /* expiry */
    bool active;              /* READY, and the newest version of its alert */
    bool settled, settling;   /* mqtt_acked_at */
    char **topics;
    unsigned n_topics;
    GBytes *payload;
    struct delivery *deliveries; /* one per broker */
    unsigned n_brokers;
    bool listed; /* mark of the poll that is being read */
};

/* A new alert in state LOADING. Owned. */
struct live_alert *live_alert_new(int64_t broadcast_id, const char *alert_id, int version,
                                  bool emergency, unsigned n_brokers);
void live_alert_free(struct live_alert *alert);

/* Renders all languages of a verified broadcast; state becomes READY. INVALID when too large. */
bool live_alert_render(struct live_alert *alert, const struct broadcast *broadcast, GError **error);

/* A new round at one broker, for instance after it came back: everything is owed again. */
void live_alert_restart(struct live_alert *alert, unsigned broker);
/* A round failed: the next one after 1 s doubling to 30 s. */
void live_alert_failed(struct live_alert *alert, unsigned broker, int64_t now_mono_us);
/* The next topic to publish at the broker now; -1 when there is none. */
int live_alert_next_topic(const struct live_alert *alert, unsigned broker, int64_t now_mono_us);
/* The broker has acknowledged every topic of the round. */
bool live_alert_is_done(const struct live_alert *alert, unsigned broker);
/* An emergency that is on its way to the broker: being read, to be published now, or published and
 * not yet acknowledged. Not while it waits after a refusal: then it would hold up the rest for
 * nothing. */
bool live_alert_is_urgent(const struct live_alert *alert, unsigned broker, int64_t now_mono_us);
/* Whole seconds of life left, at least 1; 0 when it has expired. */
uint32_t live_alert_expiry_s(const struct live_alert *alert, int64_t now_mono_us);

/* Sets active on the newest READY version of each alert. alerts: struct live_alert *. */
void live_alerts_mark_active(GPtrArray *alerts);
/* Emergencies first, then the newest. */
int live_alert_compare(gconstpointer a, gconstpointer b);

#endif
