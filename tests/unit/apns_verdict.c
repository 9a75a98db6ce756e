/* lib: loa_apns */
/* Every reason of "Handling notification responses from APNs". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "apns/apns_verdict.h"

#define MINUTES(n) ((n)*INT64_C(60000))

struct reason_case {
    int status;
    const char *reason;
    enum verdict_kind kind;
    int64_t retry_after_ms;
    bool close_connection, renew_credentials;
};

static const struct reason_case reasons[] = {
    {400, "BadCollapseId", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadDeviceToken", VERDICT_DEAD_TOKEN, 0, false, false},
    {400, "BadExpirationDate", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadMessageId", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadPriority", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "BadTopic", VERDICT_REJECTED_CONFIG, 0, false, false},
    {400, "DeviceTokenNotForTopic", VERDICT_DEAD_TOKEN, 0, false, false},
    {400, "DuplicateHeaders", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "IdleTimeout", VERDICT_TRANSIENT, 0, true, false},
    {400, "InvalidPushType", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "MissingDeviceToken", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "MissingTopic", VERDICT_REJECTED_CONFIG, 0, false, false},
    {400, "PayloadEmpty", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {400, "TopicDisallowed", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "BadCertificate", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "BadCertificateEnvironment", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "ExpiredProviderToken", VERDICT_TRANSIENT, 0, true, true},
    {403, "Forbidden", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "InvalidProviderToken", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "MissingProviderToken", VERDICT_REJECTED_CONFIG, 0, false, false},
    {403, "UnrelatedKeyIdInToken", VERDICT_REJECTED_CONFIG, 0, true, false},
    {403, "BadEnvironmentKeyIdInToken", VERDICT_REJECTED_CONFIG, 0, true, false},
    {404, "BadPath", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {405, "MethodNotAllowed", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {410, "ExpiredToken", VERDICT_DEAD_TOKEN, 0, false, false},
    {410, "Unregistered", VERDICT_DEAD_TOKEN, 0, false, false},
    {413, "PayloadTooLarge", VERDICT_REJECTED_PAYLOAD, 0, false, false},
    {429, "TooManyProviderTokenUpdates", VERDICT_TRANSIENT, 0, false, false},
    {429, "TooManyRequests", VERDICT_TRANSIENT, MINUTES(1), false, false},
    {500, "InternalServerError", VERDICT_TRANSIENT, MINUTES(15), false, false},
    {503, "ServiceUnavailable", VERDICT_TRANSIENT, MINUTES(15), false, false},
    {503, "Shutdown", VERDICT_TRANSIENT, MINUTES(15), true, false},
};

static void judge(int status, const char *body, struct verdict *out)
{
    struct h2_answer answer = {.outcome = H2_ANSWERED,
                               .reason = "",
                               .status = status,
                               .body = body,
                               .body_len = strlen(body),
                               .retry_after = ""};

    apns_verdict(&answer, out);
}

static void test_every_documented_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++) {
        const struct reason_case *c = &reasons[i];
        g_autofree char *body = g_strdup_printf("{\"reason\":\"%s\"}", c->reason);
        struct verdict v;

        judge(c->status, body, &v);
        if (v.kind != c->kind || strcmp(v.reason, c->reason) != 0 ||
            v.retry_after_ms != c->retry_after_ms || v.close_connection != c->close_connection ||
            v.renew_credentials != c->renew_credentials || v.dead_since_utc_us != 0)
            fail_msg("%s: %s %s", c->reason, verdict_name(v.kind), v.reason);
    }
}

struct status_case {
    int status;
    const char *body;
    enum verdict_kind kind;
    const char *reason;
    int64_t retry_after_ms;
};

/* Reasons of the future, no reason, no JSON. */
static const struct status_case statuses[] = {
    {200, "", VERDICT_ACCEPTED, "accepted", 0},
    {204, "", VERDICT_UNKNOWN, "http_unexpected", 0},
    {302, "", VERDICT_REJECTED_CONFIG, "http_redirect", 0},
    {400, "{\"reason\":\"BadMood\"}", VERDICT_REJECTED_PAYLOAD, "http_400", 0},
    {400, "", VERDICT_REJECTED_PAYLOAD, "http_400", 0},
    {400, "{\"reason\":\"Unregistered\"}", VERDICT_REJECTED_PAYLOAD, "http_400", 0},
    {403, "{\"reason\":7}", VERDICT_REJECTED_CONFIG, "http_403", 0},
    {404, "<html>", VERDICT_REJECTED_CONFIG, "http_4xx", 0},
    {408, "", VERDICT_TRANSIENT, "http_408", 0},
    {410, "{\"reason\":\"Gone\"", VERDICT_DEAD_TOKEN, "http_410", 0},
    {413, "", VERDICT_REJECTED_PAYLOAD, "http_413", 0},
    {429, "", VERDICT_TRANSIENT, "http_429", MINUTES(1)},
    {502, "<html>", VERDICT_TRANSIENT, "http_5xx", MINUTES(15)},
};

static void test_what_is_not_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        const struct status_case *c = &statuses[i];
        struct verdict v;

        judge(c->status, c->body, &v);
        if (v.kind != c->kind || strcmp(v.reason, c->reason) != 0 ||
            v.retry_after_ms != c->retry_after_ms)
            fail_msg("%d %s: %s %s", c->status, c->body, verdict_name(v.kind), v.reason);
    }
}

static void test_timestamp_of_410(void **state)
{
    static const struct {
        const char *body;
        int64_t since_us;
    } rows[] = {
        {"{\"reason\":\"Unregistered\",\"timestamp\":1795400000123}", INT64_C(1795400000123000)},
        {"{\"reason\":\"Unregistered\",\"timestamp\":0}", 0},
        {"{\"reason\":\"Unregistered\",\"timestamp\":-5}", 0},
        {"{\"reason\":\"Unregistered\",\"timestamp\":9223372036854775807}", 0},
        {"{\"reason\":\"Unregistered\",\"timestamp\":\"1795400000123\"}", 0},
        {"{\"reason\":\"ExpiredToken\",\"timestamp\":1795400000123}", 0},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct verdict v;
        judge(410, rows[i].body, &v);
        assert_int_equal(v.kind, VERDICT_DEAD_TOKEN);
        assert_int_equal(v.dead_since_utc_us, rows[i].since_us);
    }
}

static void test_no_answer(void **state)
{
    static const struct {
        enum h2_outcome outcome;
        enum verdict_kind kind;
    } rows[] = {
        {H2_NOT_SENT, VERDICT_NOT_SENT},
        {H2_UNCERTAIN, VERDICT_UNKNOWN},
        {H2_UNUSABLE, VERDICT_DEAD_TOKEN},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct h2_answer answer = {.outcome = rows[i].outcome, .reason = "why", .body = ""};
        struct verdict v;
        apns_verdict(&answer, &v);
        assert_int_equal(v.kind, rows[i].kind);
        assert_string_equal(v.reason, "why");
        assert_false(v.close_connection);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_documented_reason),
        cmocka_unit_test(test_what_is_not_documented),
        cmocka_unit_test(test_timestamp_of_410),
        cmocka_unit_test(test_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
