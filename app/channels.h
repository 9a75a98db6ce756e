/* The channels that a process serves, as its settings name them. */
#ifndef LOA_APP_CHANNELS_H
#define LOA_APP_CHANNELS_H

#include "base/clock.h"
#include "base/settings.h"
#include "engine/channel.h"

#define CHANNELS_MAX 3

struct channels {
    struct channel *channel[CHANNELS_MAX];
    size_t n;
};

/* Opens fcm and apns where names (NULL-terminated) has them and they are configured; a channel that
 * is named but not configured is left out with a log event. INVALID for an unknown name or broken
 * credentials. */
bool channels_open_push(struct channels *channels, const char *const *names,
                        const struct settings *settings, const struct clock *clock, GError **error);
void channels_clear(struct channels *channels);

#endif
