/* Topic names: the only place where they are put together or taken apart. */
#include "mqtt/topic.h"

#include <inttypes.h>
#include <string.h>

/* The level below loa/v1: live alerts are the only ones that live devices may read. */
static const char *alert_root(const char *realm, bool emergency)
{
    if (strcmp(realm, "live") == 0)
        return emergency ? "emergency" : "alert";
    if (strcmp(realm, "exercise") == 0)
        return "exercise";
    return "test";
}

char **mqtt_alert_topics(const char *realm, bool emergency, const char *const *communes,
                         const char *alert_id)
{
    const char *root = alert_root(realm, emergency);
    g_autoptr(GStrvBuilder) topics = g_strv_builder_new();

    if (communes == NULL || communes[0] == NULL) {
        g_autofree char *topic = g_strdup_printf("loa/v1/%s/all/%s", root, alert_id);
        g_strv_builder_add(topics, topic);
    }
    for (size_t i = 0; communes != NULL && communes[i] != NULL; i++) {
        g_autofree char *topic =
            g_strdup_printf("loa/v1/%s/area/%s/%s", root, communes[i], alert_id);
        g_strv_builder_add(topics, topic);
    }
    return g_strv_builder_end(topics);
}

char *mqtt_device_topic(int64_t device_id)
{
    return g_strdup_printf("loa/v1/device/%" PRId64, device_id);
}

bool mqtt_device_id_parse(const char *text, int64_t *out_device_id)
{
    int64_t id = 0;

    if (text[0] < '1' || text[0] > '9')
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, *p - '0', &id))
            return false;
    }
    *out_device_id = id;
    return true;
}

bool mqtt_receipt_device(const char *topic, int64_t *out_device_id)
{
    if (!g_str_has_prefix(topic, MQTT_TOPIC_RECEIPT_PREFIX))
        return false;
    return mqtt_device_id_parse(topic + strlen(MQTT_TOPIC_RECEIPT_PREFIX), out_device_id);
}
