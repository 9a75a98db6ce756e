/* Opens the configured channels without starting them, only to measure payloads. */
#include "app/meter.h"

#include "app/channels.h"
#include "mqtt/alert.h"

struct meter {
    struct channels channels;
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

struct meter *meter_open(const struct settings *settings, const struct clock *clock, GError **error)
{
    struct meter *meter = g_new0(struct meter, 1);

    if (!channels_open_push(&meter->channels, (const char *const *)settings->deliver_channels,
                            settings, clock, error)) {
        g_free(meter);
        return NULL;
    }
    meter->meter = (struct broadcast_meter){.channels = meter->channels.channel,
                                            .n_channels = meter->channels.n,
                                            .fits_together = fits_mqtt};
    return meter;
}

void meter_close(struct meter *meter)
{
    if (meter == NULL)
        return;
    channels_clear(&meter->channels);
    g_free(meter);
}

const struct broadcast_meter *meter_get(const struct meter *meter)
{
    return &meter->meter;
}
