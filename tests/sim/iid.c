/* Subscription management: the Instance ID service's batches (its own port) and the FCM API that
 * takes one registration a call (FCM's port). A registration's name says what becomes of it, as for
 * messages. Nothing changes before the faults have been asked: that is what commit is for. */
#include <stdio.h>

#include "tests/sim/service.h"

#define BATCH_MAX          1000
#define REGISTRATIONS_PATH "/v1/projects/" SIM_PROJECT "/registrations/"
#define SUBSCRIPTIONS      "/topicSubscriptions"

/* ---- answers ---- */

static void write_json(struct answer *answer, int status, const char *text)
{
    g_clear_pointer(&answer->long_body, g_free);
    answer->status = status;
    answer->type = ANSWER_JSON;
    answer->body_len = strlen(text);
    if (answer->body_len <= sizeof(answer->body))
        memcpy(answer->body, text, answer->body_len);
    else
        answer->long_body = g_strdup(text);
}

void iid_refuse(struct answer *answer, const struct reason *reason)
{
    g_autofree char *text = g_strdup_printf("{\"error\":\"%s\"}", reason->word);

    write_json(answer, reason->status, text);
}

static void refuse(struct judgement *out, struct answer *answer, const char *word)
{
    out->refused = reason_find(SIM_IID, word)->word;
    iid_refuse(answer, reason_find(SIM_IID, word));
}

/* ---- batches ---- */

/* A batch as it was read; the strings are borrowed from body. */
struct batch {
    json_t *body;
    const char *topic;
    const json_t *registrations;
};

/* out->body is owned also when it is none. */
static bool batch_read(const struct request *request, struct batch *out)
{
    static const char prefix[] = "/topics/";
    const char *to;

    out->body = json_parse_object(request->body.at, request->body.len, IID_BODY_MAX, NULL);
    to = json_string_value(json_object_get(out->body, "to"));
    out->registrations = json_object_get(out->body, "registration_tokens");
    if (to == NULL || !g_str_has_prefix(to, prefix) || !json_is_array(out->registrations))
        return false;
    out->topic = to + strlen(prefix);
    return topic_name_is_valid((struct text){out->topic, strlen(out->topic)}) &&
           json_array_size(out->registrations) >= 1 &&
           json_array_size(out->registrations) <= BATCH_MAX;
}

/* What becomes of one registration; NULL = it is as asked. */
static const char *registration_fault(const char *registration)
{
    if (registration == NULL || *registration == '\0' ||
        strspn(registration, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-:.") !=
            strlen(registration))
        return "INVALID_ARGUMENT";
    if (g_str_has_prefix(registration, "dead-"))
        return "NOT_FOUND";
    if (g_str_has_prefix(registration, "other-"))
        return "PERMISSION_DENIED";
    if (g_str_has_prefix(registration, "full-"))
        return "TOO_MANY_TOPICS";
    return NULL;
}

static void commit_batch(struct service *service, const struct request *request, bool add)
{
    struct batch batch;

    if (batch_read(request, &batch))
        for (size_t i = 0; i < json_array_size(batch.registrations); i++) {
            const char *registration = json_string_value(json_array_get(batch.registrations, i));
            if (registration_fault(registration) == NULL)
                (add ? topics_add : topics_remove)(service->topics, batch.topic, registration);
        }
    json_decref(batch.body);
}

static void commit_batch_add(struct service *service, const struct request *request)
{
    commit_batch(service, request, true);
}

static void commit_batch_remove(struct service *service, const struct request *request)
{
    commit_batch(service, request, false);
}

static void answer_batch(const struct batch *batch, struct answer *answer)
{
    g_autoptr(json_t) body = json_object();
    json_t *results = json_array();
    char *text;

    for (size_t i = 0; i < json_array_size(batch->registrations); i++) {
        const char *fault =
            registration_fault(json_string_value(json_array_get(batch->registrations, i)));
        json_array_append_new(results,
                              fault == NULL ? json_object() : json_pack("{s:s}", "error", fault));
    }
    json_object_set_new(body, "results", results);
    text = json_dumps(body, JSON_COMPACT);
    write_json(answer, 200, text);
    free(text);
}

void iid_judge(struct service *service, struct peer *peer, const struct request *request,
               int64_t now_s, struct judgement *out, struct answer *answer)
{
    struct text path = request->header[HEADER_PATH];
    bool add = text_is(path, "/iid/v1:batchAdd");
    struct batch batch;

    if (!text_is(request->header[HEADER_METHOD], "POST") ||
        (!add && !text_is(path, "/iid/v1:batchRemove"))) {
        out->refused = "NOT_FOUND";
        html_refuse(answer, 404);
        return;
    }
    out->credential = fcm_find_bearer(service, peer, request->header[HEADER_AUTHORIZATION], now_s);
    if (out->credential == NULL || !text_is(request->header[HEADER_ACCESS_TOKEN_AUTH], "true")) {
        refuse(out, answer, "UNAUTHENTICATED");
        return;
    }
    if (request->body_too_big || !batch_read(request, &batch)) {
        if (!request->body_too_big)
            json_decref(batch.body);
        refuse(out, answer, "INVALID_ARGUMENT");
        return;
    }
    out->sound = true;
    out->token =
        (struct text){memmem(request->body.at, request->body.len, batch.topic, strlen(batch.topic)),
                      strlen(batch.topic)}; /* what a fault's prefix is compared with */
    out->commit = add ? commit_batch_add : commit_batch_remove;
    answer_batch(&batch, answer);
    json_decref(batch.body);
}

/* ---- one registration a call ---- */

/* "…/registrations/R/topicSubscriptions?topic_name=T" or "…/topicSubscriptions/T". Both owned. */
static bool single_read(const struct request *request, char **out_registration, char **out_topic)
{
    struct text path = request->header[HEADER_PATH];
    g_autofree char *rest =
        g_strndup(path.at + strlen(REGISTRATIONS_PATH), path.len - strlen(REGISTRATIONS_PATH));
    char *mark = strstr(rest, SUBSCRIPTIONS), *topic;
    bool add = text_is(request->header[HEADER_METHOD], "POST");

    *out_registration = *out_topic = NULL;
    if (mark == NULL || (!add && !text_is(request->header[HEADER_METHOD], "DELETE")))
        return false;
    topic = mark + strlen(SUBSCRIPTIONS);
    if (!g_str_has_prefix(topic, add ? "?topic_name=" : "/"))
        return false;
    topic += strlen(add ? "?topic_name=" : "/");
    *mark = '\0';
    if (!topic_name_is_valid((struct text){topic, strlen(topic)}))
        return false;
    *out_registration = g_uri_unescape_string(rest, NULL);
    *out_topic = g_strdup(topic);
    return *out_registration != NULL;
}

static void commit_single(struct service *service, const struct request *request)
{
    g_autofree char *registration = NULL, *topic = NULL;

    if (single_read(request, &registration, &topic))
        (text_is(request->header[HEADER_METHOD], "POST") ? topics_add : topics_remove)(
            service->topics, topic, registration);
}

static void answer_single(const struct service *service, bool add, const char *registration,
                          const char *topic, struct judgement *out, struct answer *answer)
{
    const char *fault = registration_fault(registration);
    bool there = topics_has(service->topics, topic, registration);
    g_autofree char *text = NULL;
    int status = fault == NULL                             ? 200
                 : strcmp(fault, "NOT_FOUND") == 0         ? 404
                 : strcmp(fault, "PERMISSION_DENIED") == 0 ? 403
                                                           : 400;

    if (fault == NULL && add && there) {
        fault = "ALREADY_EXISTS";
        status = 409;
    } else if (fault == NULL && !add && !there) {
        fault = "NOT_FOUND";
        status = 404;
    }
    if (fault != NULL)
        text = g_strdup_printf("{\"error\":{\"code\":%d,\"status\":\"%s\"}}", status, fault);
    else
        text = g_strdup_printf("{\"topic_name\":\"%s\",\"create_time\":\"2026-01-01T00:00:00Z\"}",
                               topic);
    out->refused = fault;
    write_json(answer, status, add || fault != NULL ? text : "{}");
}

bool registration_judge(struct service *service, struct peer *peer, const struct request *request,
                        int64_t now_s, struct judgement *out, struct answer *answer)
{
    g_autofree char *registration = NULL, *topic = NULL;

    if (!text_has_prefix(request->header[HEADER_PATH], REGISTRATIONS_PATH))
        return false;
    if (!single_read(request, &registration, &topic)) {
        out->refused = "NOT_FOUND";
        html_refuse(answer, 404);
        return true;
    }
    out->credential = fcm_find_bearer(service, peer, request->header[HEADER_AUTHORIZATION], now_s);
    if (out->credential == NULL) {
        out->refused = "UNAUTHENTICATED";
        fcm_refuse(answer, reason_find(SIM_FCM, "UNAUTHENTICATED"), NULL, NULL, NULL);
        return true;
    }
    out->sound = true;
    out->commit = commit_single;
    answer_single(service, text_is(request->header[HEADER_METHOD], "POST"), registration, topic,
                  out, answer);
    return true;
}
