/* FCM over a real connection: every documented answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/rig.h"
#include "tests/sim/sim.h"

#define PATH "/v1/projects/" SIM_PROJECT "/messages:send"
#define GOOD "{\"message\":{\"token\":\"abc\",\"data\":{\"alert\":\"A1\",\"v\":\"1\"}}}"

static struct rig rig;
static char *bearer;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig, NULL);
    bearer = rig_authorization(&rig, "fcm");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    g_free(bearer);
    rig_stop(&rig);
    return 0;
}

static int each(void **state)
{
    (void)state;
    rig_fresh(&rig);
    return 0;
}

static const struct reply *send_message(struct client *client, const char *body)
{
    const char *const headers[] = {":path", PATH,           "authorization",
                                   bearer,  "content-type", "application/json; charset=utf-8",
                                   NULL};

    return client_ask(client, headers, body);
}

static void assert_text(const struct reply *reply, const char *path, const char *want)
{
    g_autofree char *text = reply_text(reply, path);

    if (strcmp(text, want) != 0)
        fail_msg("%s is '%s', not '%s', in %s", path, text, want, reply->body);
}

static void test_accepts_and_counts(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const struct reply *reply = send_message(client, GOOD);
    g_autofree char *name = reply_text(reply, "name");

    (void)state;
    assert_int_equal(reply->status, 200);
    assert_true(g_str_has_prefix(name, "projects/" SIM_PROJECT "/messages/"));
    send_message(client, GOOD);
    send_message(client,
                 "{\"message\":{\"fid\":\"abc2\",\"data\":{\"alert\":\"A1\",\"v\":\"1\"}}}");
    send_message(client,
                 "{\"message\":{\"token\":\"abc\",\"data\":{\"alert\":\"A1\",\"v\":\"2\"}}}");
    assert_int_equal(rig_stat(&rig, "fcm", "requests", NULL), 4);
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 4);
    assert_int_equal(rig_stat(&rig, "fcm", "distinct", NULL), 3);
    assert_int_equal(rig_stat(&rig, "fcm", "duplicates", NULL), 1);
    assert_true(rig_stat(&rig, "fcm", "first_us", NULL) > 0);
    assert_true(rig_stat(&rig, "fcm", "last_us", NULL) >= rig_stat(&rig, "fcm", "first_us", NULL));
}

static void test_dry_run_is_not_a_delivery(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    assert_text(send_message(client, "{\"validate_only\":true,\"message\":{\"token\":\"abc\"}}"),
                "name", "projects/" SIM_PROJECT "/messages/fake_message_id");
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 0);
    assert_int_equal(rig_stat(&rig, "fcm", "validated", NULL), 1);
}

static void test_registrations_by_name(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const struct reply *reply = send_message(client, "{\"message\":{\"token\":\"dead-1\"}}");

    (void)state;
    assert_int_equal(reply->status, 404);
    assert_text(reply, "error.code", "404");
    assert_text(reply, "error.status", "NOT_FOUND");
    assert_text(reply, "error.message", "Requested entity was not found.");
    assert_text(reply, "error.details.0.@type",
                "type.googleapis.com/google.firebase.fcm.v1.FcmError");
    assert_text(reply, "error.details.0.errorCode", "UNREGISTERED");
    reply = send_message(client, "{\"message\":{\"token\":\"other-1\"}}");
    assert_int_equal(reply->status, 403);
    assert_text(reply, "error.status", "PERMISSION_DENIED");
    assert_text(reply, "error.details.0.errorCode", "SENDER_ID_MISMATCH");
    assert_int_equal(rig_stat(&rig, "fcm", "rejected", "UNREGISTERED"), 1);
    assert_int_equal(rig_stat(&rig, "fcm", "rejected", "SENDER_ID_MISMATCH"), 1);
}

static void test_bad_message_names_its_field(void **state)
{
    static const struct {
        const char *body, *field;
    } cases[] = {
        {"{\"message\":{\"token\":\"abc\",\"data\":{\"from\":\"x\"}}}", "message.data"},
        {"{\"message\":{\"token\":\"a b\"}}", "message.token"},
        {"{\"message\":{\"token\":\"abc\",\"android\":{\"ttl\":\"60\"}}}", "message.android.ttl"},
    };
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const struct reply *reply = send_message(client, cases[i].body);
        assert_int_equal(reply->status, 400);
        assert_text(reply, "error.status", "INVALID_ARGUMENT");
        assert_text(reply, "error.details.0.errorCode", "INVALID_ARGUMENT");
        assert_text(reply, "error.details.1.@type", "type.googleapis.com/google.rpc.BadRequest");
        assert_text(reply, "error.details.1.fieldViolations.0.field", cases[i].field);
    }
}

static void test_too_big_has_no_details(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    g_autofree char *text = g_strnfill(4096, 'x');
    g_autofree char *body =
        g_strdup_printf("{\"message\":{\"token\":\"abc\",\"data\":{\"k\":\"%s\"}}}", text);
    const struct reply *reply = send_message(client, body);

    (void)state;
    assert_int_equal(reply->status, 400);
    assert_text(reply, "error.message", "Message is too big");
    assert_text(reply, "error.details.0.errorCode", "");
}

static void test_credential_is_checked(void **state)
{
    static const char *const wrong[] = {"Bearer ya29.forged", "Basic abc", "Bearer", "x", NULL};
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const char *const none[] = {":path", PATH, "content-type", "application/json", NULL};
    const struct reply *reply = client_ask(client, none, GOOD);

    (void)state;
    assert_int_equal(reply->status, 401);
    assert_text(reply, "error.status", "UNAUTHENTICATED");
    assert_text(reply, "error.details.0.errorCode", "");
    for (size_t i = 0; wrong[i] != NULL; i++) {
        const char *const headers[] = {
            ":path", PATH, "authorization", wrong[i], "content-type", "application/json", NULL};
        assert_int_equal(client_ask(client, headers, GOOD)->status, 401);
    }
    assert_int_equal(rig_stat(&rig, "fcm", "rejected", "UNAUTHENTICATED"), 5);
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 0);
}

static void test_path_and_type_are_checked(void **state)
{
    static const struct {
        const char *method, *path, *type;
        int status;
    } cases[] = {
        {"GET", PATH, "application/json", 404},
        {"POST", "/v1/projects/" SIM_PROJECT "/messages", "application/json", 404},
        {"POST", "/v1/projects/another/messages:send", "application/json", 403},
        {"POST", "/", "application/json", 404},
        {"POST", PATH, "application/x-www-form-urlencoded", 400},
        {"POST", PATH, "application/jsonx", 400},
        {"POST", PATH, "application/json", 200},
    };
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *const headers[] = {":method",      cases[i].method, ":path",
                                       cases[i].path,  "authorization", bearer,
                                       "content-type", cases[i].type,   NULL};
        assert_int_equal(client_ask(client, headers, GOOD)->status, cases[i].status);
    }
}

static void test_every_reason_as_fault(void **state)
{
    static const struct {
        const char *reason, *grpc, *code;
        int status;
    } cases[] = {
        {"INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", 400},
        {"UNAUTHENTICATED", "UNAUTHENTICATED", "", 401},
        {"THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", 401},
        {"SENDER_ID_MISMATCH", "PERMISSION_DENIED", "SENDER_ID_MISMATCH", 403},
        {"UNREGISTERED", "NOT_FOUND", "UNREGISTERED", 404},
        {"QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", 429},
        {"INTERNAL", "INTERNAL", "INTERNAL", 500},
        {"UNSPECIFIED_ERROR", "UNKNOWN", "UNSPECIFIED_ERROR", 500},
        {"UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE", 503},
    };
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *fault = g_strdup_printf(
            "\"channel\":\"fcm\",\"do\":{\"reason\":\"%s\"},\"count\":1", cases[i].reason);
        const struct reply *reply;
        rig_fault(&rig, fault);
        reply = send_message(client, GOOD);
        assert_int_equal(reply->status, cases[i].status);
        assert_text(reply, "error.status", cases[i].grpc);
        assert_text(reply, "error.details.0.errorCode", cases[i].code);
        assert_int_equal(rig_stat(&rig, "fcm", "rejected", cases[i].reason), 1);
    }
    assert_int_equal(send_message(client, GOOD)->status, 200);
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 1);
}

static void test_quota_tells_when(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const struct reply *reply;

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"status\":429,\"retry_after\":7}");
    reply = send_message(client, GOOD);
    assert_string_equal(reply->retry_after, "7");
    assert_text(reply, "error.details.1.@type", "type.googleapis.com/google.rpc.QuotaFailure");
    assert_text(reply, "error.details.2.@type", "type.googleapis.com/google.rpc.RetryInfo");
    assert_text(reply, "error.details.2.retryDelay", "7s");
}

static void test_front_end_page(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const struct reply *reply;

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"status\":502}");
    reply = send_message(client, GOOD);
    assert_int_equal(reply->status, 502);
    assert_true(g_str_has_prefix(reply->content_type, "text/html"));
    assert_true(g_str_has_prefix(reply->body, "<!DOCTYPE html>"));
}

static void test_violated_field_can_be_chosen(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"status\":400,\"field\":\"message.data\"}");
    assert_text(send_message(client, GOOD), "error.details.1.fieldViolations.0.field",
                "message.data");
}

static void test_expired_bearer_stays_expired(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    g_autofree char *old = g_steal_pointer(&bearer);

    (void)state;
    bearer = g_strdup(old);
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"expired_token\":true},\"count\":1");
    assert_int_equal(send_message(client, GOOD)->status, 401);
    assert_int_equal(send_message(client, GOOD)->status, 401);
    g_free(bearer);
    bearer = rig_authorization(&rig, "fcm");
    assert_int_equal(send_message(client, GOOD)->status, 200);
}

static void test_faults_do_not_hide_defects(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"status\":503}");
    assert_int_equal(send_message(client, "{\"message\":{}}")->status, 400);
    assert_int_equal(send_message(client, GOOD)->status, 503);
}

static void test_dump_is_exact(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    g_autofree char *path = rig_path(&rig, "dump.tsv");
    g_autofree char *text = NULL, *want = NULL;
    g_autoptr(json_t) stats = rig_ctl(&rig, "{\"cmd\":\"stats\"}");
    int seq = (int)json_integer_value(json_object_get(stats, "seq"));

    (void)state;
    send_message(client, GOOD);
    send_message(client, "{\"message\":{\"token\":\"dead-7\"}}");
    send_message(client, GOOD);
    json_decref(rig_ctl(&rig, "{\"cmd\":\"dump\",\"channel\":\"fcm\",\"file\":\"%s\"}", path));
    text = rig_file(&rig, "dump.tsv");
    want = g_strdup_printf("abc\t2\t2\t%d\t%d\ndead-7\t0\t1\t%d\t%d\n", seq + 1, seq + 3, seq + 2,
                           seq + 2);
    assert_string_equal(text, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_accepts_and_counts, each),
        cmocka_unit_test_setup(test_dry_run_is_not_a_delivery, each),
        cmocka_unit_test_setup(test_registrations_by_name, each),
        cmocka_unit_test_setup(test_bad_message_names_its_field, each),
        cmocka_unit_test_setup(test_too_big_has_no_details, each),
        cmocka_unit_test_setup(test_credential_is_checked, each),
        cmocka_unit_test_setup(test_path_and_type_are_checked, each),
        cmocka_unit_test_setup(test_every_reason_as_fault, each),
        cmocka_unit_test_setup(test_quota_tells_when, each),
        cmocka_unit_test_setup(test_front_end_page, each),
        cmocka_unit_test_setup(test_violated_field_can_be_chosen, each),
        cmocka_unit_test_setup(test_expired_bearer_stays_expired, each),
        cmocka_unit_test_setup(test_faults_do_not_hide_defects, each),
        cmocka_unit_test_setup(test_dump_is_exact, each),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
