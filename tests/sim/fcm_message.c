/* Reads a send request with jscan in one pass, without allocation. Unknown fields, repeated fields
 * and wrong types are refused as proto3 JSON does; names are accepted in snake and camel case. */
#include "tests/sim/fcm_message.h"

#include <stdint.h>

#include "tests/sim/jscan.h"

enum value_kind {
    VALUE_STRING,   /* any string */
    VALUE_BOOL,     /* true or false */
    VALUE_OPAQUE,   /* an object whose inside is not judged */
    VALUE_DATA,     /* map of strings, counted */
    VALUE_NOTICE,   /* object whose strings are counted as payload */
    VALUE_ADDRESS,  /* token, fid, topic, condition */
    VALUE_ANDROID,  /* AndroidConfig */
    VALUE_MESSAGE,  /* Message */
    VALUE_PRIORITY, /* NORMAL or HIGH */
    VALUE_TTL,      /* Duration "Ns" */
    VALUE_VALIDATE, /* validate_only */
};

struct field {
    const char *name; /* snake case */
    const char *path; /* as the provider names it in a violation */
    enum value_kind kind;
    enum fcm_target target; /* of VALUE_ADDRESS */
};

static const struct field request_fields[] = {
    {"message", "message", VALUE_MESSAGE, 0},
    {"validate_only", "validate_only", VALUE_VALIDATE, 0},
    {NULL, NULL, 0, 0},
};

static const struct field message_fields[] = {
    {"token", "message.token", VALUE_ADDRESS, FCM_TARGET_TOKEN},
    {"data", "message.data", VALUE_DATA, 0},
    {"android", "message.android", VALUE_ANDROID, 0},
    {"fid", "message.fid", VALUE_ADDRESS, FCM_TARGET_FID},
    {"topic", "message.topic", VALUE_ADDRESS, FCM_TARGET_TOPIC},
    {"condition", "message.condition", VALUE_ADDRESS, FCM_TARGET_CONDITION},
    {"notification", "message.notification", VALUE_NOTICE, 0},
    {"apns", "message.apns", VALUE_OPAQUE, 0},
    {"webpush", "message.webpush", VALUE_OPAQUE, 0},
    {"fcm_options", "message.fcm_options", VALUE_OPAQUE, 0},
    {"name", "message.name", VALUE_STRING, 0},
    {NULL, NULL, 0, 0},
};

static const struct field android_fields[] = {
    {"priority", "message.android.priority", VALUE_PRIORITY, 0},
    {"ttl", "message.android.ttl", VALUE_TTL, 0},
    {"direct_boot_ok", "message.android.direct_boot_ok", VALUE_BOOL, 0},
    {"collapse_key", "message.android.collapse_key", VALUE_STRING, 0},
    {"restricted_package_name", "message.android.restricted_package_name", VALUE_STRING, 0},
    {"bandwidth_constrained_ok", "message.android.bandwidth_constrained_ok", VALUE_BOOL, 0},
    {"restricted_satellite_ok", "message.android.restricted_satellite_ok", VALUE_BOOL, 0},
    {"data", "message.android.data", VALUE_DATA, 0},
    {"notification", "message.android.notification", VALUE_NOTICE, 0},
    {"fcm_options", "message.android.fcm_options", VALUE_OPAQUE, 0},
    {NULL, NULL, 0, 0},
};

/* Where the reader stands; handed to the member callbacks. */
struct reader {
    struct fcm_message *out;
    const struct field *fields; /* of the object being read */
    uint32_t seen;              /* bit per field of it */
    bool has_message;
};

static bool refuse(struct fcm_message *out, const char *field, const char *problem)
{
    if (out->problem == NULL) {
        out->field = field;
        out->problem = problem;
    }
    return false;
}

/* direct_boot_ok == directBootOk: proto3 JSON reads both. */
static bool name_matches(struct text name, const char *snake)
{
    size_t i = 0;

    if (text_is(name, snake))
        return true;
    for (; *snake != '\0' && i < name.len; snake++, i++) {
        char want = *snake;
        if (want == '_')
            want = (char)(*++snake - 'a' + 'A');
        if (name.at[i] != want)
            return false;
    }
    return *snake == '\0' && i == name.len;
}

static bool read_string(struct jscan *scan, struct fcm_message *out, int slot, struct text *text,
                        const char *field)
{
    struct jscan_text string;

    if (!jscan_string(scan, &string))
        return refuse(out, field, "Invalid value, expected a string.");
    if (!jscan_unescape(&string, out->unescaped[slot], FCM_TOKEN_MAX, text))
        return refuse(out, field, "The value is too long.");
    return true;
}

/* ---- data ---- */

struct data_reader {
    struct fcm_message *out;
    size_t keys;
    uint64_t hashes[FCM_DATA_KEYS_MAX]; /* of the keys so far, to find a repeated one */
};

static uint64_t key_hash(struct text key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static bool data_member(struct jscan *scan, const struct jscan_text *name, void *user)
{
    struct data_reader *reader = user;
    struct fcm_message *out = reader->out;
    struct jscan_text value;
    struct text key = name->raw;
    uint64_t hash = key_hash(key);

    if (text_is(key, "from") || text_is(key, "message_type") || text_has_prefix(key, "google.") ||
        text_has_prefix(key, "gcm.notification."))
        return refuse(out, "message.data", "Invalid data payload key: it is reserved.");
    if (key.len != name->len)
        return refuse(out, "message.data", "Invalid data payload key: escapes are not simulated.");
    for (size_t i = 0; i < reader->keys; i++)
        if (reader->hashes[i] == hash)
            return refuse(out, "message.data", "Invalid data payload key: it stands twice.");
    if (reader->keys == FCM_DATA_KEYS_MAX)
        return refuse(out, "message.data", "Invalid data payload: too many keys.");
    reader->hashes[reader->keys++] = hash;
    if (jscan_peek(scan) != '"')
        return refuse(out, "message.data", "Invalid value, data must be a map of strings.");
    if (text_is(key, "alert") && out->alert.at == NULL) {
        const struct jscan before = *scan;
        if (!read_string(scan, out, 1, &out->alert, "message.data"))
            return false;
        *scan = before;
    } else if (text_is(key, "v") && out->version.at == NULL) {
        const struct jscan before = *scan;
        if (!read_string(scan, out, 2, &out->version, "message.data"))
            return false;
        *scan = before;
    }
    if (!jscan_string(scan, &value))
        return refuse(out, "message.data", "Invalid value, data must be a map of strings.");
    out->payload_len += name->len + value.len;
    return true;
}

static bool read_data(struct jscan *scan, struct fcm_message *out, const char *field)
{
    struct data_reader reader;

    reader.out = out;
    reader.keys = 0;
    return jscan_object(scan, data_member, &reader) ||
           refuse(out, field, "Invalid value, data must be a map of strings.");
}

/* ---- notification ---- */

static bool notice_member(struct jscan *scan, const struct jscan_text *name, void *user)
{
    struct fcm_message *out = user;
    struct jscan_text value;

    if (jscan_peek(scan) != '"')
        return jscan_skip(scan);
    if (!jscan_string(scan, &value))
        return false;
    out->payload_len += name->len + value.len;
    return true;
}

/* ---- android ---- */

/* Duration: "N[.fraction]s", 0 to four weeks. */
static bool ttl_is_valid(struct text ttl)
{
    int64_t seconds = 0;
    size_t i = 0, digits = 0;

    for (; i < ttl.len && ttl.at[i] >= '0' && ttl.at[i] <= '9' && i < 8; i++)
        seconds = seconds * 10 + (ttl.at[i] - '0');
    if (i == 0)
        return false;
    if (i < ttl.len && ttl.at[i] == '.') {
        for (i++; i < ttl.len && ttl.at[i] >= '0' && ttl.at[i] <= '9'; i++)
            digits++;
        if (digits == 0 || digits > 9)
            return false;
    }
    return i + 1 == ttl.len && ttl.at[i] == 's' && seconds <= 2419200;
}

static bool priority_is_valid(struct text priority)
{
    return text_is(priority, "HIGH") || text_is(priority, "NORMAL") || text_is(priority, "high") ||
           text_is(priority, "normal");
}

/* ---- address ---- */

static bool address_is_valid(enum fcm_target target, struct text address)
{
    static const char *const marks[] = {
        [FCM_TARGET_TOKEN] = "_-:.", [FCM_TARGET_FID] = "_-:.", [FCM_TARGET_TOPIC] = "_-.~%"};

    if (address.len == 0)
        return false;
    if (target == FCM_TARGET_CONDITION)
        return true;
    for (size_t i = 0; i < address.len; i++) {
        char c = address.at[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') &&
            (c == '\0' || strchr(marks[target], c) == NULL))
            return false;
    }
    return true;
}

static bool read_address(struct jscan *scan, struct fcm_message *out, const struct field *field)
{
    if (out->target != FCM_TARGET_NONE)
        return refuse(out, "message", "Exactly one of token, fid, topic, condition is required.");
    if (!read_string(scan, out, 0, &out->address, field->path))
        return false;
    out->target = field->target;
    if (!address_is_valid(out->target, out->address))
        return refuse(out, field->path,
                      out->target == FCM_TARGET_TOPIC
                          ? "Malformed topic name"
                          : "The registration token is not a valid FCM registration token");
    return true;
}

/* ---- objects with known fields ---- */

static bool known_member(struct jscan *scan, const struct jscan_text *name, void *user);

static bool read_known(struct jscan *scan, struct reader *parent, const struct field *fields,
                       const char *path)
{
    struct reader reader = {.out = parent->out, .fields = fields};

    return jscan_object(scan, known_member, &reader) ||
           refuse(parent->out, path, "Invalid JSON payload received.");
}

static bool read_value(struct jscan *scan, struct reader *reader, const struct field *field)
{
    struct fcm_message *out = reader->out;
    struct jscan_text string;
    bool flag;

    switch (field->kind) {
    case VALUE_STRING:
        return jscan_string(scan, &string);
    case VALUE_BOOL:
        return jscan_bool(scan, &flag);
    case VALUE_OPAQUE:
        return jscan_peek(scan) == '{' && jscan_skip(scan);
    case VALUE_DATA:
        return read_data(scan, out, field->path);
    case VALUE_NOTICE:
        return jscan_object(scan, notice_member, out);
    case VALUE_ADDRESS:
        return read_address(scan, out, field);
    case VALUE_ANDROID:
        return read_known(scan, reader, android_fields, field->path);
    case VALUE_MESSAGE:
        reader->has_message = true;
        return read_known(scan, reader, message_fields, field->path);
    case VALUE_PRIORITY:
        return jscan_string(scan, &string) && priority_is_valid(string.raw);
    case VALUE_TTL:
        return jscan_string(scan, &string) && ttl_is_valid(string.raw);
    case VALUE_VALIDATE:
        return jscan_bool(scan, &out->validate_only);
    }
    return false;
}

static bool known_member(struct jscan *scan, const struct jscan_text *name, void *user)
{
    struct reader *reader = user;

    for (size_t i = 0; reader->fields[i].name != NULL; i++) {
        const struct field *field = &reader->fields[i];
        if (!name_matches(name->raw, field->name))
            continue;
        if ((reader->seen & UINT32_C(1) << i) != 0)
            return refuse(reader->out, field->path,
                          "Invalid JSON payload: the field stands twice.");
        reader->seen |= UINT32_C(1) << i;
        return read_value(scan, reader, field) ||
               refuse(reader->out, field->path, "Invalid value.");
    }
    return refuse(reader->out, NULL, "Invalid JSON payload received. Unknown name.");
}

bool fcm_message_read(const char *body, size_t len, struct fcm_message *out)
{
    struct jscan scan;
    struct reader reader = {.out = out, .fields = request_fields};

    memset(out, 0, offsetof(struct fcm_message, unescaped));
    jscan_init(&scan, body, len);
    if (!jscan_object(&scan, known_member, &reader) || !jscan_end(&scan))
        return refuse(out, NULL, "Invalid JSON payload received.");
    if (!reader.has_message)
        return refuse(out, "message", "The message is required.");
    if (out->target == FCM_TARGET_NONE)
        return refuse(out, "message", "Exactly one of token, fid, topic, condition is required.");
    if (out->payload_len > (out->target == FCM_TARGET_TOKEN || out->target == FCM_TARGET_FID
                                ? FCM_PAYLOAD_MAX
                                : FCM_TOPIC_PAYLOAD_MAX)) {
        out->too_big = true;
        return refuse(out, NULL, "Message is too big");
    }
    return true;
}
