/* Finds aps and the two custom keys that name the alert; everything else is only checked for form.
 */
#include "tests/sim/apns_payload.h"

#include "tests/sim/jscan.h"

struct reader {
    struct apns_payload *out;
    bool has_aps;
};

static bool aps_member(struct jscan *scan, const struct jscan_text *name, void *user)
{
    char first = jscan_peek(scan);

    (void)user;
    if (text_is(name->raw, "alert") && first != '"' && first != '{')
        return false;
    return jscan_skip(scan);
}

/* A custom key that is a string or a number; other types are left alone. */
static bool read_custom(struct jscan *scan, char *buffer, struct text *out)
{
    struct jscan_text string;
    char first = jscan_peek(scan);

    if (out->at != NULL)
        return false;
    if (first == '"')
        return jscan_string(scan, &string) && jscan_unescape(&string, buffer, APNS_CUSTOM_MAX, out);
    if (first == '-' || (first >= '0' && first <= '9'))
        return jscan_number(scan, out) && out->len <= APNS_CUSTOM_MAX;
    return jscan_skip(scan);
}

static bool payload_member(struct jscan *scan, const struct jscan_text *name, void *user)
{
    struct reader *reader = user;

    if (text_is(name->raw, "aps")) {
        if (reader->has_aps)
            return false;
        reader->has_aps = true;
        return jscan_object(scan, aps_member, NULL);
    }
    if (text_is(name->raw, "alert"))
        return read_custom(scan, reader->out->unescaped[0], &reader->out->alert);
    if (text_is(name->raw, "v"))
        return read_custom(scan, reader->out->unescaped[1], &reader->out->version);
    return jscan_skip(scan);
}

bool apns_payload_read(const char *body, size_t len, struct apns_payload *out)
{
    struct jscan scan;
    struct reader reader = {.out = out};

    out->alert = out->version = (struct text){NULL, 0};
    jscan_init(&scan, body, len);
    return jscan_object(&scan, payload_member, &reader) && jscan_end(&scan) && reader.has_aps;
}
