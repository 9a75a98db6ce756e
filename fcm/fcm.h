/* Firebase Cloud Messaging over its HTTP v1 API: the channel "fcm". */
#ifndef LOA_FCM_FCM_H
#define LOA_FCM_FCM_H

#include "base/clock.h"
#include "base/settings.h"
#include "engine/channel.h"

/* Reads the service account. INVALID, NOT_FOUND or DENIED names the setting and what is wrong.
 * clock is borrowed, settings are read only here. A dry run that waits when the channel is freed is
 * dropped without its callback. Owned: channel->ops->free. */
struct channel *fcm_channel_new(const struct settings *settings, const struct clock *clock,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A channel that only renders, for measuring a message without credentials: it has no slots. */
struct channel *fcm_renderer_new(const struct clock *clock);

#endif
