/* loa tick: the canary, whose connections are its own, one per lane; and what is public as files
 * for nginx. */
#include <sysexits.h>

#include "app/channels.h"
#include "app/role.h"
#include "engine/canary.h"
#include "engine/fanout.h"
#include "engine/public_files.h"
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

/* Without a folder there are no files. */
static bool open_files(struct public_files **files, struct release_keys **keys,
                       const struct command *command, GError **error)
{
    const struct settings *settings = command->settings;
    struct public_files_options options = {.folder = settings->public_files_dir,
                                           .conninfo = settings->database_conninfo,
                                           .clock = command->clock,
                                           .public_url = settings->api_public_url,
                                           .author = settings->public_author,
                                           .poll_ms = settings->deliver_poll_ms};

    if (settings->public_files_dir[0] == '\0')
        return true;
    options.keys = *keys =
        release_keys_load((const char *const *)settings->broadcast_public_key_files, error);
    *files = *keys != NULL ? public_files_new(&options, error) : NULL;
    return *files != NULL;
}

int role_tick(struct command *command, int argc, char **argv)
{
    struct role role;
    struct channels channels;
    struct canary *canary;
    loa_auto(release_keys) keys = NULL;
    struct public_files *files = NULL;
    g_autoptr(GError) error = NULL;
    int status = EX_OK;

    if (!command_parse("tick", "Proves each channel by a dry run; keeps public alerts as files.",
                       NULL, &argc, &argv, &status))
        return status;
    if (!open_channels(&channels, command->settings, command->clock, &error))
        return command_fail("tick", error);
    if (!open_files(&files, &keys, command, &error)) {
        status = command_fail("tick", error);
    } else if (!role_init(&role, command, "tick", NULL, command->settings->tick_metrics_listen)) {
        status = EX_UNAVAILABLE;
    } else {
        canary = canary_new(role.db, channels.channel, channels.n,
                            command->settings->tick_canary_interval_s);
        role_run(&role);
        role_clear(&role);
        canary_free(canary);
    }
    public_files_free(files);
    channels_clear(&channels);
    return status;
}
