/* The code is looked for where Google's own SDKs look: error as a string, the FcmError detail's
 * errorCode, error.status, error.message. What cannot be read is judged by its HTTP status. */
#include "fcm/fcm_verdict.h"

#include <string.h>

#include "base/json.h"

#define RETRY_AFTER_MAX_S 3600
#define THROTTLE_MS       60000 /* 429 without Retry-After: at least a minute */

enum rule_kind {
    RULE_PLAIN,    /* the verdict as it stands in the table */
    RULE_ARGUMENT, /* the token's fault or the payload's: the details tell */
    RULE_QUOTA,    /* one device's rate or the project's: the details tell */
    RULE_AUTH,     /* our access token: mint another and try again */
};

struct rule {
    const char *code;
    enum verdict_kind kind;
    enum rule_kind rule;
};

static const struct rule rules[] = {
    /* FcmError.errorCode */
    {"INVALID_ARGUMENT", VERDICT_REJECTED_PAYLOAD, RULE_ARGUMENT},
    {"UNREGISTERED", VERDICT_DEAD_TOKEN, RULE_PLAIN},
    {"SENDER_ID_MISMATCH", VERDICT_DEAD_TOKEN, RULE_PLAIN},
    {"QUOTA_EXCEEDED", VERDICT_THROTTLED, RULE_QUOTA},
    {"UNAVAILABLE", VERDICT_TRANSIENT, RULE_PLAIN},
    {"INTERNAL", VERDICT_TRANSIENT, RULE_PLAIN},
    {"THIRD_PARTY_AUTH_ERROR", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {"UNSPECIFIED_ERROR", VERDICT_TRANSIENT, RULE_PLAIN},
    /* error.status without an FcmError */
    {"UNAUTHENTICATED", VERDICT_TRANSIENT, RULE_AUTH},
    {"PERMISSION_DENIED", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {"NOT_FOUND", VERDICT_DEAD_TOKEN, RULE_PLAIN},
    {"RESOURCE_EXHAUSTED", VERDICT_THROTTLED, RULE_QUOTA},
    {"DEADLINE_EXCEEDED", VERDICT_TRANSIENT, RULE_PLAIN},
    {"ABORTED", VERDICT_TRANSIENT, RULE_PLAIN},
    {"UNKNOWN", VERDICT_TRANSIENT, RULE_PLAIN},
    /* words of the older interfaces, which some back-ends still use */
    {"NotRegistered", VERDICT_DEAD_TOKEN, RULE_PLAIN},
    {"InvalidRegistration", VERDICT_DEAD_TOKEN, RULE_PLAIN},
    {"MismatchSenderId", VERDICT_DEAD_TOKEN, RULE_PLAIN},
    {"MissingRegistration", VERDICT_REJECTED_PAYLOAD, RULE_PLAIN},
    {"MessageTooBig", VERDICT_REJECTED_PAYLOAD, RULE_PLAIN},
    {"InvalidDataKey", VERDICT_REJECTED_PAYLOAD, RULE_PLAIN},
    {"InvalidTtl", VERDICT_REJECTED_PAYLOAD, RULE_PLAIN},
    {"InvalidParameters", VERDICT_REJECTED_PAYLOAD, RULE_PLAIN},
    {"InvalidPackageName", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {"InvalidApnsCredential", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {"APNS_AUTH_ERROR", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {"DeviceMessageRateExceeded", VERDICT_TRANSIENT, RULE_PLAIN},
    {"TopicsMessageRateExceeded", VERDICT_THROTTLED, RULE_PLAIN},
    {"InternalServerError", VERDICT_TRANSIENT, RULE_PLAIN},
    {"Unavailable", VERDICT_TRANSIENT, RULE_PLAIN},
};

/* An answer whose code says nothing to us. */
struct status_rule {
    int first, last;
    const char *reason;
    enum verdict_kind kind;
    enum rule_kind rule;
};

static const struct status_rule status_rules[] = {
    {200, 200, "accepted", VERDICT_ACCEPTED, RULE_PLAIN},
    {400, 400, "http_400", VERDICT_REJECTED_PAYLOAD, RULE_ARGUMENT},
    {401, 401, "http_401", VERDICT_TRANSIENT, RULE_AUTH},
    {403, 403, "http_403", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    /* A page instead of JSON: our path is wrong, nobody's token is dead. */
    {404, 404, "http_404", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {408, 408, "http_408", VERDICT_TRANSIENT, RULE_PLAIN},
    {413, 413, "http_413", VERDICT_REJECTED_PAYLOAD, RULE_PLAIN},
    {429, 429, "http_429", VERDICT_THROTTLED, RULE_QUOTA},
    {300, 399, "http_redirect", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {400, 499, "http_4xx", VERDICT_REJECTED_CONFIG, RULE_PLAIN},
    {500, 500, "http_500", VERDICT_TRANSIENT, RULE_PLAIN},
    {502, 502, "http_502", VERDICT_TRANSIENT, RULE_PLAIN},
    {503, 503, "http_503", VERDICT_TRANSIENT, RULE_PLAIN},
    {504, 504, "http_504", VERDICT_TRANSIENT, RULE_PLAIN},
    {500, 599, "http_5xx", VERDICT_TRANSIENT, RULE_PLAIN},
};

/* ---- reading the answer ---- */

static const json_t *detail_of_type(const json_t *error, size_t from, const char *type,
                                    size_t *out_at)
{
    const json_t *details = json_object_get(error, "details");

    for (size_t i = from; i < json_array_size(details); i++) {
        const json_t *detail = json_array_get(details, i);
        const char *name = json_string_value(json_object_get(detail, "@type"));
        if (name != NULL && strcmp(name, type) == 0) {
            *out_at = i;
            return detail;
        }
    }
    return NULL;
}

#define GOOGLEAPIS "type.googleapis.com/google."

static const char *fcm_error_code(const json_t *error)
{
    size_t at = 0;
    const json_t *detail = detail_of_type(error, 0, GOOGLEAPIS "firebase.fcm.v1.FcmError", &at);

    return json_string_value(json_object_get(detail, "errorCode"));
}

static const struct rule *find_rule(const char *code)
{
    if (code == NULL)
        return NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
        if (strcmp(rules[i].code, code) == 0)
            return &rules[i];
    return NULL;
}

/* The first place that holds a code we know. */
static const struct rule *rule_of(const json_t *error)
{
    const struct rule *rule = find_rule(json_string_value(error));

    if (rule == NULL)
        rule = find_rule(fcm_error_code(error));
    if (rule == NULL)
        rule = find_rule(json_string_value(json_object_get(error, "status")));
    if (rule == NULL)
        rule = find_rule(json_string_value(json_object_get(error, "message")));
    return rule;
}

static const struct status_rule *rule_of_status(int status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(status_rules); i++)
        if (status >= status_rules[i].first && status <= status_rules[i].last)
            return &status_rules[i];
    return NULL;
}

static bool mentions(const json_t *object, const char *name, const char *word)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL && strcasestr(text, word) != NULL;
}

/* 400 about the registration and not about the message. */
static bool blames_token(const json_t *error)
{
    size_t at = 0;
    const json_t *detail;

    for (size_t from = 0;
         (detail = detail_of_type(error, from, GOOGLEAPIS "rpc.BadRequest", &at)) != NULL;
         from = at + 1) {
        const json_t *violations = json_object_get(detail, "fieldViolations");
        for (size_t i = 0; i < json_array_size(violations); i++) {
            const char *field =
                json_string_value(json_object_get(json_array_get(violations, i), "field"));
            if (field != NULL &&
                (strcmp(field, "message.token") == 0 || strcmp(field, "message.fid") == 0))
                return true;
        }
    }
    return mentions(error, "message", "not a valid FCM registration token");
}

/* 429 about one device's rate and not about the project's. */
static bool blames_device(const json_t *error)
{
    size_t at = 0;
    const json_t *detail;

    for (size_t from = 0;
         (detail = detail_of_type(error, from, GOOGLEAPIS "rpc.QuotaFailure", &at)) != NULL;
         from = at + 1) {
        const json_t *violations = json_object_get(detail, "violations");
        for (size_t i = 0; i < json_array_size(violations); i++) {
            const json_t *violation = json_array_get(violations, i);
            if (mentions(violation, "subject", "device") ||
                mentions(violation, "description", "device"))
                return true;
        }
    }
    return mentions(error, "message", "device message rate");
}

/* ---- judging ---- */

int64_t fcm_retry_after_ms(const char *header)
{
    guint64 seconds;

    if (!g_ascii_string_to_unsigned(header, 10, 0, G_MAXUINT64, &seconds, NULL))
        return 0;
    return (int64_t)CLAMP(seconds, 1, RETRY_AFTER_MAX_S) * 1000;
}

static void apply(const json_t *error, const struct h2_answer *answer, enum verdict_kind kind,
                  enum rule_kind rule, const char *reason, struct verdict *out)
{
    out->kind = kind;
    out->reason = reason;
    if (rule == RULE_ARGUMENT && blames_token(error))
        out->kind = VERDICT_DEAD_TOKEN;
    if (rule == RULE_QUOTA && blames_device(error)) {
        out->kind = VERDICT_TRANSIENT;
        out->reason = "DEVICE_RATE_EXCEEDED";
    }
    out->renew_credentials = rule == RULE_AUTH;
    if (out->kind != VERDICT_THROTTLED && out->kind != VERDICT_TRANSIENT)
        return;
    out->retry_after_ms = fcm_retry_after_ms(answer->retry_after);
    if (out->retry_after_ms == 0 && answer->status == 429)
        out->retry_after_ms = THROTTLE_MS;
}

static void judge_status(const struct h2_answer *answer, struct verdict *out)
{
    const struct status_rule *rule = rule_of_status(answer->status);

    if (rule != NULL)
        apply(NULL, answer, rule->kind, rule->rule, rule->reason, out);
    else
        *out = (struct verdict){.kind = VERDICT_UNKNOWN, .reason = "http_unexpected"};
}

static void judge_answer(const struct h2_answer *answer, struct verdict *out)
{
    g_autoptr(json_t) body = NULL;
    const json_t *error;
    const struct rule *rule;

    if (answer->status >= 400)
        body = json_parse_object(answer->body, answer->body_len, H2_ANSWER_BODY_MAX, NULL);
    error = json_object_get(body, "error");
    rule = error != NULL ? rule_of(error) : NULL;
    if (rule != NULL)
        apply(error, answer, rule->kind, rule->rule, rule->code, out);
    else
        judge_status(answer, out);
}

void fcm_verdict(const struct h2_answer *answer, struct verdict *out)
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
