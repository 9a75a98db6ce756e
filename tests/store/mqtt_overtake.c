/* lib: loa_testbroker */
/* Several real brokers, one of them frozen in its tracks: it holds up nobody's emergencies, an
 * emergency goes before information that waits, and what is no emergency waits for it everywhere.
 * What must not have come is shown by what came after it: a broker delivers in order. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "mqtt/channel.h"
#include "tests/support/mqttstage.h"
#include "tests/support/testlog.h"

#define EVERYTHING "loa/v1/+/all/+"

static struct testclient *phone_at(struct mqttstage *self, unsigned broker)
{
    struct testclient *phone = mqttstage_device(self, broker, 1);

    testclient_subscribe(phone, EVERYTHING);
    return phone;
}

static bool is_emergency(const struct testclient *phone, unsigned n)
{
    const struct testmessage *message = testclient_messages(phone)->pdata[n];

    return g_str_has_prefix(message->topic, "loa/v1/emergency/");
}

static bool all_up(void *user)
{
    const struct mqttstage *self = user;

    return brokers_up(self->engine) == self->n_brokers;
}

static struct mqttstage *started(const char *name, unsigned n_brokers)
{
    struct mqttstage *self = mqttstage_new(name, n_brokers);

    mqttstage_start(self, "engine");
    stage_until_true(all_up, self);
    return self;
}

struct owed {
    const struct mqttstage *self;
    unsigned n;
};

static bool owes(void *user)
{
    const struct owed *owed = user;

    return publisher_owed(owed->self->publisher) == owed->n;
}

/* The publisher has read so many alerts that some broker has not acknowledged. */
static void until_owed(const struct mqttstage *self, unsigned n)
{
    struct owed owed = {.self = self, .n = n};

    stage_until_true(owes, &owed);
}

static void test_frozen_broker_delays_nobody(void **state)
{
    struct mqttstage *self = started("overtake_frozen", 2);
    struct testclient *phone = phone_at(self, 1), *other = phone_at(self, 0);
    (void)state;

    testbroker_freeze(self->brokers[0]);
    stage_release(self->stage, true);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 2);
    testbroker_thaw(self->brokers[0]);
    testclient_until_messages(other, 2);
    testclient_free(phone);
    testclient_free(other);
    mqttstage_free(self);
}

/* Four pieces of information are queued for a broker that is busy; at most one of them is in its
 * socket when the emergency is released. */
static void test_emergency_before_queued_information(void **state)
{
    struct mqttstage *self = started("overtake_queued", 1);
    struct testclient *phone = phone_at(self, 0);
    unsigned at = 0;
    (void)state;

    testbroker_freeze(self->brokers[0]);
    for (unsigned i = 0; i < 4; i++)
        stage_release(self->stage, false);
    until_owed(self, 4);
    stage_release(self->stage, true);
    until_owed(self, 5);
    testbroker_thaw(self->brokers[0]);
    testclient_until_messages(phone, 5);
    while (!is_emergency(phone, at))
        at++;
    assert_in_range(at, 0, 1);
    testclient_free(phone);
    mqttstage_free(self);
}

/* The same where one alert has many topics: they leave one by one, too. */
static void test_emergency_between_topics(void **state)
{
    struct mqttstage *self = started("overtake_topics", 1);
    struct testclient *phone = mqttstage_device(self, 0, 1);
    g_autoptr(GString) communes = g_string_new("10000");
    unsigned at = 0;
    (void)state;

    for (int i = 1; i < 50; i++)
        g_string_append_printf(communes, ",%d", 10000 + i);
    testclient_subscribe(phone, "loa/v1/#");
    testbroker_freeze(self->brokers[0]);
    mqttstage_release(self, BROADCAST_LIVE, communes->str);
    until_owed(self, 1);
    stage_release(self->stage, true);
    until_owed(self, 2);
    testbroker_thaw(self->brokers[0]);
    testclient_until_messages(phone, 51);
    while (!is_emergency(phone, at))
        at++;
    assert_in_range(at, 0, 1);
    testclient_free(phone);
    mqttstage_free(self);
}

static void test_information_waits_for_every_broker(void **state)
{
    struct mqttstage *self = started("overtake_waits", 2);
    struct testclient *phone = phone_at(self, 1);
    (void)state;

    testbroker_freeze(self->brokers[0]);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 1);
    stage_release(self->stage, false);
    until_owed(self, 2);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 2);
    assert_true(is_emergency(phone, 0));
    assert_true(is_emergency(phone, 1));
    testbroker_thaw(self->brokers[0]);
    testclient_until_messages(phone, 3);
    assert_false(is_emergency(phone, 2));
    testclient_free(phone);
    mqttstage_free(self);
}

/* A broker that is gone, not just slow, is not waited for. */
static void test_dead_broker_is_not_waited_for(void **state)
{
    struct mqttstage *self = started("overtake_dead", 2);
    struct testclient *phone = phone_at(self, 1);
    (void)state;

    testlog_allow("broker_lost");
    testbroker_freeze(self->brokers[0]);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 1);
    stage_release(self->stage, false);
    until_owed(self, 2);
    testbroker_kill(self->brokers[0]);
    testclient_until_messages(phone, 2);
    assert_false(is_emergency(phone, 1));
    testclient_free(phone);
    mqttstage_free(self);
}

/* --- what is addressed to one device --- */

struct notice {
    struct push push;
    bool done;
};

static void notice_done(struct push *push, const struct verdict *verdict)
{
    (void)verdict;
    ((struct notice *)push->owner)->done = true;
}

static bool is_done(void *user)
{
    return ((struct notice *)user)->done;
}

static struct channel_payload *notice_render(struct channel *channel)
{
    const struct message message = {.type = MESSAGE_NOTICE,
                                    .alert_id = "phan-anh-17",
                                    .version = 1,
                                    .kind = "",
                                    .level = "thuong",
                                    .cls = "phan_anh",
                                    .realm = "live",
                                    .issued_s = 1,
                                    .expires_s = g_get_real_time() / USEC_PER_SEC + 600,
                                    .title = "Đã tiếp nhận phản ánh",
                                    .body = "Phản ánh của bạn đã được tiếp nhận.",
                                    .instruction = "",
                                    .areas = "",
                                    .language = "vi",
                                    .url = "",
                                    .source_document = "",
                                    .key_id = "",
                                    .store = true};
    struct channel_payload *payload = channel->ops->render(channel, &message, NULL);

    assert_non_null(payload);
    return payload;
}

static void notice_send(struct channel *channel, const struct channel_payload *payload,
                        struct notice *notice)
{
    *notice = (struct notice){
        .push = {.payload = payload, .device_id = 1, .lane = LANE_PROVEN, .done = notice_done}};
    notice->push.owner = notice;
    channel->ops->send(channel, &notice->push);
}

static void test_notices_wait_too(void **state)
{
    struct mqttstage *self = started("overtake_notices", 2);
    struct testclient *phone = phone_at(self, 1);
    struct channel *channel = mqtt_channel_new(self->engine, clock_system());
    struct channel_payload *payload = notice_render(channel);
    struct notice notice;
    (void)state;

    channel->ops->start(channel);
    testclient_subscribe(phone, "loa/v1/device/1");
    testbroker_freeze(self->brokers[0]);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 1);
    notice_send(channel, payload, &notice);
    stage_release(self->stage, true);
    testclient_until_messages(phone, 2);
    assert_true(is_emergency(phone, 1));
    assert_false(notice.done);
    testbroker_thaw(self->brokers[0]);
    testclient_until_messages(phone, 3);
    stage_until_true(is_done, &notice);
    channel->ops->payload_free(payload);
    channel->ops->free(channel);
    testclient_free(phone);
    mqttstage_free(self);
}

/* A broker that is slow without any emergency does not keep notices from the others' phones. */
static void test_frozen_broker_delays_no_notice(void **state)
{
    enum { N = 300 };
    struct mqttstage *self = started("overtake_slow", 2);
    struct testclient *phone = mqttstage_device(self, 1, 1);
    struct channel *channel = mqtt_channel_new(self->engine, clock_system());
    struct channel_payload *payload = notice_render(channel);
    g_autofree struct notice *notices = g_new0(struct notice, N);
    (void)state;

    channel->ops->start(channel);
    testclient_subscribe(phone, "loa/v1/device/1");
    testbroker_freeze(self->brokers[0]);
    for (unsigned i = 0; i < N; i++)
        notice_send(channel, payload, &notices[i]);
    testclient_until_messages(phone, N); /* more than the frozen one lets into its socket */
    for (unsigned i = 0; i < N; i++)
        stage_until_true(is_done, &notices[i]);
    testbroker_thaw(self->brokers[0]);
    channel->ops->payload_free(payload);
    channel->ops->free(channel);
    testclient_free(phone);
    mqttstage_free(self);
}

/* Notices never fill all of a broker's places: an emergency does not wait for one of them. */
static void test_emergency_before_queued_notices(void **state)
{
    enum { N = 300 };
    struct mqttstage *self = started("overtake_places", 1);
    struct testclient *phone = phone_at(self, 0);
    struct channel *channel = mqtt_channel_new(self->engine, clock_system());
    struct channel_payload *payload = notice_render(channel);
    g_autofree struct notice *notices = g_new0(struct notice, N);
    unsigned at = 0;
    (void)state;

    channel->ops->start(channel);
    testclient_subscribe(phone, "loa/v1/device/1");
    testbroker_freeze(self->brokers[0]);
    for (unsigned i = 0; i < N; i++)
        notice_send(channel, payload, &notices[i]);
    stage_release(self->stage, true);
    until_owed(self, 1);
    testbroker_thaw(self->brokers[0]);
    testclient_until_messages(phone, N + 1);
    while (!is_emergency(phone, at))
        at++;
    assert_in_range(at, 0, BROKER_IN_FLIGHT_MAX - BROKER_URGENT_RESERVE);
    for (unsigned i = 0; i < N; i++)
        stage_until_true(is_done, &notices[i]);
    channel->ops->payload_free(payload);
    channel->ops->free(channel);
    testclient_free(phone);
    mqttstage_free(self);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, testlog_setup, testlog_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_frozen_broker_delays_nobody),    TEST(test_emergency_before_queued_information),
        TEST(test_emergency_between_topics),       TEST(test_information_waits_for_every_broker),
        TEST(test_dead_broker_is_not_waited_for),  TEST(test_notices_wait_too),
        TEST(test_frozen_broker_delays_no_notice), TEST(test_emergency_before_queued_notices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
