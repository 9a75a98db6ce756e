/* The phone's side of docs/device-protocol.md: reads a retained alert in one language and checks
 * its signature over the canonical bytes rebuilt from the JSON. */
#ifndef LOA_SIM_FLEET_ALERT_H
#define LOA_SIM_FLEET_ALERT_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "engine/release.h"

enum fleet_alert_result {
    FLEET_ALERT_GENUINE,
    FLEET_ALERT_BAD_SIGNATURE,
    FLEET_ALERT_MALFORMED,
};

struct fleet_alert {
    const char *alert_id; /* interned */
    int version;
    bool is_cancel;
    bool is_emergency;
    int64_t window_s;
};

/* language: the phone's; Vietnamese is taken where it is missing. out is written unless MALFORMED.
 */
enum fleet_alert_result fleet_alert_read(const void *payload, size_t len, const char *language,
                                         const struct release_keys *keys, struct fleet_alert *out);

#endif
