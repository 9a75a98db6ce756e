/* The token endpoint of RFC 6749 with the JWT bearer grant of RFC 7523. */
#include <stdio.h>

#include "tests/sim/service.h"

#define GRANT_JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"

void oauth_refuse(struct answer *answer, const struct reason *reason, const char *message)
{
    answer->status = reason->status;
    answer->type = ANSWER_JSON;
    answer->body_len =
        (size_t)snprintf(answer->body, sizeof(answer->body),
                         "{\n  \"error\": \"%s\",\n  \"error_description\": \"%s\"\n}\n",
                         reason->word, message != NULL ? message : reason->message);
}

static void refuse(struct judgement *out, struct answer *answer, const char *word,
                   const char *message)
{
    out->refused = reason_find(SIM_OAUTH, word)->word;
    oauth_refuse(answer, reason_find(SIM_OAUTH, word), message);
}

/* The value of a form field, decoded; NULL when it is missing, doubled or malformed. Owned. */
static char *form_value(struct text form, const char *name)
{
    g_autofree char *copy = g_strndup(form.at, form.len);
    g_auto(GStrv) pairs = g_strsplit(copy, "&", 16);
    g_autofree char *found = NULL;
    size_t name_len = strlen(name);

    for (size_t i = 0; pairs[i] != NULL; i++) {
        if (strncmp(pairs[i], name, name_len) != 0 || pairs[i][name_len] != '=')
            continue;
        if (found != NULL)
            return NULL;
        g_strdelimit(pairs[i], "+", ' ');
        found = g_uri_unescape_string(pairs[i] + name_len + 1, NULL);
        if (found == NULL)
            return NULL;
    }
    return g_steal_pointer(&found);
}

static bool content_is_form(struct text type)
{
    static const char form[] = "application/x-www-form-urlencoded";

    return type.len >= sizeof(form) - 1 &&
           g_ascii_strncasecmp(type.at, form, sizeof(form) - 1) == 0;
}

void oauth_judge(struct service *service, const struct request *request, int64_t now_s,
                 struct judgement *out, struct answer *answer)
{
    g_autofree char *grant = NULL, *assertion = NULL;
    g_autoptr(GError) why = NULL;
    const struct credential *bearer;

    if (!text_is(request->header[HEADER_METHOD], "POST") ||
        !text_is(request->header[HEADER_PATH], "/token")) {
        out->refused = "NOT_FOUND";
        html_refuse(answer, 404);
        return;
    }
    if (request->body_too_big || !content_is_form(request->header[HEADER_CONTENT_TYPE]) ||
        (grant = form_value(request->body, "grant_type")) == NULL ||
        (assertion = form_value(request->body, "assertion")) == NULL) {
        refuse(out, answer, "invalid_request", NULL);
        return;
    }
    if (strcmp(grant, GRANT_JWT_BEARER) != 0) {
        refuse(out, answer, "unsupported_grant_type", NULL);
        return;
    }
    out->sound = true;
    if (!credentials_check_assertion(service->credentials, assertion, service->token_uri, now_s,
                                     &why)) {
        refuse(out, answer, "invalid_grant", why->message);
        return;
    }
    bearer = out->credential = credentials_issue_bearer(service->credentials, now_s);
    if (bearer == NULL) {
        refuse(out, answer, "backend_error", NULL);
        return;
    }
    answer->type = ANSWER_JSON;
    answer->body_len =
        (size_t)snprintf(answer->body, sizeof(answer->body),
                         "{\"access_token\":\"%s\",\"expires_in\":%d,\"token_type\":\"Bearer\"}",
                         bearer->bytes, BEARER_LIFETIME_S);
}
