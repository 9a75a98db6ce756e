/* lib: loa_sim */
/* The judge of APNs payloads: whatever it accepts is JSON with an aps object. */
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "tests/sim/apns_payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct apns_payload payload;
    json_error_t error;
    json_t *body;

    if (!apns_payload_read((const char *)data, size, &payload))
        return 0;
    body = json_loadb((const char *)data, size, JSON_ALLOW_NUL, &error);
    if (body == NULL && json_error_code(&error) != json_error_numeric_overflow)
        abort();
    if (body != NULL && !json_is_object(json_object_get(body, "aps")))
        abort();
    json_decref(body);
    return 0;
}
