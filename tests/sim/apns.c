/* APNs provider API with token authentication: path, provider token, headers, payload, device. */
#include <inttypes.h>
#include <stdio.h>

#include "base/crypto.h"
#include "tests/sim/service.h"

#define DEVICE_PATH         "/3/device/"
#define DEVICE_TOKEN_MAX    400 /* hex digits; Apple says: do not assume a length */
#define TOKEN_UPDATE_MIN_US (20 * 60 * USEC_PER_SEC)

void apns_refuse(struct answer *answer, const struct reason *reason, int64_t timestamp_ms)
{
    int len;

    answer->status = reason->status;
    answer->type = ANSWER_JSON;
    if (timestamp_ms > 0)
        len = snprintf(answer->body, sizeof(answer->body),
                       "{\"reason\":\"%s\",\"timestamp\":%" PRId64 "}", reason->word, timestamp_ms);
    else
        len = snprintf(answer->body, sizeof(answer->body), "{\"reason\":\"%s\"}", reason->word);
    answer->body_len = (size_t)len;
}

static bool refuse(struct judgement *out, struct answer *answer, const char *word)
{
    const struct reason *reason = reason_find(SIM_APNS, word);

    out->refused = reason->word;
    apns_refuse(answer, reason, 0);
    return false;
}

/* ---- apns-id ---- */

static bool uuid_is_valid(struct text id)
{
    if (id.len != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id.at[i] != '-' : !g_ascii_isxdigit(id.at[i]))
            return false;
    }
    return true;
}

/* A canonical id: the request's, or one of the server's making. */
static void set_apns_id(struct answer *answer, struct text id)
{
    uint8_t r[16];

    if (uuid_is_valid(id)) {
        for (size_t i = 0; i < UUID_TEXT_LEN; i++)
            answer->apns_id[i] = g_ascii_tolower(id.at[i]);
        answer->apns_id[UUID_TEXT_LEN] = '\0';
        return;
    }
    crypto_random(r, sizeof(r));
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    snprintf(answer->apns_id, sizeof(answer->apns_id),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
             r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
             r[15]);
}

/* ---- provider token ---- */

/* Remembers which token the connection uses. A second change within 20 minutes is one too many. */
static bool note_update(struct peer *peer, struct credential *credential, int64_t mono_us)
{
    if (peer->credential == credential)
        return true;
    if (peer->credential != NULL) {
        if (peer->updated_us != 0 && mono_us - peer->updated_us < TOKEN_UPDATE_MIN_US)
            return false;
        peer->updated_us = mono_us;
    }
    peer->credential = credential;
    return true;
}

static bool check_provider_token(struct service *service, struct peer *peer,
                                 const struct request *request, int64_t now_s,
                                 struct judgement *out, struct answer *answer)
{
    struct text header = request->header[HEADER_AUTHORIZATION], token;
    struct credential *credential;

    if (header.at == NULL || header.len <= 7 || g_ascii_strncasecmp(header.at, "bearer ", 7) != 0)
        return refuse(out, answer, "MissingProviderToken");
    token = (struct text){header.at + 7, header.len - 7};
    if (peer->credential != NULL &&
        text_equal(token, (struct text){peer->credential->bytes, peer->credential->len}))
        credential = peer->credential;
    else
        credential = credentials_find_apns(service->credentials, token, now_s);
    if (credential == NULL)
        return refuse(out, answer, "InvalidProviderToken");
    /* "There's no way to recover" a connection that has shown an expired token. */
    if (peer->wedged || credential->not_after_s <= now_s) {
        peer->wedged = true;
        return refuse(out, answer, "ExpiredProviderToken");
    }
    if (!note_update(peer, credential, service->clock->mono_us(service->clock)))
        return refuse(out, answer, "TooManyProviderTokenUpdates");
    out->credential = credential;
    if (!peer->proven) {
        peer->proven = true;
        answer->max_streams = APNS_STREAMS;
    }
    return true;
}

/* ---- headers ---- */

static bool is_decimal(struct text number, size_t digits_max)
{
    for (size_t i = 0; i < number.len; i++)
        if (number.at[i] < '0' || number.at[i] > '9')
            return false;
    return number.len > 0 && number.len <= digits_max;
}

static bool push_type_is_known(struct text type)
{
    static const char *const types[] = {"alert",        "background",   "controls", "complication",
                                        "fileprovider", "liveactivity", "location", "mdm",
                                        "pushtotalk",   "voip",         "widgets"};

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        if (text_is(type, types[i]))
            return true;
    return false;
}

static bool check_headers(const struct request *request, struct judgement *out,
                          struct answer *answer)
{
    const struct text *h = request->header;
    struct text priority = h[HEADER_APNS_PRIORITY];

    if (request->duplicate_header)
        return refuse(out, answer, "DuplicateHeaders");
    if (h[HEADER_APNS_ID].at != NULL && !uuid_is_valid(h[HEADER_APNS_ID]))
        return refuse(out, answer, "BadMessageId");
    if (h[HEADER_APNS_EXPIRATION].at != NULL && !is_decimal(h[HEADER_APNS_EXPIRATION], 12))
        return refuse(out, answer, "BadExpirationDate");
    if (priority.at != NULL && !text_is(priority, "10") && !text_is(priority, "5") &&
        !text_is(priority, "1"))
        return refuse(out, answer, "BadPriority");
    if (h[HEADER_APNS_PUSH_TYPE].at == NULL || !push_type_is_known(h[HEADER_APNS_PUSH_TYPE]))
        return refuse(out, answer, "InvalidPushType");
    if (text_is(h[HEADER_APNS_PUSH_TYPE], "background") && !text_is(priority, "5"))
        return refuse(out, answer, "BadPriority");
    if (h[HEADER_APNS_COLLAPSE_ID].len > 64)
        return refuse(out, answer, "BadCollapseId");
    if (h[HEADER_APNS_TOPIC].at == NULL)
        return refuse(out, answer, "MissingTopic");
    if (h[HEADER_APNS_TOPIC].len == 0)
        return refuse(out, answer, "BadTopic");
    if (!text_is(h[HEADER_APNS_TOPIC], SIM_APNS_TOPIC))
        return refuse(out, answer, "TopicDisallowed");
    return true;
}

static bool check_path(const struct request *request, struct text *out_device,
                       struct judgement *out, struct answer *answer)
{
    struct text path = request->header[HEADER_PATH];

    if (!text_is(request->header[HEADER_METHOD], "POST"))
        return refuse(out, answer, "MethodNotAllowed");
    if (request->headers_too_big || !text_has_prefix(path, DEVICE_PATH))
        return refuse(out, answer, "BadPath");
    *out_device = (struct text){path.at + strlen(DEVICE_PATH), path.len - strlen(DEVICE_PATH)};
    return out_device->len > 0 || refuse(out, answer, "MissingDeviceToken");
}

/* Hex of whole bytes. */
static bool device_is_hex(struct text device)
{
    if (device.len % 2 != 0 || device.len > DEVICE_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < device.len; i++)
        if (!g_ascii_isxdigit(device.at[i]))
            return false;
    return true;
}

/* Tokens of the sandbox begin with 5a (or, not hex, "sandbox-"), retired ones with dead. */
static bool check_device(const struct peer *peer, struct text device, int64_t now_s,
                         struct judgement *out, struct answer *answer)
{
    bool named = text_has_prefix(device, "sandbox-");
    bool sandbox = named || text_has_prefix(device, "5a") || text_has_prefix(device, "5A");

    if ((!named && !device_is_hex(device)) || sandbox != peer->sandbox)
        return refuse(out, answer, "BadDeviceToken");
    if (text_has_prefix(device, "dead")) {
        refuse(out, answer, "Unregistered");
        apns_refuse(answer, reason_find(SIM_APNS, "Unregistered"), now_s * 1000);
        return false;
    }
    return true;
}

static bool check_payload(const struct request *request, struct apns_payload *payload,
                          struct judgement *out, struct answer *answer)
{
    if (request->body.len == 0)
        return refuse(out, answer, "PayloadEmpty");
    if (request->body_too_big || request->body.len > APNS_PAYLOAD_MAX)
        return refuse(out, answer, "PayloadTooLarge");
    /* Apple documents no reason for a body that is not JSON or has no aps. */
    if (!apns_payload_read(request->body.at, request->body.len, payload))
        return refuse(out, answer, "PayloadEmpty");
    return true;
}

void apns_judge(struct service *service, struct peer *peer, const struct request *request,
                int64_t now_s, struct judgement *out, struct answer *answer)
{
    struct apns_payload *payload = &service->apns_payload;
    struct text device;

    set_apns_id(answer, request->header[HEADER_APNS_ID]);
    if (!check_path(request, &device, out, answer))
        return;
    out->token = device;
    if (!check_provider_token(service, peer, request, now_s, out, answer) ||
        !check_headers(request, out, answer) || !check_payload(request, payload, out, answer))
        return;
    out->alert = payload->alert;
    out->version = payload->version;
    out->sound = true;
    (void)check_device(peer, device, now_s, out, answer);
}
