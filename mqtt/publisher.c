/* The publisher's loop: the list of live broadcasts comes from the database, each broker takes what
 * it owes as it has room, acknowledgements go back. The struct is counted (g_rc_box), because
 * answers of the database may come after publisher_free; those find closed set.
 *
 * A broker works off what lies in its socket in order, and one publication may be ten thousand
 * deliveries. So information goes to a broker one at a time, and an emergency waits for at most one
 * of them. While a connected broker has not acknowledged an emergency, all brokers are held: what
 * is no emergency waits. A broker that hangs is given up by its keep-alive and holds nobody then.
 */
#include "mqtt/publisher.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/broadcast_store.h"
#include "engine/fanout_store.h"
#include "mqtt/live_alert.h"
#include "mqtt/publisher_store.h"

struct publisher {
    struct publisher_options options;
    GPtrArray *alerts;         /* struct live_alert, in live_alert_compare order */
    unsigned *information_out; /* per broker: not yet acknowledged and no emergency; 0 or 1 */
    guint poll_id;
    bool polling, poll_again;
    bool poll_failing; /* said once */
    bool closed;
};

/* What a callback needs to find its way back. Freed by the callback. */
struct reference {
    struct publisher *publisher; /* counted */
    int64_t broadcast_id;
    unsigned broker;
    unsigned round;
    bool information; /* a publication that is no emergency */
};

static void poll_now(struct publisher *publisher);
static void pump(struct publisher *publisher, unsigned n);

static struct reference *reference_new(struct publisher *publisher, int64_t broadcast_id,
                                       unsigned broker, unsigned round)
{
    struct reference *reference = g_new(struct reference, 1);

    *reference = (struct reference){.publisher = g_rc_box_acquire(publisher),
                                    .broadcast_id = broadcast_id,
                                    .broker = broker,
                                    .round = round};
    return reference;
}

static void reference_free(struct reference *reference)
{
    g_rc_box_release(reference->publisher);
    g_free(reference);
}
LOA_AUTO_DEFINE(reference, reference_free)

static struct live_alert *find(const struct publisher *publisher, int64_t broadcast_id)
{
    for (guint i = 0; i < publisher->alerts->len; i++) {
        struct live_alert *alert = publisher->alerts->pdata[i];
        if (alert->broadcast_id == broadcast_id)
            return alert;
    }
    return NULL;
}

static int64_t mono_us(const struct publisher *publisher)
{
    return publisher->options.clock->mono_us(publisher->options.clock);
}

/* --- acknowledgements to the database --- */

static void settle_answered(PGresult *res, const GError *error, void *user)
{
    loa_auto(reference) reference = user;
    struct publisher *publisher = reference->publisher;
    struct live_alert *alert = publisher->closed ? NULL : find(publisher, reference->broadcast_id);

    if (alert == NULL)
        return;
    alert->settling = false;
    if (error != NULL)
        return; /* the next poll tries again */
    alert->settled = true;
    if (PQntuples(res) == 1)
        log_event(LOG_LEVEL_INFO, "alert_acknowledged", LOG_INT("broadcast", alert->broadcast_id),
                  LOG_INT("brokers", alert->n_brokers));
}

static void settle_if_complete(struct publisher *publisher, struct live_alert *alert)
{
    for (unsigned i = 0; i < alert->n_brokers; i++)
        if (!alert->deliveries[i].recorded)
            return;
    if (alert->settled || alert->settling)
        return;
    alert->settling = true;
    publisher_store_settle(publisher->options.db, alert->broadcast_id,
                           brokers_names(publisher->options.brokers), alert->n_brokers,
                           settle_answered, reference_new(publisher, alert->broadcast_id, 0, 0));
}

static void ack_answered(PGresult *res, const GError *error, void *user)
{
    loa_auto(reference) reference = user;
    struct publisher *publisher = reference->publisher;
    struct live_alert *alert = publisher->closed ? NULL : find(publisher, reference->broadcast_id);
    (void)res;

    if (alert == NULL)
        return;
    alert->deliveries[reference->broker].recording = false;
    if (error != NULL)
        return; /* the next poll tries again */
    alert->deliveries[reference->broker].recorded = true;
    settle_if_complete(publisher, alert);
}

static void record_if_done(struct publisher *publisher, struct live_alert *alert, unsigned broker)
{
    struct delivery *delivery = &alert->deliveries[broker];

    if (delivery->recorded || delivery->recording || !live_alert_is_done(alert, broker))
        return;
    delivery->recording = true;
    publisher_store_ack(publisher->options.db, alert->broadcast_id,
                        brokers_names(publisher->options.brokers)[broker], ack_answered,
                        reference_new(publisher, alert->broadcast_id, broker, 0));
}

/* --- publishing --- */

static const char *reply_name(enum broker_reply reply)
{
    static const char *const names[] = {[BROKER_ACKED] = "acked",
                                        [BROKER_NO_SUBSCRIBERS] = "no_subscribers",
                                        [BROKER_REFUSED] = "refused",
                                        [BROKER_LOST] = "lost"};
    return names[reply];
}

static void count_reply(const struct broker *broker, enum broker_reply reply)
{
    g_autofree char *label = g_strdup_printf("%s/%s", broker_name(broker), reply_name(reply));

    metric_add(METRIC_MQTT_PUBLICATIONS, label, 1);
}

/* While an emergency is on its way to any broker that is connected, the others' room is closed. */
static void hold_brokers(struct publisher *publisher)
{
    struct brokers *brokers = publisher->options.brokers;
    int64_t now_us = mono_us(publisher);
    bool hold = false;

    for (unsigned n = 0; n < brokers_count(brokers) && !hold; n++)
        for (guint i = 0; broker_is_up(brokers_get(brokers, n)) && i < publisher->alerts->len; i++)
            hold = hold || live_alert_is_urgent(publisher->alerts->pdata[i], n, now_us);
    for (unsigned n = 0; n < brokers_count(brokers); n++)
        broker_hold(brokers_get(brokers, n), hold);
}

static void on_published(struct broker *broker, enum broker_reply reply, unsigned reason,
                         void *user)
{
    loa_auto(reference) reference = user;
    struct publisher *publisher = reference->publisher;
    struct live_alert *alert = publisher->closed ? NULL : find(publisher, reference->broadcast_id);

    count_reply(broker, reply);
    if (publisher->closed)
        return;
    if (reference->information)
        publisher->information_out[reference->broker]--;
    if (alert == NULL || alert->deliveries[reference->broker].round != reference->round)
        return;
    if (reply == BROKER_REFUSED) {
        live_alert_failed(alert, reference->broker, mono_us(publisher));
        log_event(LOG_LEVEL_ERROR, "publication_refused", LOG_STR("broker", broker_name(broker)),
                  LOG_INT("broadcast", alert->broadcast_id), LOG_INT("reason", reason));
    } else if (reply != BROKER_LOST) {
        alert->deliveries[reference->broker].acked++;
        record_if_done(publisher, alert, reference->broker);
    }
    if (reference->information)
        pump(publisher, reference->broker);
    else
        hold_brokers(publisher);
}

/* May this alert go to the broker now? */
static bool has_room(const struct publisher *publisher, unsigned n, const struct live_alert *alert)
{
    const struct broker *broker = brokers_get(publisher->options.brokers, n);

    if (alert->emergency)
        return broker_room_urgent(broker) > 0;
    return broker_room(broker) > 0 && publisher->information_out[n] == 0;
}

/* Publishes one topic; false when the broker has no room. */
static bool publish_topic(struct publisher *publisher, unsigned n, struct live_alert *alert,
                          int topic)
{
    struct broker *broker = brokers_get(publisher->options.brokers, n);
    struct delivery *delivery = &alert->deliveries[n];
    int64_t now_us = mono_us(publisher);
    size_t len;
    const void *payload = g_bytes_get_data(alert->payload, &len);

    if (!has_room(publisher, n, alert))
        return false;
    struct reference *reference = reference_new(publisher, alert->broadcast_id, n, delivery->round);
    reference->information = !alert->emergency;
    delivery->sent++;
    if (!broker_publish(broker, alert->topics[topic], payload, len, true,
                        live_alert_expiry_s(alert, now_us), on_published, reference)) {
        live_alert_failed(alert, n, now_us);
        reference_free(reference);
    } else if (!alert->emergency) {
        publisher->information_out[n]++;
    }
    return true;
}

/* Gives a broker what it owes, in order, as far as it has room. */
static void pump(struct publisher *publisher, unsigned n)
{
    for (guint i = 0; i < publisher->alerts->len; i++) {
        struct live_alert *alert = publisher->alerts->pdata[i];
        int topic;
        while ((topic = live_alert_next_topic(alert, n, mono_us(publisher))) >= 0)
            if (!publish_topic(publisher, n, alert, topic))
                return;
    }
}

static void pump_all(struct publisher *publisher)
{
    hold_brokers(publisher);
    for (unsigned n = 0; n < brokers_count(publisher->options.brokers); n++)
        pump(publisher, n);
}

static void on_broker_up(struct broker *broker, void *user)
{
    struct publisher *publisher = user;
    unsigned n = brokers_index(publisher->options.brokers, broker);

    for (guint i = 0; i < publisher->alerts->len; i++)
        live_alert_restart(publisher->alerts->pdata[i], n);
    hold_brokers(publisher);
    pump(publisher, n);
}

static void on_broker_down(struct broker *broker, void *user)
{
    (void)broker;
    hold_brokers(user);
}

static void on_broker_room(struct broker *broker, void *user)
{
    struct publisher *publisher = user;

    pump(publisher, brokers_index(publisher->options.brokers, broker));
}

static const struct broker_events broker_events = {
    .up = on_broker_up, .down = on_broker_down, .room = on_broker_room};

/* --- what is live --- */

static void refusal_written(PGresult *res, const GError *error, void *user)
{
    (void)res, (void)user;
    if (error != NULL)
        log_event(LOG_LEVEL_ERROR, "refusal_unwritten", LOG_STR("error", error->message));
}

static void refuse(struct publisher *publisher, struct live_alert *alert, const char *why)
{
    alert->state = LIVE_ALERT_REFUSED;
    log_event(LOG_LEVEL_ALERT, "broadcast_refused", LOG_INT("broadcast", alert->broadcast_id),
              LOG_STR("reason", why));
    metric_add(METRIC_SIGNATURES_REFUSED, NULL, 1);
    fanout_refuse(publisher->options.db, alert->broadcast_id, why, refusal_written, NULL);
}

static void loaded(PGresult *res, const GError *error, void *user)
{
    loa_auto(reference) reference = user;
    struct publisher *publisher = reference->publisher;
    struct live_alert *alert = publisher->closed ? NULL : find(publisher, reference->broadcast_id);
    g_autoptr(GError) why = NULL;
    loa_auto(broadcast) broadcast = NULL;

    if (alert == NULL)
        return;
    if (error != NULL || PQntuples(res) != 1) {
        /* Forgotten, so that the next poll reads it again. */
        g_ptr_array_remove(publisher->alerts, alert);
        return;
    }
    broadcast = broadcast_decode(res, 0, &why);
    if (broadcast == NULL || !release_verify(broadcast, publisher->options.keys, &why)) {
        refuse(publisher, alert, why->message);
    } else if (!live_alert_render(alert, broadcast, &why)) {
        alert->state = LIVE_ALERT_REFUSED;
        log_event(LOG_LEVEL_ALERT, "alert_unrenderable", LOG_INT("broadcast", alert->broadcast_id),
                  LOG_STR("reason", why->message));
    }
    live_alerts_mark_active(publisher->alerts);
    pump_all(publisher);
}

/* Takes over a row of the list; a broadcast seen for the first time is read. */
static void note_row(struct publisher *publisher, const PGresult *res, int row)
{
    int64_t id = db_get_i64(res, row, 0);
    struct live_alert *alert = find(publisher, id);
    g_auto(GStrv) acked = db_get_text_array(res, row, 5);

    if (alert == NULL) {
        struct db_params *params = db_params_new();
        alert = live_alert_new(id, db_get_text(res, row, 1), (int)db_get_i64(res, row, 2),
                               db_get_bool(res, row, 3), brokers_count(publisher->options.brokers));
        g_ptr_array_add(publisher->alerts, alert);
        db_param_i64(params, id);
        db_async_query(publisher->options.db, broadcast_load_sql, params, loaded,
                       reference_new(publisher, id, 0, 0));
    }
    alert->listed = true;
    alert->deadline_mono_us = mono_us(publisher) + db_get_i64(res, row, 4);
    alert->settled = alert->settled || db_get_bool(res, row, 6);
    for (unsigned n = 0; n < alert->n_brokers; n++) {
        const char *name = brokers_names(publisher->options.brokers)[n];
        if (acked != NULL && g_strv_contains((const char *const *)acked, name))
            alert->deliveries[n].recorded = true;
        record_if_done(publisher, alert, n);
    }
    settle_if_complete(publisher, alert);
}

/* Expired, stopped or refused elsewhere: no longer ours. A broker forgets by the expiry it has. */
static void drop_unlisted(struct publisher *publisher)
{
    for (guint i = publisher->alerts->len; i-- > 0;) {
        struct live_alert *alert = publisher->alerts->pdata[i];
        if (!alert->listed)
            g_ptr_array_remove_index(publisher->alerts, i);
        else
            alert->listed = false;
    }
}

static void listed(PGresult *res, const GError *error, void *user)
{
    loa_auto(reference) reference = user;
    struct publisher *publisher = reference->publisher;

    publisher->polling = false;
    if (publisher->closed)
        return;
    if (error != NULL) {
        if (!publisher->poll_failing)
            log_event(LOG_LEVEL_ERROR, "alerts_unlisted", LOG_STR("error", error->message));
        publisher->poll_failing = true;
    } else {
        publisher->poll_failing = false;
        if (PQntuples(res) == PUBLISHER_ALERTS_MAX)
            log_event(LOG_LEVEL_WARN, "alerts_limited", LOG_INT("limit", PUBLISHER_ALERTS_MAX));
        for (int row = 0; row < PQntuples(res); row++)
            note_row(publisher, res, row);
        drop_unlisted(publisher);
        g_ptr_array_sort(publisher->alerts, live_alert_compare);
        live_alerts_mark_active(publisher->alerts);
    }
    pump_all(publisher);
    if (publisher->poll_again)
        poll_now(publisher);
}

static void poll_now(struct publisher *publisher)
{
    publisher->poll_again = publisher->polling;
    if (publisher->polling)
        return;
    publisher->polling = true;
    publisher_store_list(publisher->options.db, listed, reference_new(publisher, 0, 0, 0));
}

static gboolean on_poll(gpointer user)
{
    poll_now(user);
    return G_SOURCE_CONTINUE;
}

struct publisher *publisher_new(const struct publisher_options *options)
{
    struct publisher *publisher = g_rc_box_new0(struct publisher);

    publisher->options = *options;
    publisher->alerts = g_ptr_array_new_with_free_func((GDestroyNotify)live_alert_free);
    brokers_observe(options->brokers, &broker_events, publisher);
    publisher->information_out = g_new0(unsigned, brokers_count(options->brokers));
    publisher->poll_id = g_timeout_add((guint)options->poll_ms, on_poll, publisher);
    poll_now(publisher);
    return publisher;
}

void publisher_wake(struct publisher *publisher)
{
    poll_now(publisher);
}

void publisher_free(struct publisher *publisher)
{
    publisher->closed = true;
    g_source_remove(publisher->poll_id);
    brokers_unobserve(publisher->options.brokers, publisher);
    for (unsigned n = 0; n < brokers_count(publisher->options.brokers); n++)
        broker_hold(brokers_get(publisher->options.brokers, n), false);
    g_clear_pointer(&publisher->alerts, g_ptr_array_unref);
    g_clear_pointer(&publisher->information_out, g_free);
    g_rc_box_release(publisher);
}

unsigned publisher_owed(const struct publisher *publisher)
{
    unsigned owed = 0;

    for (guint i = 0; i < publisher->alerts->len; i++) {
        const struct live_alert *alert = publisher->alerts->pdata[i];
        bool complete = true;
        for (unsigned n = 0; alert->active && n < alert->n_brokers; n++)
            complete = complete && live_alert_is_done(alert, n);
        owed += complete ? 0 : 1;
    }
    return owed;
}
