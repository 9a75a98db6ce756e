/* lib: loa_testbroker */
/* The generated configuration in a real mosquitto: who may connect, read and write what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/testbroker.h"

#define NOT_AUTHORIZED 0x87

static const struct mosquitto_device devices[] = {
    {1, "1.secret-1", "live"}, {2, "1.secret-2", "live"}, {4, "1.secret-4", "exercise"}};

static struct testbroker *broker;

static int set_up(void **state)
{
    (void)state;
    broker = testbroker_new(devices, G_N_ELEMENTS(devices));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    testbroker_free(broker);
    return 0;
}

static struct testclient *device(const char *user, const char *password)
{
    struct testclient *client = testclient_device(broker, user, password);

    assert_int_equal(testclient_connect(client), 0);
    return client;
}

static struct testclient *engine(void)
{
    struct testclient *client = testclient_engine(broker, "engine");

    assert_int_equal(testclient_connect(client), 0);
    return client;
}

static void test_passwords(void **state)
{
    static const struct {
        const char *user, *password;
        bool ok;
    } cases[] = {
        {"1", "1.secret-1", true},  {"1", "1.secret-2", false}, {"1", "", false},
        {"9", "1.secret-1", false}, {NULL, NULL, false},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct testclient *client = testclient_device(broker, cases[i].user, cases[i].password);
        int reason = testclient_connect(client);
        if (cases[i].ok)
            assert_int_equal(reason, 0);
        else
            assert_true(reason == -1 || reason >= 0x80);
        testclient_free(client);
    }
}

static void test_device_may_not_publish(void **state)
{
    static const char *const refused[] = {
        "loa/v1/emergency/all/A-1",
        "loa/v1/emergency/area/01273/A-1",
        "loa/v1/alert/all/A-1",
        "loa/v1/alert/area/01273/A-1",
        "loa/v1/exercise/all/A-1",
        "loa/v1/device/1",
        "loa/v1/device/2",
        "loa/v1/receipt/2",
        "loa/v1/canary",
        "anything",
    };
    struct testclient *watcher = engine(), *client = device("1", "1.secret-1");
    (void)state;

    testclient_subscribe(watcher, "loa/v1/receipt/+");
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++)
        assert_int_equal(testclient_publish(client, refused[i], "forged", true), NOT_AUTHORIZED);
    assert_int_equal(testclient_publish(client, "loa/v1/receipt/1", "mine", false), 0);
    testclient_until_messages(watcher, 1);
    const struct testmessage *only = testclient_messages(watcher)->pdata[0];
    assert_string_equal(only->topic, "loa/v1/receipt/1");
    assert_string_equal(only->payload, "mine");
    testclient_free(client);
    testclient_free(watcher);
}

/* The order of delivery is the order of publishing: what comes before the last one would be seen.
 */
static void test_device_reads_its_own(void **state)
{
    static const struct {
        const char *topic;
        bool seen;
    } cases[] = {
        {"loa/v1/device/2", false},          {"loa/v1/exercise/all/A-1", false},
        {"loa/v1/test/all/A-1", false},      {"loa/v1/canary", false},
        {"loa/v1/alert/area/01273/A", true}, {"loa/v1/device/1", true},
        {"loa/v1/emergency/all/A-1", true},  {"loa/v1/alert/all/A-1", true},
    };
    struct testclient *publisher = engine(), *client = device("1", "1.secret-1");
    unsigned seen = 0;
    (void)state;

    testclient_subscribe(client, "#");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_true(testclient_publish(publisher, cases[i].topic, "x", false) < 0x80);
    testclient_until_messages(client, 4);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        if (cases[i].seen) {
            const struct testmessage *message = testclient_messages(client)->pdata[seen++];
            assert_string_equal(message->topic, cases[i].topic);
        }
    }
    assert_int_equal(testclient_messages(client)->len, seen);
    testclient_free(client);
    testclient_free(publisher);
}

static void test_device_cannot_read_receipts(void **state)
{
    struct testclient *spy = device("2", "1.secret-2"), *client = device("1", "1.secret-1");
    struct testclient *publisher = engine();
    (void)state;

    testclient_subscribe(spy, "loa/v1/receipt/+");
    testclient_subscribe(spy, "$share/loa/loa/v1/receipt/+");
    testclient_subscribe(spy, "loa/v1/alert/all/+");
    testclient_publish(client, "loa/v1/receipt/1", "mine", false);
    testclient_publish(publisher, "loa/v1/alert/all/A-1", "last", false);
    testclient_until_messages(spy, 1);
    const struct testmessage *only = testclient_messages(spy)->pdata[0];
    assert_string_equal(only->payload, "last");
    testclient_free(publisher);
    testclient_free(client);
    testclient_free(spy);
}

static void test_exercise_device(void **state)
{
    struct testclient *publisher = engine(), *client = device("4", "1.secret-4");
    (void)state;

    testclient_subscribe(client, "loa/v1/+/all/+");
    testclient_publish(publisher, "loa/v1/test/all/A-1", "x", false);
    testclient_publish(publisher, "loa/v1/exercise/all/A-1", "x", false);
    testclient_until_messages(client, 1);
    const struct testmessage *message = testclient_messages(client)->pdata[0];
    assert_string_equal(message->topic, "loa/v1/exercise/all/A-1");
    testclient_free(client);
    testclient_free(publisher);
}

/* Another phone's client id is not to be had: the broker takes the user name. */
static void test_session_cannot_be_taken(void **state)
{
    struct testclient *victim = device("1", "1.secret-1");
    struct testclient *thief = testclient_device_as(broker, "2", "1.secret-2", "1");
    struct testclient *publisher = engine();
    (void)state;

    testclient_subscribe(victim, "loa/v1/alert/all/+");
    assert_int_equal(testclient_connect(thief), 0);
    testclient_publish(publisher, "loa/v1/alert/all/A-1", "still here", false);
    testclient_until_messages(victim, 1);
    testclient_free(publisher);
    testclient_free(thief);
    testclient_free(victim);
}

static void test_engine_needs_its_certificate(void **state)
{
    static const char *const refused[] = {"", "untrusted"};
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        struct testclient *client = testclient_engine(broker, refused[i]);
        assert_int_equal(testclient_connect(client), -1);
        testclient_free(client);
    }
    /* A certificate of the right authority but of somebody else publishes nothing. */
    struct testclient *stranger = testclient_engine(broker, "stranger");
    assert_int_equal(testclient_connect(stranger), 0);
    assert_int_equal(testclient_publish(stranger, "loa/v1/alert/all/A-1", "x", true),
                     NOT_AUTHORIZED);
    testclient_free(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_device_may_not_publish),
        cmocka_unit_test(test_device_reads_its_own),
        cmocka_unit_test(test_device_cannot_read_receipts),
        cmocka_unit_test(test_exercise_device),
        cmocka_unit_test(test_session_cannot_be_taken),
        cmocka_unit_test(test_engine_needs_its_certificate),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
