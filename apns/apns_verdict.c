/* One row per documented reason; what is not documented is judged by its status. */
#include "apns/apns_verdict.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define SERVER_WAIT_MS  (15 * 60 * 1000) /* "After 15 minutes, you can retry … 5XX" */
#define DEVICE_WAIT_MS  (60 * 1000)
#define TIMESTAMP_MAX   INT64_C(253402300799000) /* ms, end of the year 9999 */
#define CLOSE           true, false
#define CLOSE_AND_RENEW true, true

struct rule {
    int status;
    const char *reason;
    enum verdict_kind kind;
    int64_t retry_after_ms;
    bool close_connection;
    bool renew_credentials;
};

static const struct rule rules[] = {
    {400, "BadCollapseId", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadDeviceToken", VERDICT_DEAD_TOKEN, 0, false, false},
    {400, "BadExpirationDate", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadMessageId", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadPriority", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadTopic", VERDICT_REJECTED_CONFIG, 0, false, false},
    {400, "DeviceTokenNotForTopic", VERDICT_DEAD_TOKEN, 0, false, false},
    {400, "DuplicateHeaders", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "IdleTimeout", VERDICT_TRANSIENT, 0, CLOSE},
    {400, "InvalidPushType", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "MissingDeviceToken", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "MissingTopic", VERDICT_REJECTED_CONFIG, 0, false, false},
    {400, "PayloadEmpty", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "TopicDisallowed", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "BadCertificate", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "BadCertificateEnvironment", VERDICT_REJECTED_CONFIG, 0, false, false},
    /* The connection takes no other token any more. */
    {403, "ExpiredProviderToken", VERDICT_TRANSIENT, 0, CLOSE_AND_RENEW},
    {403, "Forbidden", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "InvalidProviderToken", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "MissingProviderToken", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "UnrelatedKeyIdInToken", VERDICT_REJECTED_CONFIG, 0, CLOSE},
    {403, "BadEnvironmentKeyIdInToken", VERDICT_REJECTED_CONFIG, 0, CLOSE},
    {404, "BadPath", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {405, "MethodNotAllowed", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {410, "ExpiredToken", VERDICT_DEAD_TOKEN, 0, false, false},
    {410, "Unregistered", VERDICT_DEAD_TOKEN, 0, false, false},
    {413, "PayloadTooLarge", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {429, "TooManyProviderTokenUpdates", VERDICT_TRANSIENT, 0, false, false},
    {429, "TooManyRequests", VERDICT_TRANSIENT, DEVICE_WAIT_MS, false, false},
    {500, "InternalServerError", VERDICT_TRANSIENT, SERVER_WAIT_MS, false, false},
    {503, "ServiceUnavailable", VERDICT_TRANSIENT, SERVER_WAIT_MS, false, false},
    {503, "Shutdown", VERDICT_TRANSIENT, SERVER_WAIT_MS, CLOSE},
};

/* By status alone; the first that matches. */
static const struct status_rule {
    int first, last;
    struct rule rule;
} status_rules[] = {
    {200, 200, {200, "accepted", VERDICT_ACCEPTED, 0, false, false}},
    {300, 399, {0, "http_redirect", VERDICT_REJECTED_CONFIG, 0, false, false}},
    {400, 400, {0, "http_400", VERDICT_REJECTED_PAYLOAD, 0, false, false}},
    {403, 403, {0, "http_403", VERDICT_REJECTED_CONFIG, 0, false, false}},
    {410, 410, {0, "http_410", VERDICT_DEAD_TOKEN, 0, false, false}},
    {413, 413, {0, "http_413", VERDICT_REJECTED_PAYLOAD, 0, false, false}},
    {408, 408, {0, "http_408", VERDICT_TRANSIENT, 0, false, false}},
    {429, 429, {0, "http_429", VERDICT_TRANSIENT, DEVICE_WAIT_MS, false, false}},
    {400, 499, {0, "http_4xx", VERDICT_REJECTED_CONFIG, 0, false, false}},
    {500, 599, {0, "http_5xx", VERDICT_TRANSIENT, SERVER_WAIT_MS, false, false}},
};

static const struct rule *find_rule(int status, const char *reason)
{
    for (size_t i = 0; reason != NULL && i < G_N_ELEMENTS(rules); i++)
        if (rules[i].status == status && strcmp(rules[i].reason, reason) == 0)
            return &rules[i];
    for (size_t i = 0; i < G_N_ELEMENTS(status_rules); i++)
        if (status >= status_rules[i].first && status <= status_rules[i].last)
            return &status_rules[i].rule;
    return NULL;
}

/* Since when the token is dead, if Apple says so: only "Unregistered" may be older than the app's
 * latest registration. */
static int64_t dead_since_us(const json_t *body, const struct rule *rule)
{
    json_int_t ms = json_integer_value(json_object_get(body, "timestamp"));

    if (strcmp(rule->reason, "Unregistered") != 0 || ms <= 0 || ms > TIMESTAMP_MAX)
        return 0;
    return ms * USEC_PER_MSEC;
}

static void judge_answer(const struct h2_answer *answer, struct verdict *out)
{
    g_autoptr(json_t) body = NULL;
    const struct rule *rule;

    if (answer->status >= 400)
        body = json_parse_object(answer->body, answer->body_len, H2_ANSWER_BODY_MAX, NULL);
    rule = find_rule(answer->status, json_string_value(json_object_get(body, "reason")));
    if (rule == NULL) {
        *out = (struct verdict){.kind = VERDICT_UNKNOWN, .reason = "http_unexpected"};
        return;
    }
    *out = (struct verdict){.kind = rule->kind,
                            .retry_after_ms = rule->retry_after_ms,
                            .dead_since_utc_us = dead_since_us(body, rule),
                            .close_connection = rule->close_connection,
                            .renew_credentials = rule->renew_credentials,
                            .reason = rule->reason};
}

void apns_verdict(const struct h2_answer *answer, struct verdict *out)
{
    *out = (struct verdict){.reason = answer->reason};
    switch (answer->outcome) {
    case H2_ANSWERED:
        judge_answer(answer, out);
        break;
    case H2_NOT_SENT:
        out->kind = VERDICT_NOT_SENT;
        break;
    case H2_UNCERTAIN:
        out->kind = VERDICT_UNKNOWN;
        break;
    case H2_UNUSABLE:
        out->kind = VERDICT_DEAD_TOKEN;
        break;
    }
}
