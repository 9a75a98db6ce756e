/* lib: loa_testbroker */
/* Receipts over MQTT, from the phone to the row and back: confirmed when durable, once per device
 * counted, and only for alerts and devices that exist. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "mqtt/receipts.h"
#include "tests/support/mqttstage.h"
#include "tests/support/testlog.h"

#define RATE 2 /* a second, twenty at once */

struct world {
    struct mqttstage *mqtt;
    struct receipts *receipts;
    struct testclient *phone; /* device 1 */
    char *alert_id;
};

static bool is_up(void *user)
{
    const struct world *world = user;

    return brokers_up(world->mqtt->engine) == 1;
}

static struct world *world_new(const char *name)
{
    struct world *world = g_new0(struct world, 1);
    g_autoptr(GError) error = NULL;

    world->mqtt = mqttstage_new(name, 1);
    stage_devices(world->mqtt->stage, "mqtt", 3, true);
    stage_release(world->mqtt->stage, true);
    mqttstage_start(world->mqtt, "engine");
    world->receipts = receipts_new(world->mqtt->engine, world->mqtt->db, clock_system(), RATE);
    stage_until_true(is_up, world);
    g_autoptr(PGresult) res =
        db_query(world->mqtt->stage->db, "SELECT alert_id FROM broadcast", NULL, &error);
    assert_non_null(res);
    world->alert_id = g_strdup(db_get_text(res, 0, 0));
    world->phone = mqttstage_device(world->mqtt, 0, 1);
    testclient_subscribe(world->phone, "loa/v1/device/1");
    return world;
}

static void world_free(struct world *world)
{
    testclient_free(world->phone);
    receipts_free(world->receipts);
    mqttstage_free(world->mqtt);
    g_free(world->alert_id);
    g_free(world);
}

static void send_receipt(struct world *world, const char *alert_id, int version, const char *event)
{
    g_autofree char *json =
        g_strdup_printf("{\"alert\":\"%s\",\"v\":%d,\"event\":\"%s\"}", alert_id, version, event);

    assert_int_equal(testclient_publish(world->phone, "loa/v1/receipt/1", json, false), 0);
}

static void test_confirmed_when_durable(void **state)
{
    struct world *world = world_new("mqtt_receipt");
    struct stage *stage = world->mqtt->stage;
    (void)state;

    send_receipt(world, world->alert_id, 1, "shown");
    testclient_until_messages(world->phone, 1);
    const struct testmessage *message = testclient_messages(world->phone)->pdata[0];
    g_autofree char *want = g_strdup_printf(
        "{\"confirm\":[{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}]}", world->alert_id);
    assert_string_equal(message->topic, "loa/v1/device/1");
    assert_string_equal(message->payload, want);
    assert_false(message->retained);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM receipt WHERE device_id = 1"
                                      " AND shown_at IS NOT NULL AND opened_at IS NULL"),
                     1);
    send_receipt(world, world->alert_id, 1, "opened");
    testclient_until_messages(world->phone, 2);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM receipt WHERE opened_at IS NOT NULL"),
                     1);
    world_free(world);
}

/* A notification's receipt takes the same way and settles its push. */
static void test_notification(void **state)
{
    struct world *world = world_new("mqtt_notification");
    struct stage *stage = world->mqtt->stage;
    (void)state;

    stage_exec(stage, "INSERT INTO notification (dedupe_key, device_id, title, body, expires_at)"
                      " VALUES ('a', 1, 't', 'b', now() + interval '1 h')");
    stage_exec(stage, "INSERT INTO notification_push (notification_id, device_id, channel, state,"
                      " priority, expires_at) SELECT id, 1, 'apns', 'unstored', 5, expires_at"
                      " FROM notification");
    send_receipt(world, "n2", 1, "shown"); /* no such notification */
    send_receipt(world, "n1", 1, "shown");
    testclient_until_messages(world->phone, 1);
    const struct testmessage *message = testclient_messages(world->phone)->pdata[0];
    assert_string_equal(message->payload,
                        "{\"confirm\":[{\"alert\":\"n1\",\"v\":1,\"event\":\"shown\"}]}");
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM notification_end WHERE state = 'done'"),
                     1);
    stage_assert_sums(stage);
    world_free(world);
}

static void test_repeat_is_confirmed_again(void **state)
{
    struct world *world = world_new("mqtt_repeat");
    (void)state;

    for (unsigned i = 1; i <= 3; i++) {
        send_receipt(world, world->alert_id, 1, "shown");
        testclient_until_messages(world->phone, i);
    }
    assert_int_equal(stage_i64(world->mqtt->stage, "SELECT count(*) FROM receipt"), 1);
    world_free(world);
}

/* What is wrong gets no confirmation; the right one sent last shows that nothing came before it. */
static void test_wrong_receipts(void **state)
{
    struct world *world = world_new("mqtt_wrong");
    double malformed = metric_get(METRIC_RECEIPTS_REFUSED, "malformed");
    (void)state;

    send_receipt(world, "20200101-AAAAAA", 1, "shown"); /* no such alert */
    send_receipt(world, world->alert_id, 2, "shown");   /* no such version */
    send_receipt(world, world->alert_id, 1, "eaten");
    assert_int_equal(testclient_publish(world->phone, "loa/v1/receipt/1", "{", false), 0);
    assert_int_equal(testclient_publish(world->phone, "loa/v1/receipt/1", "", false), 0);
    send_receipt(world, world->alert_id, 1, "shown");
    testclient_until_messages(world->phone, 1);
    const struct testmessage *message = testclient_messages(world->phone)->pdata[0];
    assert_non_null(strstr(message->payload, world->alert_id));
    assert_true(metric_get(METRIC_RECEIPTS_REFUSED, "malformed") == malformed + 3);
    assert_int_equal(stage_i64(world->mqtt->stage, "SELECT count(*) FROM receipt"), 1);
    world_free(world);
}

static bool rate_was_refused(void *user)
{
    return metric_get(METRIC_RECEIPTS_REFUSED, "rate") > *(double *)user;
}

static void test_rate_of_one_device(void **state)
{
    struct world *world = world_new("mqtt_rate");
    double before = metric_get(METRIC_RECEIPTS_REFUSED, "rate");
    struct testclient *other = mqttstage_device(world->mqtt, 0, 2);
    g_autofree char *json =
        g_strdup_printf("{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}", world->alert_id);
    (void)state;

    for (int i = 0; i < RATE * 10 + 5; i++)
        send_receipt(world, world->alert_id, 1, "shown");
    testclient_until(world->phone, rate_was_refused, &before);
    /* Another device is not held back by it. */
    testclient_subscribe(other, "loa/v1/device/2");
    assert_int_equal(testclient_publish(other, "loa/v1/receipt/2", json, false), 0);
    testclient_until_messages(other, 1);
    testclient_free(other);
    world_free(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, testlog_setup, testlog_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_confirmed_when_durable),    TEST(test_notification),
        TEST(test_repeat_is_confirmed_again), TEST(test_wrong_receipts),
        TEST(test_rate_of_one_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
