/* Apple Push Notification service over HTTP/2 with token authentication: the channel "apns". */
#ifndef LOA_APNS_APNS_H
#define LOA_APNS_APNS_H

#include "base/clock.h"
#include "base/settings.h"
#include "engine/channel.h"

/* Reads the provider key. INVALID, NOT_FOUND or DENIED names the setting and what is wrong. clock
 * is borrowed, settings are read only here. A dry run that waits when the channel is freed is
 * dropped without its callback. Owned: channel->ops->free. */
struct channel *apns_channel_new(const struct settings *settings, const struct clock *clock,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A channel that only renders, for measuring a message without credentials: it has no slots. */
struct channel *apns_renderer_new(const struct settings *settings);

#endif
