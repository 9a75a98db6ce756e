#include "apns/payload.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

/* How loud a message is on the phone. */
static const char *interruption_level(const struct message *message, const struct apns_style *style)
{
    if (message_is_emergency(message))
        return style->critical_alerts ? "critical" : style->fallback_level;
    if (message->silent)
        return "passive";
    /* Exercises are urgent but never critical: the entitlement is for emergencies. */
    if (strcmp(message->level, "uu_tien") == 0 || strcmp(message->level, "khan_cap") == 0)
        return "time-sensitive";
    return "active";
}

/* A critical alert sounds although the phone is muted. NULL: no sound. */
static json_t *sound_of(const char *level)
{
    if (strcmp(level, "critical") == 0)
        return json_pack("{s:i, s:s, s:f}", "critical", 1, "name", "default", "volume", 1.0);
    return strcmp(level, "passive") == 0 ? NULL : json_string("default");
}

static json_t *aps_of(const struct message *message, const char *level)
{
    g_autofree char *joined = *message->instruction != '\0'
                                  ? g_strconcat(message->body, "\n", message->instruction, NULL)
                                  : g_strdup(message->body);
    json_t *sound = sound_of(level);
    json_t *aps = json_pack("{s:{s:s, s:s}, s:i, s:s}", "alert", "title", message->title, "body",
                            joined, "mutable-content", 1, "interruption-level", level);

    if (sound != NULL)
        json_object_set_new(aps, "sound", sound);
    return aps;
}

/* The text stands only in aps, where iOS shows it from; "cut" lets the app take it apart again. */
static char *body_of(const struct message *message, const char *level)
{
    static const char *const shown[] = {"title", "body", "instruction", NULL};
    g_autoptr(json_t) body = message_to_json(message, shown);

    if (json_object_set_new(body, "aps", aps_of(message, level)) != 0)
        return NULL;
    if (*message->instruction != '\0')
        json_object_set_new(body, "cut", json_integer((json_int_t)strlen(message->body)));
    return json_dumps(body, JSON_COMPACT);
}

static struct h2_header payload_header(const char *name, const char *value)
{
    return (struct h2_header){.name = name,
                              .name_len = (uint16_t)strlen(name),
                              .value = value,
                              .value_len = (uint16_t)strlen(value),
                              .index = H2_INDEX};
}

struct channel_payload *apns_payload_render(const struct message *message,
                                            const struct apns_style *style, GError **error)
{
    const char *level = interruption_level(message, style);
    char *body = body_of(message, level);
    size_t len = body != NULL ? strlen(body) : 0;
    struct channel_payload *payload;

    assert(strlen(message->alert_id) < sizeof(payload->collapse_id));
    if (body == NULL) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, "the message is not valid UTF-8");
        return NULL;
    }
    if (len > APNS_PAYLOAD_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "the message is %zu bytes for APNs; at most %d fit", len, APNS_PAYLOAD_MAX);
        free(body);
        return NULL;
    }
    payload = g_new0(struct channel_payload, 1);
    payload->body = body;
    payload->body_len = len;
    payload->priority = strcmp(level, "passive") == 0 ? "5" : "10";
    g_snprintf(payload->expiration, sizeof(payload->expiration), "%" PRId64,
               message->store ? message->expires_s : INT64_C(0));
    g_strlcpy(payload->collapse_id, message->alert_id, sizeof(payload->collapse_id));
    payload->headers[0] = payload_header("apns-priority", payload->priority);
    payload->headers[1] = payload_header("apns-expiration", payload->expiration);
    payload->headers[2] = payload_header("apns-collapse-id", payload->collapse_id);
    return payload;
}

void apns_payload_free(struct channel_payload *payload)
{
    if (payload == NULL)
        return;
    free(payload->body);
    g_free(payload);
}

size_t apns_token_length(const char *token)
{
    const char *at = token;

    while (g_ascii_isalnum(*at) || *at == '-' || *at == '_')
        at++;
    return *at == '\0' && at - token <= APNS_TOKEN_MAX ? (size_t)(at - token) : 0;
}
