/* The body of an APNs request: JSON with an aps object, custom keys beside it. */
#ifndef LOA_SIM_APNS_PAYLOAD_H
#define LOA_SIM_APNS_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/sim/text.h"

#define APNS_PAYLOAD_MAX 4096
#define APNS_CUSTOM_MAX  64

struct apns_payload {
    struct text alert;   /* custom key "alert", or absent */
    struct text version; /* custom key "v", string or number, or absent */
    char unescaped[2][APNS_CUSTOM_MAX];
};

/* False when the body is not JSON, repeats a key that matters or has no aps object. */
bool apns_payload_read(const char *body, size_t len, struct apns_payload *out);

#endif
