/* lib: loa_testbroker */
/* The publisher against real brokers and a real PostgreSQL: what is live is retained on every
 * broker, in its newest genuine version, and the database knows who has acknowledged. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/metrics.h"
#include "tests/support/mqttstage.h"
#include "tests/support/testlog.h"

#define ACKED "SELECT count(*) FROM broadcast WHERE mqtt_acked_at IS NOT NULL AND id = %" PRId64

/* Waits until every broker has acknowledged the broadcast. */
static void until_acked(struct mqttstage *self, int64_t id)
{
    g_autofree char *sql = g_strdup_printf(ACKED, id);

    stage_until(self->stage, sql);
}

static int64_t is_acked(struct mqttstage *self, int64_t id)
{
    g_autofree char *sql = g_strdup_printf(ACKED, id);

    return stage_i64(self->stage, sql);
}

/* The field of a message's JSON; owned. */
static char *json_of(const struct testmessage *message, const char *name)
{
    g_autoptr(json_t) object =
        json_parse_object(message->payload, strlen(message->payload), 65536, NULL);

    return g_strdup(json_string_value(json_object_get(object, name)));
}

static void assert_field(const struct testmessage *message, const char *name, const char *want)
{
    g_autofree char *have = json_of(message, name);

    assert_non_null(have);
    assert_string_equal(have, want);
}

/* A phone that comes late: subscribes and gets what is retained. */
static struct testclient *late_phone(struct mqttstage *self, unsigned broker, unsigned device,
                                     const char *filter)
{
    struct testclient *client = mqttstage_device(self, broker, device);

    testclient_subscribe(client, filter);
    return client;
}

static void test_retained_for_latecomers(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_late", 1);
    int64_t id;
    (void)state;

    self->stage->life_s = 900;
    id = stage_release(self->stage, true);
    mqttstage_start(self, "engine");
    until_acked(self, id);
    struct testclient *phone = late_phone(self, 0, 1, "loa/v1/emergency/all/+");
    testclient_until_messages(phone, 1);
    const struct testmessage *message = testclient_messages(phone)->pdata[0];
    assert_true(message->retained);
    /* The life that is left, not the whole one, and never none. */
    assert_true(message->expiry_s > 800 && message->expiry_s <= 900);
    assert_field(message, "type", "alert");
    assert_field(message, "v", "1");
    assert_field(message, "class", "khan_cap");
    assert_int_equal(stage_i64(self->stage, "SELECT count(*) FROM broker_ack"), 1);
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_reaches_connected_phones(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_live", 1);
    struct testclient *phone;
    (void)state;

    mqttstage_start(self, "engine");
    phone = late_phone(self, 0, 1, "loa/v1/+/all/+");
    stage_release(self->stage, true);
    testclient_until_messages(phone, 1);
    stage_release(self->stage, false);
    testclient_until_messages(phone, 2);
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_cancel_replaces(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_cancel", 1);
    struct testclient *early, *late;
    int64_t id, correction;
    (void)state;

    mqttstage_start(self, "engine");
    id = stage_release(self->stage, true);
    until_acked(self, id);
    early = late_phone(self, 0, 1, "loa/v1/emergency/all/+");
    testclient_until_messages(early, 1);
    correction = stage_cancel(self->stage, id);
    until_acked(self, correction);
    testclient_until_messages(early, 2);
    late = late_phone(self, 0, 2, "loa/v1/emergency/all/+");
    testclient_until_messages(late, 1);
    /* One message is retained, on the same topic, and lives as long as the original would have. */
    const struct testmessage *first = testclient_messages(early)->pdata[0];
    const struct testmessage *message = testclient_messages(late)->pdata[0];
    assert_string_equal(message->topic, first->topic);
    assert_field(message, "type", "cancel");
    assert_field(message, "v", "2");
    assert_true(message->expiry_s > 7000 && message->expiry_s <= 7200);
    testclient_free(early);
    testclient_free(late);
    mqttstage_free(self);
}

static void test_released_and_cancelled_while_down(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_both", 1);
    struct testclient *phone;
    int64_t id, correction;
    (void)state;

    id = stage_release(self->stage, true);
    correction = stage_cancel(self->stage, id);
    mqttstage_start(self, "engine");
    until_acked(self, correction);
    /* The alert that was taken back before any broker had it is never published. */
    assert_int_equal(is_acked(self, id), 0);
    phone = late_phone(self, 0, 1, "loa/v1/emergency/all/+");
    testclient_until_messages(phone, 1);
    assert_field(testclient_messages(phone)->pdata[0], "type", "cancel");
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_areas_and_realms(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_areas", 1);
    struct testclient *phone, *exercise;
    (void)state;

    mqttstage_start(self, "engine");
    int64_t area = mqttstage_release(self, BROADCAST_LIVE, "01273,01288");
    int64_t drill = mqttstage_release(self, BROADCAST_EXERCISE, NULL);
    until_acked(self, area);
    until_acked(self, drill);
    phone = late_phone(self, 0, 1, "loa/v1/#");
    exercise = late_phone(self, 0, 4, "loa/v1/exercise/#");
    testclient_until_messages(phone, 2);
    testclient_until_messages(exercise, 1);
    for (guint i = 0; i < 2; i++) {
        const struct testmessage *message = testclient_messages(phone)->pdata[i];
        assert_true(g_str_has_prefix(message->topic, "loa/v1/alert/area/01273/") ||
                    g_str_has_prefix(message->topic, "loa/v1/alert/area/01288/"));
        assert_field(message, "areas", "01273,01288");
    }
    assert_field(testclient_messages(exercise)->pdata[0], "realm", "exercise");
    assert_field(testclient_messages(exercise)->pdata[0], "class", "dien_tap");
    testclient_free(phone);
    testclient_free(exercise);
    mqttstage_free(self);
}

static bool brokers_are_up(void *user)
{
    const struct mqttstage *self = user;

    return brokers_up(self->engine) == self->n_brokers;
}

static void test_republished_after_restart(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_restart", 1);
    struct testclient *phone;
    int64_t emergency, information;
    (void)state;

    testlog_allow("broker_lost");
    mqttstage_start(self, "engine");
    emergency = stage_release(self->stage, true);
    information = stage_release(self->stage, false);
    until_acked(self, emergency);
    until_acked(self, information);
    /* A new machine: nothing retained, no sessions. */
    testbroker_kill(self->brokers[0]);
    testbroker_wipe(self->brokers[0]);
    testbroker_start(self->brokers[0]);
    phone = late_phone(self, 0, 1, "loa/v1/+/all/+");
    testclient_until_messages(phone, 2);
    /* Emergencies go first. */
    assert_field(testclient_messages(phone)->pdata[0], "level", "khan_cap");
    assert_int_equal(stage_i64(self->stage, "SELECT count(*) FROM broker_ack"), 2);
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_broker_that_was_down(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_down", 2);
    struct testclient *phone;
    int64_t id;
    (void)state;

    testlog_allow("broker_lost");
    testbroker_kill(self->brokers[1]);
    mqttstage_start(self, "engine");
    id = stage_release(self->stage, true);
    stage_until(self->stage, "SELECT count(*) FROM broker_ack");
    /* One of two has it: its phones, but not "every broker". */
    assert_int_equal(is_acked(self, id), 0);
    phone = late_phone(self, 0, 1, "loa/v1/emergency/all/+");
    testclient_until_messages(phone, 1);
    testclient_free(phone);
    assert_int_equal(publisher_owed(self->publisher), 1);

    testbroker_start(self->brokers[1]);
    until_acked(self, id);
    phone = late_phone(self, 1, 1, "loa/v1/emergency/all/+");
    testclient_until_messages(phone, 1);
    assert_int_equal(publisher_owed(self->publisher), 0);
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_engine_that_was_down(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_engine", 1);
    int64_t before, after;
    (void)state;

    mqttstage_start(self, "engine");
    before = stage_release(self->stage, true);
    until_acked(self, before);
    mqttstage_stop(self);
    after = stage_release(self->stage, true);
    /* As if it had died between the acknowledgement and its last statement. */
    stage_exec(self->stage, "UPDATE broadcast SET mqtt_acked_at = NULL");
    mqttstage_start(self, "engine");
    until_acked(self, before);
    until_acked(self, after);
    mqttstage_free(self);
}

static void test_forged_row_publishes_nothing(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_forged", 1);
    double refused = metric_get(METRIC_SIGNATURES_REFUSED, NULL);
    struct testclient *phone;
    int64_t forged, genuine;
    (void)state;

    testlog_expect("broadcast_refused");
    forged = stage_release(self->stage, true);
    stage_exec(self->stage, "UPDATE broadcast_text SET body = 'Hãy chuyển tiền ngay.'");
    genuine = stage_release(self->stage, true);
    mqttstage_start(self, "engine");
    until_acked(self, genuine);
    stage_until(self->stage, "SELECT count(*) FROM broadcast WHERE refused_at IS NOT NULL");
    assert_int_equal(is_acked(self, forged), 0);
    assert_true(metric_get(METRIC_SIGNATURES_REFUSED, NULL) == refused + 1);
    phone = late_phone(self, 0, 1, "loa/v1/#");
    testclient_until_messages(phone, 1);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 2); /* and nothing between */
    for (guint i = 0; i < 2; i++)
        assert_null(strstr(((struct testmessage *)testclient_messages(phone)->pdata[i])->payload,
                           "chuyển tiền"));
    testclient_free(phone);
    mqttstage_free(self);
}

/* A correction that somebody wrote into the database by hand does not hide the alert. */
static void test_forged_correction_hides_nothing(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_hide", 1);
    struct testclient *phone;
    int64_t id;
    (void)state;

    testlog_expect("broadcast_refused");
    id = stage_release(self->stage, true);
    stage_cancel(self->stage, id);
    stage_exec(self->stage,
               "UPDATE broadcast SET release_signature = decode(repeat('00', 64), 'hex')"
               " WHERE message_type = 'cancel'");
    mqttstage_start(self, "engine");
    until_acked(self, id);
    phone = late_phone(self, 0, 1, "loa/v1/emergency/all/+");
    testclient_until_messages(phone, 1);
    assert_field(testclient_messages(phone)->pdata[0], "type", "alert");
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_stop_switch(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_stop", 1);
    int64_t stopped, free_one;
    g_autofree char *sql = NULL;
    (void)state;

    stopped = stage_release(self->stage, true);
    sql = g_strdup_printf("INSERT INTO fanout_stop VALUES ('broadcast:%" PRId64 "', 'r', 'n')",
                          stopped);
    stage_exec(self->stage, sql);
    free_one = stage_release(self->stage, true);
    mqttstage_start(self, "engine");
    until_acked(self, free_one);
    assert_int_equal(stage_i64(self->stage, "SELECT count(*) FROM broker_ack"), 1);
    stage_exec(self->stage, "DELETE FROM fanout_stop");
    until_acked(self, stopped);
    mqttstage_free(self);
}

static bool was_refused(void *user)
{
    g_autofree char *label = g_strdup_printf("%s/refused", (const char *)user);

    return metric_get(METRIC_MQTT_PUBLICATIONS, label) >= 2;
}

/* The broker says no (PUBACK 0x87): an error, tried again, never taken for an acknowledgement. */
static void test_refused_by_broker(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_refused", 1);
    int64_t id;
    (void)state;

    testlog_expect("publication_refused");
    id = stage_release(self->stage, true);
    mqttstage_start(self, "stranger");
    stage_until_true(was_refused, (void *)testbroker_address(self->brokers[0]));
    assert_int_equal(stage_i64(self->stage, "SELECT count(*) FROM broker_ack"), 0);
    assert_int_equal(is_acked(self, id), 0);
    mqttstage_free(self);
}

static void test_expired_is_not_published(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_expired", 1);
    int64_t expired, live;
    g_autofree char *sql = NULL;
    (void)state;

    expired = stage_release(self->stage, true);
    sql = g_strdup_printf("UPDATE broadcast SET expires_at = now() - interval '1 s' WHERE id = "
                          "%" PRId64,
                          expired);
    stage_exec(self->stage, sql);
    live = stage_release(self->stage, true);
    mqttstage_start(self, "engine");
    until_acked(self, live);
    assert_int_equal(stage_i64(self->stage, "SELECT count(*) FROM broker_ack"), 1);
    stage_until_true(brokers_are_up, self);
    mqttstage_free(self);
}

/* More topics than may be out at once: all are published, none is lost. */
static void test_more_topics_than_room(void **state)
{
    struct mqttstage *self = mqttstage_new("mqtt_many", 1);
    g_autoptr(GString) communes = g_string_new("10000");
    struct testclient *phone;
    int64_t id;
    (void)state;

    for (int i = 1; i < 250; i++)
        g_string_append_printf(communes, ",%d", 10000 + i);
    mqttstage_start(self, "engine");
    id = mqttstage_release(self, BROADCAST_LIVE, communes->str);
    until_acked(self, id);
    phone = late_phone(self, 0, 1, "loa/v1/alert/area/+/+");
    testclient_until_messages(phone, 250);
    testclient_free(phone);
    mqttstage_free(self);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, testlog_setup, testlog_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_retained_for_latecomers),
        TEST(test_reaches_connected_phones),
        TEST(test_cancel_replaces),
        TEST(test_released_and_cancelled_while_down),
        TEST(test_areas_and_realms),
        TEST(test_republished_after_restart),
        TEST(test_broker_that_was_down),
        TEST(test_engine_that_was_down),
        TEST(test_forged_row_publishes_nothing),
        TEST(test_forged_correction_hides_nothing),
        TEST(test_stop_switch),
        TEST(test_refused_by_broker),
        TEST(test_expired_is_not_published),
        TEST(test_more_topics_than_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
