/* The message to a topic is the one of fcm/payload.c with "topic" in place of the registration, and
 * half its size. Answers are read strictly: a list of another length says nothing about anybody. */
#include "fcm/topic.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "fcm/payload.h"

#define ANSWER_MAX (64 * 1024)

char *fcm_topic_name(const char *realm, const char *commune)
{
    bool live = strcmp(realm, "live") == 0;

    return g_strconcat("loa-", live ? "" : realm, live ? "" : "-",
                       commune[0] != '\0' ? "area-" : "all", commune, NULL);
}

/* ---- the message ---- */

size_t fcm_topic_size(const struct message *message)
{
    g_autoptr(json_t) data = message_to_json(message, NULL);

    return fcm_data_size(data);
}

static void append_length(GString *out, const char *name, const char *text)
{
    if (text[0] != '\0')
        g_string_append_printf(out, "%s%s %zu", out->len > 0 ? ", " : "", name, strlen(text));
}

bool fcm_topic_fits(const struct message *m, GError **error)
{
    size_t size = fcm_topic_size(m);
    size_t over = size > FCM_TOPIC_PAYLOAD_MAX ? size - FCM_TOPIC_PAYLOAD_MAX : 0;
    g_autoptr(GString) lengths = g_string_new(NULL);
    g_autoptr(GString) help = g_string_new(NULL);

    if (over == 0)
        return true;
    append_length(lengths, "title", m->title);
    append_length(lengths, "body", m->body);
    append_length(lengths, "instruction", m->instruction);
    append_length(lengths, "areas", m->areas);
    append_length(lengths, "url", m->url);
    append_length(lengths, "source", m->source_document);
    g_string_append_printf(
        help,
        "shorten title, body and instruction by %zu bytes together (a Vietnamese "
        "letter has 1 to 3) and release that text anew",
        over);
    if (strlen(m->areas) >= over + strlen("toan_tinh"))
        g_string_append(help, "\nor release it for the whole province: its list of communes alone "
                              "is too long");
    if (strlen(m->url) + strlen(m->source_document) >= over)
        g_string_append(help, "\nor leave out url and source document");
    g_set_error(
        error, LOA_ERROR, LOA_ERROR_INVALID,
        "the text \"%s\" is %zu bytes as a message to a topic, %zu more than the %d that FCM "
        "takes there (%s)\nwhat helps: %s",
        m->language, size, over, FCM_TOPIC_PAYLOAD_MAX, lengths->str, help->str);
    return false;
}

char *fcm_topic_body(const struct message *message, const char *topic, int64_t now_s,
                     bool validate_only, GError **error)
{
    g_autoptr(json_t) body = NULL;
    char *dumped, *text;

    if (!fcm_topic_fits(message, error))
        return NULL;
    body = json_pack("{s:b, s:{s:s, s:o, s:o}}", "validate_only", validate_only, "message", "topic",
                     topic, "android", fcm_android_config(message, now_s), "data",
                     message_to_json(message, NULL));
    dumped = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (dumped == NULL) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, "the message is not valid UTF-8");
        return NULL;
    }
    text = g_strdup(dumped);
    free(dumped);
    return text;
}

/* ---- subscriptions ---- */

char *fcm_topic_batch_body(const char *topic, const char *const *tokens, size_t n)
{
    g_autoptr(json_t) body = json_object();
    json_t *list = json_array();
    char *dumped, *text;

    json_object_set_new(body, "to", json_sprintf("/topics/%s", topic));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(tokens[i]));
    json_object_set_new(body, "registration_tokens", list);
    dumped = json_dumps(body, JSON_COMPACT);
    text = g_strdup(dumped);
    free(dumped);
    return text;
}

static struct fcm_topic_answer answer_of(const char *word)
{
    static const struct fcm_topic_answer known[] = {
        {FCM_TOPIC_DEAD, "NOT_FOUND"},
        {FCM_TOPIC_DEAD, "INVALID_ARGUMENT"},
        {FCM_TOPIC_DEAD, "UNREGISTERED"},
        {FCM_TOPIC_REFUSED, "TOO_MANY_TOPICS"},
        {FCM_TOPIC_REFUSED, "PERMISSION_DENIED"},
        {FCM_TOPIC_REFUSED, "SENDER_ID_MISMATCH"},
        {FCM_TOPIC_AGAIN, "RESOURCE_EXHAUSTED"},
        {FCM_TOPIC_AGAIN, "QUOTA_EXCEEDED"},
        {FCM_TOPIC_AGAIN, "DEADLINE_EXCEEDED"},
        {FCM_TOPIC_AGAIN, "UNAVAILABLE"},
        {FCM_TOPIC_AGAIN, "INTERNAL"},
        {FCM_TOPIC_AGAIN, "UNKNOWN"},
    };

    for (size_t i = 0; word != NULL && i < G_N_ELEMENTS(known); i++)
        if (strcmp(known[i].reason, word) == 0)
            return known[i];
    return (struct fcm_topic_answer){FCM_TOPIC_REFUSED, "undocumented answer"};
}

bool fcm_topic_batch_read(const char *body, size_t len, size_t n, struct fcm_topic_answer *out)
{
    g_autoptr(json_t) object = json_parse_object(body, len, ANSWER_MAX, NULL);
    const json_t *results = json_object_get(object, "results");

    if (!json_is_array(results) || json_array_size(results) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!json_is_object(json_array_get(results, i)))
            return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *fault = json_object_get(json_array_get(results, i), "error");
        out[i] = fault == NULL ? (struct fcm_topic_answer){FCM_TOPIC_DONE, ""}
                               : answer_of(json_string_value(fault));
    }
    return true;
}

/* The word in {"error":{"status":…,"details":[{"errorCode":…}]}}; NULL when it is not of this form.
 */
static const char *error_word(const json_t *object)
{
    const json_t *error = json_object_get(object, "error");
    const json_t *details = json_object_get(error, "details");

    for (size_t i = 0; i < json_array_size(details); i++) {
        const char *code =
            json_string_value(json_object_get(json_array_get(details, i), "errorCode"));
        if (code != NULL)
            return code;
    }
    return json_string_value(json_object_get(error, "status"));
}

struct fcm_topic_answer fcm_topic_single_read(enum fcm_topic_op op, long status, const char *body,
                                              size_t len)
{
    g_autoptr(json_t) object = NULL;
    const char *word;

    if (status == 200 || (status == 409 && op == FCM_TOPIC_ADD))
        return (struct fcm_topic_answer){FCM_TOPIC_DONE, ""};
    if (status == 401 || status == 408 || status == 429 || status >= 500)
        return (struct fcm_topic_answer){FCM_TOPIC_AGAIN, status == 429   ? "RESOURCE_EXHAUSTED"
                                                          : status == 401 ? "UNAUTHENTICATED"
                                                                          : "UNAVAILABLE"};
    object = json_parse_object(body, len, ANSWER_MAX, NULL);
    word = error_word(object);
    /* A page instead of JSON speaks of our path, not of the registration. */
    if (status == 404 && word != NULL && op == FCM_TOPIC_REMOVE)
        return (struct fcm_topic_answer){FCM_TOPIC_DONE, ""};
    return answer_of(word);
}
