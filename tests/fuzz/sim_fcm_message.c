/* lib: loa_sim */
/* The judge of FCM messages: whatever it accepts is JSON with the fields that it reports. */
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "tests/sim/fcm_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const json_t *data, const char *name, struct text text)
{
    const json_t *value = json_object_get(data, name);

    if (text.at == NULL
            ? value != NULL
            : !text_equal(text, (struct text){json_string_value(value), json_string_length(value)}))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {[FCM_TARGET_TOKEN] = "token",
                                        [FCM_TARGET_FID] = "fid",
                                        [FCM_TARGET_TOPIC] = "topic",
                                        [FCM_TARGET_CONDITION] = "condition"};
    struct fcm_message message;
    json_error_t error;
    json_t *body;
    const json_t *inner;

    if (!fcm_message_read((const char *)data, size, &message)) {
        if (message.problem == NULL)
            abort();
        return 0;
    }
    body = json_loadb((const char *)data, size, JSON_ALLOW_NUL, &error);
    if (body == NULL && json_error_code(&error) != json_error_numeric_overflow)
        abort();
    inner = json_object_get(body, "message");
    if (inner != NULL)
        compare(inner, names[message.target], message.address);
    json_decref(body);
    return 0;
}
