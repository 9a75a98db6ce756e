/* The text of a push: its signed bytes and its wire fields, the same on every channel. */
#include "engine/message.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "engine/channel.h"

static const char *const type_names[] = {
    [MESSAGE_ALERT] = "alert", [MESSAGE_CANCEL] = "cancel", [MESSAGE_NOTICE] = "notice"};

const char *message_type_name(enum message_type type)
{
    assert(type <= MESSAGE_NOTICE);
    return type_names[type];
}

const char *verdict_name(enum verdict_kind kind)
{
    static const char *const names[VERDICT_KINDS] = {
        [VERDICT_ACCEPTED] = "accepted",
        [VERDICT_DEAD_TOKEN] = "dead_token",
        [VERDICT_REJECTED_PAYLOAD] = "rejected_payload",
        [VERDICT_REJECTED_CONFIG] = "rejected_config",
        [VERDICT_THROTTLED] = "throttled",
        [VERDICT_TRANSIENT] = "transient",
        [VERDICT_UNKNOWN] = "unknown",
        [VERDICT_NOT_SENT] = "not_sent",
    };
    assert(kind < VERDICT_KINDS);
    return names[kind];
}

/* A field of the message in wire order: text, or a number written in decimal. */
struct wire_field {
    const char *name;
    const char *text;
    int64_t number;
};

#define WIRE_FIELDS 18

static void wire_fields(const struct message *m, struct wire_field out[WIRE_FIELDS])
{
    const struct wire_field fields[WIRE_FIELDS] = {
        {"type", message_type_name(m->type), 0},
        {"alert", m->alert_id, 0},
        {"v", NULL, m->version},
        {"kind", m->kind, 0},
        {"level", m->level, 0},
        {"class", m->cls, 0},
        {"realm", m->realm, 0},
        {"issued", NULL, m->issued_s},
        {"expires", NULL, m->expires_s},
        {"title", m->title, 0},
        {"body", m->body, 0},
        {"instruction", m->instruction, 0},
        {"areas", m->areas, 0},
        {"lang", m->language, 0},
        {"url", m->url, 0},
        {"source", m->source_document, 0},
        {"window", NULL, m->receipt_window_s},
        {"key", m->key_id, 0},
    };
    memcpy(out, fields, sizeof(fields));
}

static void append_field(GByteArray *bytes, const char *text)
{
    uint32_t len_be = GUINT32_TO_BE((uint32_t)strlen(text));

    g_byte_array_append(bytes, (const guint8 *)&len_be, sizeof(len_be));
    g_byte_array_append(bytes, (const guint8 *)text, (guint)strlen(text));
}

GByteArray *message_canonical_bytes(const struct message *message)
{
    static const char domain[] = "loa-alert-v1";
    GByteArray *bytes = g_byte_array_sized_new(1024);
    struct wire_field fields[WIRE_FIELDS];

    g_byte_array_append(bytes, (const guint8 *)domain, sizeof(domain) - 1);
    wire_fields(message, fields);
    for (size_t i = 0; i < WIRE_FIELDS; i++) {
        char number[24];
        g_snprintf(number, sizeof(number), "%" PRId64, fields[i].number);
        append_field(bytes, fields[i].text != NULL ? fields[i].text : number);
    }
    return bytes;
}

bool message_is_emergency(const struct message *m)
{
    return strcmp(m->realm, "live") == 0 && strcmp(m->kind, "CANH_BAO") == 0 &&
           strcmp(m->level, "khan_cap") == 0;
}

void *message_to_json(const struct message *message, const char *const *fields_skip)
{
    json_t *object = json_object();
    struct wire_field fields[WIRE_FIELDS];

    wire_fields(message, fields);
    for (size_t i = 0; i < WIRE_FIELDS; i++) {
        char number[24];
        const char *text = fields[i].text;
        if (fields_skip != NULL && g_strv_contains(fields_skip, fields[i].name))
            continue;
        if (text == NULL) {
            g_snprintf(number, sizeof(number), "%" PRId64, fields[i].number);
            text = number;
        }
        if (text[0] != '\0')
            json_object_set_new(object, fields[i].name, json_string(text));
    }
    if (message->is_signed && (fields_skip == NULL || !g_strv_contains(fields_skip, "sig"))) {
        g_autofree char *signature = crypto_base64url(message->signature, ED25519_SIGNATURE_LEN);
        json_object_set_new(object, "sig", json_string(signature));
    }
    return object;
}
