/* Plugs channel implementations into the engine. */
#include "app/channels.h"

#include <assert.h>
#include <string.h>

#include "apns/apns.h"
#include "base/error.h"
#include "base/log.h"
#include "fcm/fcm.h"

static bool add(struct channels *channels, struct channel *channel)
{
    if (channel == NULL)
        return false;
    assert(channels->n < CHANNELS_MAX);
    channels->channel[channels->n++] = channel;
    return true;
}

static bool open_one(struct channels *channels, const char *name, const struct settings *settings,
                     const struct clock *clock, GError **error)
{
    bool fcm = strcmp(name, "fcm") == 0;

    if (!fcm && strcmp(name, "apns") != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "deliver.channels: \"%s\" is no push channel; write fcm, apns", name);
        return false;
    }
    if ((fcm ? settings->fcm_service_account_file : settings->apns_key_file)[0] == '\0') {
        log_event(LOG_LEVEL_WARN, "channel_unconfigured", LOG_STR("channel", name));
        return true;
    }
    return add(channels, fcm ? fcm_channel_new(settings, clock, error)
                             : apns_channel_new(settings, clock, error));
}

bool channels_open_push(struct channels *channels, const char *const *names,
                        const struct settings *settings, const struct clock *clock, GError **error)
{
    *channels = (struct channels){.n = 0};
    for (; *names != NULL; names++)
        if (!open_one(channels, *names, settings, clock, error)) {
            channels_clear(channels);
            return false;
        }
    return true;
}

void channels_clear(struct channels *channels)
{
    for (size_t i = 0; i < channels->n; i++)
        channels->channel[i]->ops->free(channels->channel[i]);
    channels->n = 0;
}
