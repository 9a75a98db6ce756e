/* FCM HTTP v1: one POST per message, judged in the order in which Google's front-ends do it: path,
 * credential, form, then the state of the registration. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/service.h"

#define SEND_PATH "/v1/projects/" SIM_PROJECT "/messages:send"

/* Appends to the body; an overlong one is cut, which the sizes of the tables exclude. */
static void body_printf(struct answer *answer, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void body_printf(struct answer *answer, const char *format, ...)
{
    size_t left = sizeof(answer->body) - answer->body_len;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(answer->body + answer->body_len, left, format, args);
    va_end(args);
    answer->body_len += (size_t)len < left ? (size_t)len : left - 1;
}

static void write_details(struct answer *answer, const struct reason *reason, const char *field,
                          const char *message)
{
    body_printf(answer,
                ",\n    \"details\": [\n      {\n        \"@type\": "
                "\"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\n"
                "        \"errorCode\": \"%s\"\n      }",
                reason->word);
    if (field != NULL)
        body_printf(
            answer,
            ",\n      {\n        \"@type\": \"type.googleapis.com/google.rpc.BadRequest\",\n"
            "        \"fieldViolations\": [\n          {\n            \"field\": \"%s\",\n"
            "            \"description\": \"%s\"\n          }\n        ]\n      }",
            field, message);
    if (strcmp(reason->word, "QUOTA_EXCEEDED") == 0) {
        body_printf(
            answer,
            ",\n      {\n        \"@type\": \"type.googleapis.com/google.rpc.QuotaFailure\","
            "\n        \"violations\": [\n          {\n            \"subject\": "
            "\"project:" SIM_PROJECT "\",\n            \"description\": "
            "\"Message send rate exceeded\"\n          }\n        ]\n      }");
        if (answer->retry_after_s >= 0)
            body_printf(answer,
                        ",\n      {\n        \"@type\": "
                        "\"type.googleapis.com/google.rpc.RetryInfo\",\n"
                        "        \"retryDelay\": \"%" PRId64 "s\"\n      }",
                        answer->retry_after_s);
    }
    body_printf(answer, "\n    ]");
}

void fcm_refuse(struct answer *answer, const struct reason *reason, const char *field,
                const char *message, const struct fault_action *action)
{
    bool has_details = strcmp(reason->word, "UNAUTHENTICATED") != 0 &&
                       strcmp(reason->word, "PERMISSION_DENIED") != 0 &&
                       (strcmp(reason->word, "INVALID_ARGUMENT") != 0 || field != NULL);

    if (message == NULL)
        message = reason->message;
    answer->status = action != NULL ? action->status : reason->status;
    answer->retry_after_s = action != NULL ? action->retry_after_s : -1;
    answer->type = ANSWER_JSON;
    answer->body_len = 0;
    body_printf(answer,
                "{\n  \"error\": {\n    \"code\": %d,\n    \"message\": \"%s\",\n"
                "    \"status\": \"%s\"",
                answer->status, message, reason->grpc);
    if (has_details)
        write_details(answer, reason, field, message);
    body_printf(answer, "\n  }\n}\n");
}

void html_refuse(struct answer *answer, int status)
{
    answer->status = status;
    answer->type = ANSWER_HTML;
    answer->body_len = 0;
    body_printf(answer,
                "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n"
                "  <title>Error %d (Server Error)!!1</title>\n"
                "  <p><b>%d.</b> <ins>That's an error.</ins>\n"
                "  <p>The server encountered a temporary error. <ins>That's all we know.</ins>\n",
                status, status);
}

static void refuse(struct judgement *out, struct answer *answer, const char *word,
                   const char *field, const char *message)
{
    out->refused = reason_find(SIM_FCM, word)->word;
    fcm_refuse(answer, reason_find(SIM_FCM, word), field, message, NULL);
}

static bool scheme_is_bearer(struct text header)
{
    return header.len > 7 && g_ascii_strncasecmp(header.at, "bearer ", 7) == 0;
}

struct credential *fcm_find_bearer(struct service *service, struct peer *peer, struct text header,
                                   int64_t now_s)
{
    struct credential *credential;
    struct text token;

    if (header.at == NULL || !scheme_is_bearer(header))
        return NULL;
    token = (struct text){header.at + 7, header.len - 7};
    if (peer->credential != NULL &&
        text_equal(token, (struct text){peer->credential->bytes, peer->credential->len}))
        credential = peer->credential;
    else
        credential = credentials_find_bearer(service->credentials, token);
    if (credential == NULL || credential->not_after_s <= now_s)
        return NULL;
    peer->credential = credential;
    return credential;
}

static bool path_is_right(const struct request *request, struct judgement *out,
                          struct answer *answer)
{
    struct text path = request->header[HEADER_PATH];

    if (text_is(request->header[HEADER_METHOD], "POST") && text_is(path, SEND_PATH))
        return true;
    if (text_has_prefix(path, "/v1/projects/") && path.len > strlen("/messages:send") &&
        strncmp(path.at + path.len - strlen("/messages:send"), "/messages:send",
                strlen("/messages:send")) == 0 &&
        !text_is(path, SEND_PATH)) {
        refuse(out, answer, "PERMISSION_DENIED", NULL, NULL); /* somebody else's project */
        return false;
    }
    out->refused = "NOT_FOUND";
    html_refuse(answer, 404);
    return false;
}

static bool content_is_json(struct text type)
{
    return type.len >= 16 && g_ascii_strncasecmp(type.at, "application/json", 16) == 0 &&
           (type.len == 16 || type.at[16] == ';' || type.at[16] == ' ');
}

/* State of the registration, by the beginning of its name. */
static bool registration_is_live(const struct fcm_message *message, struct judgement *out,
                                 struct answer *answer)
{
    if (message->target != FCM_TARGET_TOKEN && message->target != FCM_TARGET_FID)
        return true;
    if (text_has_prefix(message->address, "dead-"))
        refuse(out, answer, "UNREGISTERED", NULL, NULL);
    else if (text_has_prefix(message->address, "other-"))
        refuse(out, answer, "SENDER_ID_MISMATCH", NULL, NULL);
    else
        return true;
    return false;
}

static void accept(struct service *service, const struct fcm_message *message,
                   struct answer *answer)
{
    answer->status = 200;
    answer->type = ANSWER_JSON;
    answer->body_len = 0;
    if (message->validate_only)
        body_printf(answer,
                    "{\n  \"name\": \"projects/" SIM_PROJECT "/messages/fake_message_id\"\n}\n");
    else
        body_printf(answer, "{\n  \"name\": \"projects/" SIM_PROJECT "/messages/%" PRIu64 "\"\n}\n",
                    ++service->message_id);
}

static void commit_topic(struct service *service, const struct request *request)
{
    const struct fcm_message *message = &service->fcm_message;

    (void)request;
    topics_publish(service->topics, message->address, message->alert, message->version);
}

void fcm_judge(struct service *service, struct peer *peer, const struct request *request,
               int64_t now_s, struct judgement *out, struct answer *answer)
{
    struct fcm_message *message = &service->fcm_message;

    if (registration_judge(service, peer, request, now_s, out, answer) ||
        !path_is_right(request, out, answer))
        return;
    if (request->headers_too_big || request->duplicate_header) {
        refuse(out, answer, "INVALID_ARGUMENT", NULL, "Request headers are malformed.");
        return;
    }
    out->credential = fcm_find_bearer(service, peer, request->header[HEADER_AUTHORIZATION], now_s);
    if (out->credential == NULL) {
        refuse(out, answer, "UNAUTHENTICATED", NULL, NULL);
        return;
    }
    if (!content_is_json(request->header[HEADER_CONTENT_TYPE]) || request->body_too_big) {
        refuse(out, answer, "INVALID_ARGUMENT", NULL,
               request->body_too_big ? "Request payload size exceeds the limit."
                                     : "Invalid JSON payload received. Unknown content type.");
        return;
    }
    if (!fcm_message_read(request->body.at, request->body.len, message)) {
        refuse(out, answer, "INVALID_ARGUMENT", message->field, message->problem);
    } else {
        out->sound = true;
        out->validate_only = message->validate_only;
        if (registration_is_live(message, out, answer))
            accept(service, message, answer);
        if (message->target == FCM_TARGET_TOPIC)
            out->commit = commit_topic;
    }
    out->token = message->address;
    out->alert = message->alert;
    out->version = message->version;
}
