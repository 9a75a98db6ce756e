/* The body is {"message":{"token":"  …token…  ","android":{…},"data":{…}}}: the middle piece is the
 * engine's own string, so a device costs no copy and no formatting. */
#include "fcm/payload.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define TTL_MAX_S 2419200 /* four weeks */

struct channel_payload {
    size_t size;
    size_t tail_len;
    char *tail; /* from the quote that ends the token */
};

size_t fcm_data_size(void *data)
{
    size_t size = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)data, key, value) size += strlen(key) + json_string_length(value);
    return size;
}

void *fcm_android_config(const struct message *message, int64_t now_s)
{
    int64_t ttl_s = message->store ? CLAMP(message->expires_s - now_s, 0, TTL_MAX_S) : 0;
    g_autofree char *ttl = g_strdup_printf("%" PRId64 "s", ttl_s);

    return json_pack("{s:s, s:s, s:b}", "priority", message->silent ? "NORMAL" : "HIGH", "ttl", ttl,
                     "direct_boot_ok", 1);
}

/* For a phone behind APNs: now or never, and nothing stored there is displaced. NULL: nothing to
 * say. */
static json_t *apns_config(const struct message *message)
{
    return message->store ? NULL : json_pack("{s:{s:s}}", "headers", "apns-expiration", "0");
}

/* Steals all three; apns may be NULL. */
static struct channel_payload *payload_new(json_t *android, json_t *apns, json_t *data, size_t size)
{
    g_autoptr(json_t) rest =
        json_pack("{s:o, s:o*, s:o}", "android", android, "apns", apns, "data", data);
    char *text = rest != NULL ? json_dumps(rest, JSON_COMPACT) : NULL;
    struct channel_payload *payload;

    if (text == NULL)
        return NULL;
    payload = g_new0(struct channel_payload, 1);
    payload->size = size;
    payload->tail = g_strconcat("\",", text + 1, "}", NULL); /* without its opening brace */
    payload->tail_len = strlen(payload->tail);
    free(text);
    return payload;
}

struct channel_payload *fcm_payload_render(const struct message *message, int64_t now_s,
                                           GError **error)
{
    json_t *data = message_to_json(message, NULL);
    size_t size = fcm_data_size(data);
    struct channel_payload *payload;

    if (size > FCM_PAYLOAD_MAX) {
        json_decref(data);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "the message is %zu bytes for FCM; at most %d fit", size, FCM_PAYLOAD_MAX);
        return NULL;
    }
    payload = payload_new(fcm_android_config(message, now_s), apns_config(message), data, size);
    if (payload == NULL)
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, "the message is not valid UTF-8");
    return payload;
}

void fcm_payload_free(struct channel_payload *payload)
{
    if (payload == NULL)
        return;
    g_free(payload->tail);
    g_free(payload);
}

size_t fcm_payload_size(const struct channel_payload *payload)
{
    return payload->size;
}

bool fcm_token_is_plain(const char *token)
{
    const char *at = token;

    while (g_ascii_isgraph(*at) && *at != '"' && *at != '\\')
        at++;
    return *at == '\0' && at > token && at - token <= FCM_TOKEN_MAX;
}

void fcm_payload_body(const struct channel_payload *payload, const char *token, bool is_fid,
                      bool validate_only, struct h2_piece out[H2_PIECES_MAX])
{
    static const char *const heads[2][2] = {
        {"{\"message\":{\"token\":\"", "{\"message\":{\"fid\":\""},
        {"{\"validate_only\":true,\"message\":{\"token\":\"",
         "{\"validate_only\":true,\"message\":{\"fid\":\""},
    };
    const char *head = heads[validate_only][is_fid];

    out[0] = (struct h2_piece){head, strlen(head)};
    out[1] = (struct h2_piece){token, strlen(token)};
    out[2] = (struct h2_piece){payload->tail, payload->tail_len};
}
