/* Measures payloads: FCM and APNs render without credentials, so whoever writes a broadcast needs
 * no provider key, and a text that is too long is refused wherever it is written. */
#include "app/meter.h"

#include "apns/apns.h"
#include "fcm/fcm.h"
#include "mqtt/alert.h"

#define RENDERERS 2

struct meter {
    struct channel *channels[RENDERERS];
    struct broadcast_meter meter;
};

/* The retained alert carries every language. */
static bool fits_mqtt(const struct message *messages, size_t n, GError **error)
{
    GBytes *bytes = mqtt_alert_render(messages, n, error);

    if (bytes == NULL)
        return false;
    g_bytes_unref(bytes);
    return true;
}

struct meter *meter_open(const struct settings *settings, const struct clock *clock)
{
    struct meter *meter = g_new0(struct meter, 1);

    meter->channels[0] = fcm_renderer_new(clock);
    meter->channels[1] = apns_renderer_new(settings);
    meter->meter = (struct broadcast_meter){
        .channels = meter->channels, .n_channels = RENDERERS, .fits_together = fits_mqtt};
    return meter;
}

void meter_close(struct meter *meter)
{
    for (size_t i = 0; i < RENDERERS; i++)
        meter->channels[i]->ops->free(meter->channels[i]);
    g_free(meter);
}

const struct broadcast_meter *meter_get(const struct meter *meter)
{
    return &meter->meter;
}
