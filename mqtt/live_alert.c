/* State of one alert per broker; time is an argument, nothing here touches network or database. */
#include "mqtt/live_alert.h"

#include "base/clock.h"
#include "mqtt/alert.h"
#include "mqtt/topic.h"

#define BACKOFF_MAX_DOUBLINGS 5 /* 32 s, cut to BACKOFF_MAX_S */
#define BACKOFF_MAX_S         30

struct live_alert *live_alert_new(int64_t broadcast_id, const char *alert_id, int version,
                                  bool emergency, unsigned n_brokers)
{
    struct live_alert *alert = g_new0(struct live_alert, 1);

    alert->broadcast_id = broadcast_id;
    alert->alert_id = g_strdup(alert_id);
    alert->version = version;
    alert->emergency = emergency;
    alert->deliveries = g_new0(struct delivery, n_brokers);
    alert->n_brokers = n_brokers;
    return alert;
}

void live_alert_free(struct live_alert *alert)
{
    g_clear_pointer(&alert->payload, g_bytes_unref);
    g_strfreev(alert->topics);
    g_free(alert->deliveries);
    g_free(alert->alert_id);
    g_free(alert);
}

bool live_alert_render(struct live_alert *alert, const struct broadcast *broadcast, GError **error)
{
    g_autofree struct message *messages = g_new0(struct message, broadcast->texts->len);

    for (guint i = 0; i < broadcast->texts->len; i++) {
        const struct broadcast_text *text = broadcast->texts->pdata[i];
        broadcast_message(broadcast, text->language, &messages[i]);
    }
    alert->payload = mqtt_alert_render(messages, broadcast->texts->len, error);
    if (alert->payload == NULL)
        return false;
    alert->topics =
        mqtt_alert_topics(broadcast_realm_name(broadcast->realm), broadcast_is_emergency(broadcast),
                          (const char *const *)broadcast->communes, broadcast->alert_id);
    alert->n_topics = g_strv_length(alert->topics);
    alert->state = LIVE_ALERT_READY;
    return true;
}

void live_alert_restart(struct live_alert *alert, unsigned broker)
{
    struct delivery *delivery = &alert->deliveries[broker];

    delivery->round++;
    delivery->sent = 0;
    delivery->acked = 0;
    delivery->failures = 0;
    delivery->not_before_mono_us = 0;
}

void live_alert_failed(struct live_alert *alert, unsigned broker, int64_t now_mono_us)
{
    struct delivery *delivery = &alert->deliveries[broker];
    unsigned failures = MIN(delivery->failures + 1, BACKOFF_MAX_DOUBLINGS + 1);
    int64_t wait_s = MIN(INT64_C(1) << (failures - 1), BACKOFF_MAX_S);

    live_alert_restart(alert, broker);
    delivery->failures = failures;
    delivery->not_before_mono_us = now_mono_us + wait_s * USEC_PER_SEC;
}

int live_alert_next_topic(const struct live_alert *alert, unsigned broker, int64_t now_mono_us)
{
    const struct delivery *delivery = &alert->deliveries[broker];

    if (!alert->active || delivery->sent == alert->n_topics ||
        delivery->not_before_mono_us > now_mono_us || live_alert_expiry_s(alert, now_mono_us) == 0)
        return -1;
    return (int)delivery->sent;
}

bool live_alert_is_done(const struct live_alert *alert, unsigned broker)
{
    return alert->state == LIVE_ALERT_READY && alert->deliveries[broker].acked == alert->n_topics;
}

bool live_alert_is_urgent(const struct live_alert *alert, unsigned broker, int64_t now_mono_us)
{
    if (!alert->emergency || live_alert_expiry_s(alert, now_mono_us) == 0)
        return false;
    if (alert->state == LIVE_ALERT_LOADING)
        return true;
    return alert->active && !live_alert_is_done(alert, broker) &&
           alert->deliveries[broker].not_before_mono_us <= now_mono_us;
}

uint32_t live_alert_expiry_s(const struct live_alert *alert, int64_t now_mono_us)
{
    int64_t left_us = alert->deadline_mono_us - now_mono_us;

    if (left_us <= 0)
        return 0;
    return (uint32_t)MIN((left_us + USEC_PER_SEC - 1) / USEC_PER_SEC, UINT32_MAX);
}

void live_alerts_mark_active(GPtrArray *alerts)
{
    g_autoptr(GHashTable) newest = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < alerts->len; i++) {
        struct live_alert *alert = alerts->pdata[i];
        struct live_alert *other = g_hash_table_lookup(newest, alert->alert_id);
        alert->active = false;
        if (alert->state == LIVE_ALERT_READY && (other == NULL || other->version < alert->version))
            g_hash_table_replace(newest, alert->alert_id, alert);
    }
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, newest);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        ((struct live_alert *)value)->active = true;
}

int live_alert_compare(gconstpointer a, gconstpointer b)
{
    const struct live_alert *x = *(struct live_alert *const *)a,
                            *y = *(struct live_alert *const *)b;

    if (x->emergency != y->emergency)
        return x->emergency ? -1 : 1;
    return (x->broadcast_id < y->broadcast_id) - (x->broadcast_id > y->broadcast_id);
}
