/* loa tick: the canary. Its connections are its own, one per lane. */
#include <sysexits.h>

#include "app/channels.h"
#include "app/role.h"
#include "engine/canary.h"
#include "engine/fanout.h"
#include "mqtt/channel.h"

static bool open_channels(struct channels *channels, struct settings *settings,
                          const struct clock *clock, GError **error)
{
    static const char *const push[] = {"fcm", "apns", NULL};
    struct channel *mqtt;

    settings->fcm_connections = settings->apns_connections = 1;
    if (!channels_open_push(channels, push, settings, clock, error))
        return false;
    if (g_strv_length(settings->mqtt_brokers) == 0)
        return true;
    mqtt = mqtt_channel_open(settings, clock, error);
    if (mqtt == NULL) {
        channels_clear(channels);
        return false;
    }
    channels->channel[channels->n++] = mqtt;
    return true;
}

int role_tick(struct command *command, int argc, char **argv)
{
    struct role role;
    struct channels channels;
    struct canary *canary;
    g_autoptr(GError) error = NULL;
    int status = EX_OK;

    if (!command_parse("tick", "Proves each channel by a dry run.", NULL, &argc, &argv, &status))
        return status;
    if (!open_channels(&channels, command->settings, command->clock, &error))
        return command_fail("tick", error);
    if (!role_init(&role, command, "tick", NULL, command->settings->tick_metrics_listen)) {
        channels_clear(&channels);
        return EX_UNAVAILABLE;
    }
    canary = canary_new(role.db, channels.channel, channels.n,
                        command->settings->tick_canary_interval_s);
    role_run(&role);
    role_clear(&role);
    canary_free(canary);
    channels_clear(&channels);
    return EX_OK;
}
