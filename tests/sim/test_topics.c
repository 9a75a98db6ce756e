/* Subscriptions and messages to topics: what the simulated provider takes, refuses and remembers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/sim/fcm_message.h"
#include "tests/sim/rig.h"

#define SEND   "/v1/projects/loa-rehearsal/messages:send"
#define SINGLE "/v1/projects/loa-rehearsal/registrations/"

static struct rig rig;
static char *authorization;

static int start(void **state)
{
    (void)state;
    rig_start(&rig, NULL);
    authorization = rig_authorization(&rig, "fcm");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    g_free(authorization);
    rig_stop(&rig);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    rig_fresh(&rig);
    return 0;
}

/* One request on its own connection; its status. text (may be NULL) gets the body, owned. */
static int ask(int port, const char *method, const char *path, const char *body, char **text)
{
    loa_auto(client) client = client_new(&rig, port);
    const char *const headers[] = {":method",
                                   method,
                                   ":path",
                                   path,
                                   "authorization",
                                   authorization,
                                   "content-type",
                                   "application/json",
                                   "access_token_auth",
                                   "true",
                                   NULL};
    const struct reply *reply = client_ask(client, headers, body);

    if (text != NULL)
        *text = g_strndup(reply->body, reply->body_len);
    return reply->status;
}

static int64_t topic(const char *name, const char *what)
{
    g_autoptr(json_t) topics = rig_ctl(&rig, "{\"cmd\":\"topics\"}");

    return json_integer_value(json_object_get(json_object_get(topics, name), what));
}

#define BATCH(tokens) "{\"to\":\"/topics/loa-all\",\"registration_tokens\":[" tokens "]}"

static void test_a_batch(void **state)
{
    g_autofree char *text = NULL;

    (void)state;
    assert_int_equal(ask(rig.iid, "POST", "/iid/v1:batchAdd",
                         BATCH("\"a\",\"dead-1\",\"b b\",\"full-1\",\"other-1\",\"c\""), &text),
                     200);
    assert_string_equal(text, "{\"results\":[{},{\"error\":\"NOT_FOUND\"},{\"error\":"
                              "\"INVALID_ARGUMENT\"},{\"error\":\"TOO_MANY_TOPICS\"},{\"error\":"
                              "\"PERMISSION_DENIED\"},{}]}");
    assert_int_equal(topic("loa-all", "subscribers"), 2);
    assert_int_equal(ask(rig.iid, "POST", "/iid/v1:batchRemove", BATCH("\"a\",\"never\""), NULL),
                     200);
    assert_int_equal(topic("loa-all", "subscribers"), 1);
}

static void test_batches_that_are_refused(void **state)
{
    g_autoptr(GString) many = g_string_new("{\"to\":\"/topics/t\",\"registration_tokens\":[\"0\"");
    const struct {
        const char *path, *body;
        int status;
    } cases[] = {
        {"/iid/v1:batchAdd", "{}", 400},
        {"/iid/v1:batchAdd", BATCH(""), 400},
        {"/iid/v1:batchAdd", "{\"to\":\"loa-all\",\"registration_tokens\":[\"a\"]}", 400},
        {"/iid/v1:batchAdd", "{\"to\":\"/topics/a b\",\"registration_tokens\":[\"a\"]}", 400},
        {"/iid/v1:batchAdd", many->str, 400},
        {"/iid/v1:batchMove", BATCH("\"a\""), 404},
    };

    (void)state;
    for (int i = 1; i <= 1000; i++)
        g_string_append_printf(many, ",\"%d\"", i);
    g_string_append(many, "]}");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_int_equal(
            ask(rig.iid, "POST", cases[i].path, i == 4 ? many->str : cases[i].body, NULL),
            cases[i].status);
    assert_int_equal(topic("t", "subscribers"), 0);
}

static void test_a_fault_changes_nothing(void **state)
{
    g_autofree char *text = NULL;

    (void)state;
    rig_fault(&rig, "\"channel\":\"iid\",\"match\":{\"prefix\":\"loa-\"},"
                    "\"count\":1,\"do\":{\"status\":429,\"retry_after\":3}");
    assert_int_equal(ask(rig.iid, "POST", "/iid/v1:batchAdd", BATCH("\"a\""), &text), 429);
    assert_string_equal(text, "{\"error\":\"RESOURCE_EXHAUSTED\"}");
    assert_int_equal(topic("loa-all", "subscribers"), 0);
    assert_int_equal(rig_stat(&rig, "iid", "rejected", "RESOURCE_EXHAUSTED"), 1);
    assert_int_equal(ask(rig.iid, "POST", "/iid/v1:batchAdd", BATCH("\"a\""), NULL), 200);
    assert_int_equal(topic("loa-all", "subscribers"), 1);
}

static void test_one_registration(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
        int64_t subscribers;
    } steps[] = {
        {"POST", SINGLE "fid%3A1/topicSubscriptions?topic_name=loa-all", 200, 1},
        {"POST", SINGLE "fid%3A1/topicSubscriptions?topic_name=loa-all", 409, 1},
        {"POST", SINGLE "dead-1/topicSubscriptions?topic_name=loa-all", 404, 1},
        {"POST", SINGLE "fid/topicSubscriptions", 404, 1},
        {"DELETE", SINGLE "fid%3A1/topicSubscriptions/loa-all", 200, 0},
        {"DELETE", SINGLE "fid%3A1/topicSubscriptions/loa-all", 404, 0},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        assert_int_equal(ask(rig.fcm, steps[i].method, steps[i].path, "{}", NULL), steps[i].status);
        assert_int_equal(topic("loa-all", "subscribers"), steps[i].subscribers);
    }
}

static char *message(const char *target, size_t size)
{
    g_autofree char *fill = g_strnfill(size - strlen("alert"
                                                     "A1"
                                                     "v"
                                                     "1"
                                                     "body"),
                                       'x');

    return g_strdup_printf(
        "{\"message\":{%s,\"data\":{\"alert\":\"A1\",\"v\":\"1\",\"body\":\"%s\"}}}", target, fill);
}

static void test_messages(void **state)
{
    const struct {
        const char *target;
        size_t size;
        int status;
    } cases[] = {
        {"\"topic\":\"loa-all\"", FCM_TOPIC_PAYLOAD_MAX, 200},
        {"\"topic\":\"loa-all\"", FCM_TOPIC_PAYLOAD_MAX + 1, 400},
        {"\"topic\":\"loa all\"", 100, 400},
        {"\"topic\":\"\"", 100, 400},
        {"\"topic\":\"loa-all\",\"token\":\"a\"", 100, 400},
    };
    g_autoptr(json_t) topics = NULL, stats = NULL;

    (void)state;
    ask(rig.iid, "POST", "/iid/v1:batchAdd", BATCH("\"a\",\"b\""), NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *body = message(cases[i].target, cases[i].size);
        assert_int_equal(ask(rig.fcm, "POST", SEND, body, NULL), cases[i].status);
    }
    assert_int_equal(topic("loa-all", "messages"), 1);
    assert_int_equal(topic("loa-all", "reached"), 2);
    topics = rig_ctl(&rig, "{\"cmd\":\"topics\",\"registration\":\"b\"}");
    assert_int_equal(json_array_size(json_object_get(topics, "topics")), 1);
    assert_int_equal(rig_stat(&rig, "fcm", "distinct", NULL), 0); /* a topic is no phone */
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 1);
}

static void test_a_dry_run_reaches_nobody(void **state)
{
    (void)state;
    assert_int_equal(ask(rig.fcm, "POST", SEND,
                         "{\"validate_only\":true,\"message\":{\"topic\":\"loa-all\"}}", NULL),
                     200);
    assert_int_equal(topic("loa-all", "messages"), 0);
    assert_int_equal(rig_stat(&rig, "fcm", "validated", NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_batch, fresh),
        cmocka_unit_test_setup(test_batches_that_are_refused, fresh),
        cmocka_unit_test_setup(test_a_fault_changes_nothing, fresh),
        cmocka_unit_test_setup(test_one_registration, fresh),
        cmocka_unit_test_setup(test_messages, fresh),
        cmocka_unit_test_setup(test_a_dry_run_reaches_nobody, fresh),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
