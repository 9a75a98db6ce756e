/* The feed of alerts: Atom 1.0 (RFC 4287), in Vietnamese, for feed readers and other people's
 * systems. */
#ifndef LOA_ENGINE_PUBLIC_FEED_H
#define LOA_ENGINE_PUBLIC_FEED_H

#include "base/json.h"

#define PUBLIC_FEED_TYPE "application/atom+xml; charset=utf-8"

/* alerts: an array of public_alert_json, newest first; expired ones are left out, and corrections
 * stand in the place of what they take back. public_url: how the outside reaches Loa, without a
 * final slash; "" = links are relative. author: who publishes. Owned. */
char *public_feed_text(const json_t *alerts, const char *public_url, const char *author);

#endif
