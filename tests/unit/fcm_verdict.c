/* lib: loa_fcm */
/* Every answer that FCM documents, and what else may come from its front-ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fcm/fcm_verdict.h"

#define FCM_ERROR(code)                                                                            \
    "{\"@type\":\"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\"errorCode\":\"" code "\"}"
#define BAD_REQUEST(field)                                                                         \
    "{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":"    \
    "\"" field "\",\"description\":\"x\"}]}"
#define QUOTA_FAILURE(subject, description)                                                        \
    "{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":[{\"subject\":"     \
    "\"" subject "\",\"description\":\"" description "\"}]}"
#define ERROR(status, message, details)                                                            \
    "{\"error\":{\"code\":0,\"message\":\"" message "\",\"status\":\"" status                      \
    "\",\"details\":[" details "]}}"
#define PLAIN_ERROR(status, message)                                                               \
    "{\"error\":{\"code\":0,\"message\":\"" message "\",\"status\":\"" status "\"}}"
#define HTML "<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title></html>"

struct answer_case {
    const char *what;
    int status;
    const char *body, *retry_after;
    enum verdict_kind kind;
    const char *reason;
    int64_t retry_after_ms;
    bool renew;
};

static const struct answer_case cases[] = {
    {"accepted", 200, "{\"name\":\"projects/p/messages/0:1\"}", "", VERDICT_ACCEPTED, "accepted", 0,
     false},
    {"accepted, whatever the body", 200, "", "", VERDICT_ACCEPTED, "accepted", 0, false},

    /* the error codes of the reference, in its order */
    {"UNSPECIFIED_ERROR", 500, ERROR("UNKNOWN", "", FCM_ERROR("UNSPECIFIED_ERROR")), "",
     VERDICT_TRANSIENT, "UNSPECIFIED_ERROR", 0, false},
    {"token violation", 400,
     ERROR("INVALID_ARGUMENT", "Invalid registration token",
           FCM_ERROR("INVALID_ARGUMENT") "," BAD_REQUEST("message.token")),
     "", VERDICT_DEAD_TOKEN, "INVALID_ARGUMENT", 0, false},
    {"fid violation, without FcmError", 400,
     ERROR("INVALID_ARGUMENT", "", BAD_REQUEST("message.fid")), "", VERDICT_DEAD_TOKEN,
     "INVALID_ARGUMENT", 0, false},
    {"token named in the message only", 400,
     PLAIN_ERROR("INVALID_ARGUMENT",
                 "The registration token is not a valid FCM registration token"),
     "", VERDICT_DEAD_TOKEN, "INVALID_ARGUMENT", 0, false},
    {"violation of another field", 400,
     ERROR("INVALID_ARGUMENT", "Invalid data payload key: from",
           FCM_ERROR("INVALID_ARGUMENT") "," BAD_REQUEST("message.data")),
     "", VERDICT_REJECTED_PAYLOAD, "INVALID_ARGUMENT", 0, false},
    {"two violations, the second of the token", 400,
     ERROR("INVALID_ARGUMENT", "", BAD_REQUEST("message.android") "," BAD_REQUEST("message.token")),
     "", VERDICT_DEAD_TOKEN, "INVALID_ARGUMENT", 0, false},
    {"too big, no details", 400, PLAIN_ERROR("INVALID_ARGUMENT", "Message too big"), "",
     VERDICT_REJECTED_PAYLOAD, "INVALID_ARGUMENT", 0, false},
    {"UNREGISTERED", 404,
     ERROR("NOT_FOUND", "Requested entity was not found.", FCM_ERROR("UNREGISTERED")), "",
     VERDICT_DEAD_TOKEN, "UNREGISTERED", 0, false},
    {"NOT_FOUND of a fid", 404, PLAIN_ERROR("NOT_FOUND", "Requested entity was not found."), "",
     VERDICT_DEAD_TOKEN, "NOT_FOUND", 0, false},
    {"SENDER_ID_MISMATCH", 403,
     ERROR("PERMISSION_DENIED", "SenderId mismatch", FCM_ERROR("SENDER_ID_MISMATCH")), "",
     VERDICT_DEAD_TOKEN, "SENDER_ID_MISMATCH", 0, false},
    {"project rate", 429,
     ERROR("RESOURCE_EXHAUSTED", "Quota exceeded",
           FCM_ERROR("QUOTA_EXCEEDED") "," QUOTA_FAILURE("project:p", "Message send rate")),
     "30", VERDICT_THROTTLED, "QUOTA_EXCEEDED", 30000, false},
    {"project rate, no Retry-After", 429,
     ERROR("RESOURCE_EXHAUSTED", "Quota exceeded", FCM_ERROR("QUOTA_EXCEEDED")), "",
     VERDICT_THROTTLED, "QUOTA_EXCEEDED", 60000, false},
    {"device rate, by subject", 429,
     ERROR("RESOURCE_EXHAUSTED", "",
           FCM_ERROR("QUOTA_EXCEEDED") "," QUOTA_FAILURE("device:x", "rate")),
     "", VERDICT_TRANSIENT, "DEVICE_RATE_EXCEEDED", 60000, false},
    {"device rate, by description", 429,
     ERROR("RESOURCE_EXHAUSTED", "",
           FCM_ERROR("QUOTA_EXCEEDED") "," QUOTA_FAILURE("p", "Device message rate exceeded")),
     "5", VERDICT_TRANSIENT, "DEVICE_RATE_EXCEEDED", 5000, false},
    {"device rate, by message", 429,
     PLAIN_ERROR("RESOURCE_EXHAUSTED", "Device message rate exceeded"), "", VERDICT_TRANSIENT,
     "DEVICE_RATE_EXCEEDED", 60000, false},
    {"UNAVAILABLE", 503, ERROR("UNAVAILABLE", "", FCM_ERROR("UNAVAILABLE")), "7", VERDICT_TRANSIENT,
     "UNAVAILABLE", 7000, false},
    {"UNAVAILABLE, no Retry-After", 503, PLAIN_ERROR("UNAVAILABLE", ""), "", VERDICT_TRANSIENT,
     "UNAVAILABLE", 0, false},
    {"INTERNAL", 500, ERROR("INTERNAL", "", FCM_ERROR("INTERNAL")), "", VERDICT_TRANSIENT,
     "INTERNAL", 0, false},
    {"THIRD_PARTY_AUTH_ERROR", 401,
     ERROR("UNAUTHENTICATED", "Auth error from APNS", FCM_ERROR("THIRD_PARTY_AUTH_ERROR")), "",
     VERDICT_REJECTED_CONFIG, "THIRD_PARTY_AUTH_ERROR", 0, false},

    /* errors without an FcmError */
    {"our token is bad", 401, PLAIN_ERROR("UNAUTHENTICATED", "invalid credentials"), "",
     VERDICT_TRANSIENT, "UNAUTHENTICATED", 0, true},
    {"not allowed in the project", 403, PLAIN_ERROR("PERMISSION_DENIED", "denied"), "",
     VERDICT_REJECTED_CONFIG, "PERMISSION_DENIED", 0, false},
    {"RESOURCE_EXHAUSTED", 429, PLAIN_ERROR("RESOURCE_EXHAUSTED", ""), "2", VERDICT_THROTTLED,
     "RESOURCE_EXHAUSTED", 2000, false},
    {"DEADLINE_EXCEEDED", 504, PLAIN_ERROR("DEADLINE_EXCEEDED", ""), "", VERDICT_TRANSIENT,
     "DEADLINE_EXCEEDED", 0, false},
    {"ABORTED", 409, PLAIN_ERROR("ABORTED", ""), "", VERDICT_TRANSIENT, "ABORTED", 0, false},
    {"UNKNOWN", 500, PLAIN_ERROR("UNKNOWN", ""), "", VERDICT_TRANSIENT, "UNKNOWN", 0, false},

    /* the order of places: FcmError before status before message */
    {"error is a string", 404, "{\"error\":\"NotRegistered\"}", "", VERDICT_DEAD_TOKEN,
     "NotRegistered", 0, false},
    {"error in the message", 400, PLAIN_ERROR("", "MessageTooBig"), "", VERDICT_REJECTED_PAYLOAD,
     "MessageTooBig", 0, false},
    {"an FcmError of the future", 404, ERROR("NOT_FOUND", "", FCM_ERROR("GONE_FISHING")), "",
     VERDICT_DEAD_TOKEN, "NOT_FOUND", 0, false},

    /* words of the older interfaces */
    {"InvalidRegistration", 400, "{\"error\":\"InvalidRegistration\"}", "", VERDICT_DEAD_TOKEN,
     "InvalidRegistration", 0, false},
    {"MismatchSenderId", 403, "{\"error\":\"MismatchSenderId\"}", "", VERDICT_DEAD_TOKEN,
     "MismatchSenderId", 0, false},
    {"MissingRegistration", 400, "{\"error\":\"MissingRegistration\"}", "",
     VERDICT_REJECTED_PAYLOAD, "MissingRegistration", 0, false},
    {"InvalidDataKey", 400, "{\"error\":\"InvalidDataKey\"}", "", VERDICT_REJECTED_PAYLOAD,
     "InvalidDataKey", 0, false},
    {"InvalidTtl", 400, "{\"error\":\"InvalidTtl\"}", "", VERDICT_REJECTED_PAYLOAD, "InvalidTtl", 0,
     false},
    {"InvalidParameters", 400, "{\"error\":\"InvalidParameters\"}", "", VERDICT_REJECTED_PAYLOAD,
     "InvalidParameters", 0, false},
    {"InvalidPackageName", 400, "{\"error\":\"InvalidPackageName\"}", "", VERDICT_REJECTED_CONFIG,
     "InvalidPackageName", 0, false},
    {"InvalidApnsCredential", 401, "{\"error\":\"InvalidApnsCredential\"}", "",
     VERDICT_REJECTED_CONFIG, "InvalidApnsCredential", 0, false},
    {"APNS_AUTH_ERROR", 401, "{\"error\":\"APNS_AUTH_ERROR\"}", "", VERDICT_REJECTED_CONFIG,
     "APNS_AUTH_ERROR", 0, false},
    {"DeviceMessageRateExceeded", 429, "{\"error\":\"DeviceMessageRateExceeded\"}", "",
     VERDICT_TRANSIENT, "DeviceMessageRateExceeded", 60000, false},
    {"TopicsMessageRateExceeded", 429, "{\"error\":\"TopicsMessageRateExceeded\"}", "",
     VERDICT_THROTTLED, "TopicsMessageRateExceeded", 60000, false},
    {"InternalServerError", 500, "{\"error\":\"InternalServerError\"}", "", VERDICT_TRANSIENT,
     "InternalServerError", 0, false},
    {"Unavailable", 503, "{\"error\":\"Unavailable\"}", "9", VERDICT_TRANSIENT, "Unavailable", 9000,
     false},

    /* no JSON that we can read */
    {"front-end's page", 502, HTML, "", VERDICT_TRANSIENT, "http_502", 0, false},
    {"page with Retry-After", 503, HTML, "11", VERDICT_TRANSIENT, "http_503", 11000, false},
    {"gateway time-out", 504, HTML, "", VERDICT_TRANSIENT, "http_504", 0, false},
    {"500 page", 500, HTML, "", VERDICT_TRANSIENT, "http_500", 0, false},
    {"unknown 5xx", 599, HTML, "", VERDICT_TRANSIENT, "http_5xx", 0, false},
    {"400 page", 400, HTML, "", VERDICT_REJECTED_PAYLOAD, "http_400", 0, false},
    {"401 page", 401, HTML, "", VERDICT_TRANSIENT, "http_401", 0, true},
    {"403 page", 403, HTML, "", VERDICT_REJECTED_CONFIG, "http_403", 0, false},
    {"404 page kills no token", 404, HTML, "", VERDICT_REJECTED_CONFIG, "http_404", 0, false},
    {"408", 408, HTML, "", VERDICT_TRANSIENT, "http_408", 0, false},
    {"413", 413, HTML, "", VERDICT_REJECTED_PAYLOAD, "http_413", 0, false},
    {"418", 418, HTML, "", VERDICT_REJECTED_CONFIG, "http_4xx", 0, false},
    {"429 page", 429, HTML, "", VERDICT_THROTTLED, "http_429", 60000, false},
    {"redirect", 302, HTML, "", VERDICT_REJECTED_CONFIG, "http_redirect", 0, false},
    {"strange success", 204, "", "", VERDICT_UNKNOWN, "http_unexpected", 0, false},
    {"truncated JSON", 404,
     "{\"error\":{\"code\":404,\"status\":\"NOT_FOUND\",\"details\":[{\"@type\":\"type.goog", "",
     VERDICT_REJECTED_CONFIG, "http_404", 0, false},
    {"error of a wrong type", 500, "{\"error\":[1,2]}", "", VERDICT_TRANSIENT, "http_500", 0,
     false},
    {"details of wrong types", 400,
     "{\"error\":{\"status\":7,\"details\":{\"@type\":3},\"message\":null}}", "",
     VERDICT_REJECTED_PAYLOAD, "http_400", 0, false},
};

static void test_every_documented_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const struct answer_case *c = &cases[i];
        struct h2_answer answer = {.outcome = H2_ANSWERED,
                                   .reason = "",
                                   .status = c->status,
                                   .body = c->body,
                                   .body_len = strlen(c->body),
                                   .retry_after = c->retry_after};
        struct verdict v;

        fcm_verdict(&answer, &v);
        if (v.kind != c->kind || strcmp(v.reason, c->reason) != 0 ||
            v.retry_after_ms != c->retry_after_ms || v.renew_credentials != c->renew ||
            v.close_connection || v.dead_since_utc_us != 0)
            fail_msg("%s: %s %s after %d ms", c->what, verdict_name(v.kind), v.reason,
                     (int)v.retry_after_ms);
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
        struct h2_answer answer = {
            .outcome = rows[i].outcome, .reason = "why", .body = "", .retry_after = ""};
        struct verdict v;
        fcm_verdict(&answer, &v);
        assert_int_equal(v.kind, rows[i].kind);
        assert_string_equal(v.reason, "why");
    }
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *header;
        int64_t ms;
    } rows[] = {
        {"", 0},
        {"0", 1000},
        {"1", 1000},
        {"3600", 3600000},
        {"3601", 3600000},
        {"-1", 0},
        {"1.5", 0},
        {" 5", 0},
        {"5s", 0},
        {"99999999999999999999", 0},
        {"18446744073709551615", 3600000},
        {"Wed, 21 Oct 2026 07:28:00 GMT", 0},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        assert_int_equal(fcm_retry_after_ms(rows[i].header), rows[i].ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_documented_answer),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_retry_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
