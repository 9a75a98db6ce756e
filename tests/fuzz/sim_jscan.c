/* lib: loa_sim */
/* The simulators' JSON scanner against jansson: what it takes, jansson must take, and with the same
 * strings. The reverse need not hold (depth, numbers jansson cannot represent). */
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "tests/sim/jscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare_string(const json_t *value, const char *text, size_t len)
{
    struct jscan scan;
    struct jscan_text string;
    struct text out;
    char buffer[4096];

    jscan_init(&scan, text, len);
    if (!json_is_string(value) || !jscan_string(&scan, &string))
        abort();
    if (string.len != json_string_length(value))
        abort();
    if (jscan_unescape(&string, buffer, sizeof(buffer), &out) &&
        !text_equal(out, (struct text){json_string_value(value), json_string_length(value)}))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct jscan scan;
    json_error_t error;
    json_t *value;
    bool valid;

    jscan_init(&scan, text, size);
    valid = jscan_skip(&scan) && jscan_end(&scan);
    value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (valid && value == NULL && json_error_code(&error) != json_error_numeric_overflow)
        abort();
    jscan_init(&scan, text, size);
    if (valid && value != NULL && jscan_peek(&scan) == '"')
        compare_string(value, text, size);
    json_decref(value);
    return 0;
}
