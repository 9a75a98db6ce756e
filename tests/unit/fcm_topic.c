/* lib: loa_fcm */
/* FCM topics without a network: names, what fits, and what each answer means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/error.h"
#include "fcm/topic.h"
#include "tests/unit/channel_rig.h"

static void test_names(void **state)
{
    static const char *const cases[][3] = {
        {"live", "", "loa-all"},
        {"live", "01273", "loa-area-01273"},
        {"exercise", "", "loa-exercise-all"},
        {"test", "01279", "loa-test-area-01279"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = fcm_topic_name(cases[i][0], cases[i][1]);
        assert_string_equal(name, cases[i][2]);
    }
}

static void test_the_message_names_a_topic_and_no_phone(void **state)
{
    struct message m = rig_message();
    g_autofree char *text = fcm_topic_body(&m, "loa-all", RIG_NOW_S + 60, false, NULL);
    g_autoptr(json_t) body = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    g_autoptr(json_t) fields = message_to_json(&m, NULL);
    const json_t *message = json_object_get(body, "message");

    (void)state;
    assert_true(json_is_false(json_object_get(body, "validate_only")));
    assert_int_equal(json_object_size(message), 3);
    assert_string_equal(json_string_value(json_object_get(message, "topic")), "loa-all");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(message, "android"), "ttl")), "3540s");
    assert_true(json_equal(json_object_get(message, "data"), fields)); /* the same signed fields */
    assert_non_null(json_object_get(fields, "sig"));
}

/* Cuts the body so that the message has exactly so many bytes. */
static void set_size(struct message *m, char *text, size_t size)
{
    m->body = "";
    size_t rest = fcm_topic_size(m) + strlen("body");
    memset(text, 'a', size - rest);
    text[size - rest] = '\0';
    m->body = text;
}

static void test_half_the_size_of_a_push(void **state)
{
    struct message m = rig_message();
    g_autofree char *text = g_malloc(4096), *body = NULL;
    g_autoptr(GError) error = NULL;

    (void)state;
    set_size(&m, text, FCM_TOPIC_PAYLOAD_MAX);
    assert_int_equal(fcm_topic_size(&m), FCM_TOPIC_PAYLOAD_MAX);
    body = fcm_topic_body(&m, "loa-all", RIG_NOW_S, true, &error);
    assert_non_null(body);
    assert_non_null(strstr(body, "\"validate_only\":true"));
    set_size(&m, text, FCM_TOPIC_PAYLOAD_MAX + 7);
    assert_null(fcm_topic_body(&m, "loa-all", RIG_NOW_S, false, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    assert_non_null(strstr(error->message, "the text \"vi\" is 2055 bytes"));
    assert_non_null(strstr(error->message, "7 more than the 2048"));
    assert_non_null(strstr(error->message, "title 9, body "));
    assert_non_null(strstr(error->message, "leave out url and source document"));
    assert_null(strstr(error->message, "whole province")); /* eleven bytes of areas cannot help */
}

static void test_a_long_list_of_communes(void **state)
{
    struct message m = rig_message();
    g_autofree char *text = g_malloc(4096);
    g_autofree char *areas = g_strnfill(335, '1');
    g_autoptr(GError) error = NULL;

    (void)state;
    m.areas = areas;
    set_size(&m, text, FCM_TOPIC_PAYLOAD_MAX + 100);
    assert_false(fcm_topic_fits(&m, &error));
    assert_non_null(strstr(error->message, "whole province"));
}

static void test_a_batch(void **state)
{
    static const char *const tokens[] = {"one", "tw\"o"};
    g_autofree char *text = fcm_topic_batch_body("loa-all", tokens, 2);

    (void)state;
    assert_string_equal(
        text, "{\"to\":\"/topics/loa-all\",\"registration_tokens\":[\"one\",\"tw\\\"o\"]}");
}

static void test_answers_of_a_batch(void **state)
{
    static const struct {
        const char *word;
        enum fcm_topic_result result;
    } cases[] = {
        {"NOT_FOUND", FCM_TOPIC_DEAD},          {"INVALID_ARGUMENT", FCM_TOPIC_DEAD},
        {"TOO_MANY_TOPICS", FCM_TOPIC_REFUSED}, {"PERMISSION_DENIED", FCM_TOPIC_REFUSED},
        {"SOMETHING_NEW", FCM_TOPIC_REFUSED},   {"RESOURCE_EXHAUSTED", FCM_TOPIC_AGAIN},
        {"DEADLINE_EXCEEDED", FCM_TOPIC_AGAIN}, {"INTERNAL", FCM_TOPIC_AGAIN},
        {"UNKNOWN", FCM_TOPIC_AGAIN},
    };
    struct fcm_topic_answer out[2];

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *body =
            g_strdup_printf("{\"results\":[{},{\"error\":\"%s\"}]}", cases[i].word);
        assert_true(fcm_topic_batch_read(body, strlen(body), 2, out));
        assert_int_equal(out[0].result, FCM_TOPIC_DONE);
        assert_string_equal(out[0].reason, "");
        assert_int_equal(out[1].result, cases[i].result);
        assert_string_not_equal(out[1].reason, "");
    }
}

static void test_what_is_no_answer_of_a_batch(void **state)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        "{\"error\":\"INTERNAL\"}",
        "{\"results\":[{}]}",
        "{\"results\":[{},{},{}]}",
        "{\"results\":[{},\"NOT_FOUND\"]}",
        "{\"results\":{\"0\":{},\"1\":{}}}",
    };
    struct fcm_topic_answer out[2] = {{FCM_TOPIC_AGAIN, "before"}, {FCM_TOPIC_AGAIN, "before"}};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(bodies); i++)
        assert_false(fcm_topic_batch_read(bodies[i], strlen(bodies[i]), 2, out));
    assert_string_equal(out[0].reason, "before");
    assert_string_equal(out[1].reason, "before");
}

static void test_answers_to_one_registration(void **state)
{
    static const char gone[] = "{\"error\":{\"code\":404,\"status\":\"NOT_FOUND\"}}";
    static const char other[] = "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\","
                                "\"details\":[{\"errorCode\":\"SENDER_ID_MISMATCH\"}]}}";
    static const struct {
        enum fcm_topic_op op;
        long status;
        const char *body;
        enum fcm_topic_result result;
        const char *reason;
    } cases[] = {
        {FCM_TOPIC_ADD, 200, "{\"topic_name\":\"t\"}", FCM_TOPIC_DONE, ""},
        {FCM_TOPIC_ADD, 409, "{\"error\":{\"status\":\"ALREADY_EXISTS\"}}", FCM_TOPIC_DONE, ""},
        {FCM_TOPIC_ADD, 404, gone, FCM_TOPIC_DEAD, "NOT_FOUND"},
        {FCM_TOPIC_REMOVE, 404, gone, FCM_TOPIC_DONE, ""},
        {FCM_TOPIC_ADD, 404, "<html>", FCM_TOPIC_REFUSED, "undocumented answer"},
        {FCM_TOPIC_REMOVE, 404, "<html>", FCM_TOPIC_REFUSED, "undocumented answer"},
        {FCM_TOPIC_ADD, 403, other, FCM_TOPIC_REFUSED, "SENDER_ID_MISMATCH"},
        {FCM_TOPIC_ADD, 429, "", FCM_TOPIC_AGAIN, "RESOURCE_EXHAUSTED"},
        {FCM_TOPIC_ADD, 401, "", FCM_TOPIC_AGAIN, "UNAUTHENTICATED"},
        {FCM_TOPIC_REMOVE, 503, "<html>", FCM_TOPIC_AGAIN, "UNAVAILABLE"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct fcm_topic_answer answer = fcm_topic_single_read(
            cases[i].op, cases[i].status, cases[i].body, strlen(cases[i].body));
        assert_int_equal(answer.result, cases[i].result);
        assert_string_equal(answer.reason, cases[i].reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_the_message_names_a_topic_and_no_phone),
        cmocka_unit_test(test_half_the_size_of_a_push),
        cmocka_unit_test(test_a_long_list_of_communes),
        cmocka_unit_test(test_a_batch),
        cmocka_unit_test(test_answers_of_a_batch),
        cmocka_unit_test(test_what_is_no_answer_of_a_batch),
        cmocka_unit_test(test_answers_to_one_registration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
