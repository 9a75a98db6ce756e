/* All values of the wire format are strings; numbers are plain decimals. */
#include "tests/sim/fleet_alert.h"

#include <string.h>

#include "base/json.h"
#include "engine/message.h"

#define PAYLOAD_MAX 65536

/* A string field; "" when absent. NULL when it is there and no string. */
static const char *field(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return value == NULL ? "" : json_string_value(value);
}

static bool number(const json_t *object, const char *name, int64_t *out)
{
    const char *text = field(object, name);

    return text != NULL && g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, out, NULL);
}

static bool read_type(const json_t *object, enum message_type *out)
{
    const char *text = field(object, "type");

    for (int type = MESSAGE_ALERT; text != NULL && type <= MESSAGE_NOTICE; type++) {
        if (strcmp(text, message_type_name((enum message_type)type)) == 0) {
            *out = (enum message_type)type;
            return true;
        }
    }
    return false;
}

static bool read_head(const json_t *object, struct message *out)
{
    const struct {
        const char *name;
        const char **value;
    } strings[] = {{"alert", &out->alert_id}, {"kind", &out->kind},
                   {"level", &out->level},    {"class", &out->cls},
                   {"realm", &out->realm},    {"areas", &out->areas},
                   {"url", &out->url},        {"source", &out->source_document},
                   {"key", &out->key_id}};
    int64_t version;

    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++) {
        *strings[i].value = field(object, strings[i].name);
        if (*strings[i].value == NULL)
            return false;
    }
    if (!read_type(object, &out->type) || !number(object, "v", &version) || version < 1 ||
        version > G_MAXINT || !number(object, "issued", &out->issued_s) ||
        !number(object, "expires", &out->expires_s) ||
        !number(object, "window", &out->receipt_window_s))
        return false;
    out->version = (int)version;
    return out->alert_id[0] != '\0';
}

static bool read_texts(const json_t *texts, const char *language, struct message *out)
{
    const json_t *text = json_object_get(texts, language);
    size_t len;

    out->language = text != NULL ? language : "vi";
    if (text == NULL)
        text = json_object_get(texts, "vi");
    out->title = field(text, "title");
    out->body = field(text, "body");
    out->instruction = field(text, "instruction");
    const char *signature = field(text, "sig");
    return text != NULL && out->title != NULL && out->body != NULL && out->instruction != NULL &&
           signature != NULL &&
           crypto_base64url_decode(signature, out->signature, sizeof(out->signature), &len) &&
           len == sizeof(out->signature);
}

static bool is_genuine(const struct message *message, const struct release_keys *keys)
{
    g_autoptr(GByteArray) bytes = message_canonical_bytes(message);

    for (size_t i = 0; i < release_keys_count(keys); i++)
        if (ed25519_verify(release_keys_get(keys, i), bytes->data, bytes->len, message->signature))
            return true;
    return false;
}

enum fleet_alert_result fleet_alert_read(const void *payload, size_t len, const char *language,
                                         const struct release_keys *keys, struct fleet_alert *out)
{
    g_autoptr(json_t) object = json_parse_object(payload, len, PAYLOAD_MAX, NULL);
    struct message message = {0};

    if (object == NULL || !read_head(object, &message) ||
        !read_texts(json_object_get(object, "texts"), language, &message))
        return FLEET_ALERT_MALFORMED;
    *out = (struct fleet_alert){.alert_id = g_intern_string(message.alert_id),
                                .version = message.version,
                                .is_cancel = message.type == MESSAGE_CANCEL,
                                .is_emergency = strcmp(message.cls, "khan_cap") == 0,
                                .window_s = message.receipt_window_s};
    return is_genuine(&message, keys) ? FLEET_ALERT_GENUINE : FLEET_ALERT_BAD_SIGNATURE;
}
