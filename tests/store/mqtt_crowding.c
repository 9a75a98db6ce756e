/* lib: loa_testbroker */
/* What a real mosquitto does with a phone that is off, or on and reads nothing: information must
 * not take an emergency's place. The phones subscribe as docs/device-protocol.md tells them, and
 * one as it does not, to show why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/testbroker.h"

#define QUEUED_MAX 1000  /* max_queued_messages */
#define LIVE_MAX   500   /* that Loa keeps live at once: PUBLISHER_ALERTS_MAX */
#define BIG        60000 /* of these no socket holds many */

static const struct mosquitto_device devices[] = {
    {1, "1.secret-1", "live"}, {2, "1.secret-2", "live"}, {3, "1.secret-3", "live"}};

static struct testbroker *broker;
static struct testclient *engine;

static int set_up(void **state)
{
    (void)state;
    broker = testbroker_new(devices, G_N_ELEMENTS(devices));
    engine = testclient_engine(broker, "engine");
    assert_int_equal(testclient_connect(engine), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    testclient_free(engine);
    testbroker_free(broker);
    return 0;
}

static struct testclient *phone_connect(const char *user)
{
    g_autofree char *password = g_strdup_printf("1.secret-%s", user);
    struct testclient *phone = testclient_device_kept(broker, user, password);

    assert_int_equal(testclient_connect(phone), 0);
    return phone;
}

/* As the protocol says: what may be queued first. */
static void phone_subscribe(struct testclient *phone, const char *user)
{
    g_autofree char *own = g_strdup_printf("loa/v1/device/%s", user);

    testclient_subscribe(phone, "loa/v1/emergency/all/+");
    testclient_subscribe(phone, own);
    testclient_subscribe_qos(phone, "loa/v1/alert/all/+", 0);
}

static void publish(const char *topic, const char *payload, bool retain)
{
    assert_true(testclient_publish(engine, topic, payload, retain) < 0x80);
}

/* All under one topic, so that one remains retained: a queue counts messages, not topics. */
static void publish_information(unsigned n, size_t len)
{
    g_autofree char *payload = g_strnfill(len, 'i');

    testclient_publish_many(engine, "loa/v1/alert/all/I-1", payload, true, n);
}

static bool is_emergency(const struct testmessage *message)
{
    return strcmp(message->topic, "loa/v1/emergency/all/E-1") == 0;
}

static unsigned emergencies(const struct testclient *phone)
{
    const GPtrArray *messages = testclient_messages(phone);
    unsigned n = 0;

    for (guint i = 0; i < messages->len; i++)
        n += is_emergency(messages->pdata[i]) ? 1 : 0;
    return n;
}

static bool has_emergency(void *user)
{
    return emergencies(user) > 0;
}

static void test_phone_that_was_off(void **state)
{
    struct testclient *phone = phone_connect("1");
    (void)state;

    phone_subscribe(phone, "1");
    testclient_disconnect(phone);
    publish_information(QUEUED_MAX + 500, 100);
    publish("loa/v1/emergency/all/E-1", "e", false); /* only the session's queue can bring it */
    assert_int_equal(testclient_connect(phone), 0);
    testclient_until(phone, has_emergency, phone);
    assert_int_equal(testclient_messages(phone)->len, 1); /* nothing before it */
    testclient_subscribe_qos(phone, "loa/v1/alert/all/+", 0);
    testclient_until_messages(phone, 2); /* and what is still live, once */
    const struct testmessage *last = testclient_messages(phone)->pdata[1];
    assert_string_equal(last->topic, "loa/v1/alert/all/I-1");
    assert_true(last->retained);
    testclient_free(phone);
}

/* The broker drops the newest when a queue is full. A phone that takes information with QoS 1 shows
 * what the two roots and the two levels are for. Its way out is what is retained. */
static void test_phone_that_queues_information(void **state)
{
    struct testclient *phone = phone_connect("2");
    (void)state;

    testclient_subscribe(phone, "loa/v1/alert/all/+");
    testclient_subscribe(phone, "loa/v1/emergency/all/+");
    testclient_disconnect(phone);
    publish_information(QUEUED_MAX + 500, 100);
    publish("loa/v1/emergency/all/E-1", "e", true);
    assert_int_equal(testclient_connect(phone), 0);
    testclient_until_messages(phone, QUEUED_MAX);
    assert_int_equal(emergencies(phone), 0);
    testclient_subscribe(phone, "loa/v1/emergency/all/+");
    testclient_until(phone, has_emergency, phone);
    testclient_free(phone);
}

/* Connected, but its packets do not get away. All that is live may wait for it, and the emergency
 * still finds a place on the same connection. */
static void test_phone_that_reads_nothing(void **state)
{
    struct testclient *phone = phone_connect("3");
    (void)state;

    phone_subscribe(phone, "3");
    publish_information(LIVE_MAX, BIG);
    publish("loa/v1/emergency/all/E-1", "e", false);
    testclient_until(phone, has_emergency, phone);
    assert_int_equal(testclient_messages(phone)->len, LIVE_MAX + 1);
    testclient_free(phone);
}

/* Beyond that, this broker drops every packet for the connection, an emergency's, too, and the
 * answers to pings. The session has it: it is the first thing on the next connection. */
static void test_phone_that_is_stuck(void **state)
{
    struct testclient *phone = phone_connect("3");
    (void)state;

    phone_subscribe(phone, "3");
    publish_information(2 * QUEUED_MAX, BIG);
    publish("loa/v1/emergency/all/E-1", "e", false);
    testclient_cut(phone);
    assert_int_equal(testclient_messages(phone)->len, 0);
    assert_int_equal(testclient_connect(phone), 0);
    testclient_until(phone, has_emergency, phone);
    assert_int_equal(testclient_messages(phone)->len, 1);
    testclient_free(phone);
}

/* As many unacknowledged notices as the broker lets out: the emergency comes behind them. */
static void test_phone_that_acknowledges_nothing(void **state)
{
    struct testclient *phone = phone_connect("1");
    (void)state;

    phone_subscribe(phone, "1");
    testclient_publish_many(engine, "loa/v1/device/1", "n", false, 300); /* 100 are let out */
    publish("loa/v1/emergency/all/E-1", "e", false);
    testclient_until(phone, has_emergency, phone);
    testclient_free(phone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_phone_that_was_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_phone_that_queues_information, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_phone_that_reads_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_phone_that_is_stuck, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_phone_that_acknowledges_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
