/* lib: loa_testbroker */
/* The channel "mqtt": the delivery loop settles a broadcast's MQTT devices once the brokers have
 * it; dry runs and targeted notifications go over the same connections. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/outcome.h"
#include "mqtt/channel.h"
#include "tests/support/mqttstage.h"
#include "tests/support/testlog.h"

/* The delivery loop of `loa mqtt`, which also plans here. */
struct settling {
    struct database_clock clock;
    struct db_async *db, *db_plan, *db_scan;
    struct channel *channel;
    struct fanout *fanout;
};

static void settling_start(struct settling *self, struct mqttstage *mqtt)
{
    database_clock_init(&self->clock, clock_system());
    self->db = db_async_new(mqtt->stage->conninfo, 1000, clock_system());
    self->db_plan = db_async_new(mqtt->stage->conninfo, 1000, clock_system());
    self->db_scan = db_async_new(mqtt->stage->conninfo, 1000, clock_system());
    self->channel = mqtt_channel_new(mqtt->engine, &self->clock.clock);
    const struct fanout_options options = {.owner = "test",
                                           .db = self->db,
                                           .db_plan = self->db_plan,
                                           .db_listen = self->db_plan,
                                           .db_scan = self->db_scan,
                                           .clock = &self->clock,
                                           .settings = mqtt->stage->settings,
                                           .keys = mqtt->stage->keys,
                                           .channels = &self->channel,
                                           .n_channels = 1,
                                           .plans = true};
    self->fanout = fanout_new(&options);
}

static void settling_stop(struct settling *self)
{
    db_async_free(self->db);
    db_async_free(self->db_plan);
    db_async_free(self->db_scan);
    fanout_free(self->fanout);
    self->channel->ops->free(self->channel);
}

static void test_devices_are_accepted(void **state)
{
    struct mqttstage *mqtt = mqttstage_new("mqtt_settle", 1);
    struct settling settling;
    int64_t id;
    (void)state;

    stage_devices(mqtt->stage, "mqtt", 2500, false);
    id = stage_release(mqtt->stage, true);
    mqttstage_start(mqtt, "engine");
    testlog_allow("claim_failed"); /* the last ones, when the database is closed */
    testlog_allow("poll_failed");
    settling_start(&settling, mqtt);
    stage_until(mqtt->stage, "SELECT count(*) FROM broadcast WHERE finished_at IS NOT NULL");
    assert_int_equal(stage_outcomes(mqtt->stage, id, OUTCOME_ACCEPTED), 2500);
    stage_assert_sums(mqtt->stage);
    settling_stop(&settling);
    mqttstage_free(mqtt);
}

static void test_nothing_accepted_before_the_brokers(void **state)
{
    struct mqttstage *mqtt = mqttstage_new("mqtt_wait", 2);
    struct settling settling;
    int64_t id;
    (void)state;

    testlog_allow("broker_lost");
    testbroker_kill(mqtt->brokers[1]);
    stage_devices(mqtt->stage, "mqtt", 10, true);
    id = stage_release(mqtt->stage, true);
    mqttstage_start(mqtt, "engine");
    testlog_allow("claim_failed"); /* the last ones, when the database is closed */
    testlog_allow("poll_failed");
    settling_start(&settling, mqtt);
    stage_until(mqtt->stage, "SELECT count(*) FROM broker_ack");
    stage_until(mqtt->stage, "SELECT count(*) FROM fanout_plan WHERE done");
    assert_int_equal(stage_outcomes(mqtt->stage, id, OUTCOME_ACCEPTED), 0);
    testbroker_start(mqtt->brokers[1]);
    stage_until(mqtt->stage, "SELECT count(*) FROM broadcast WHERE finished_at IS NOT NULL");
    assert_int_equal(stage_outcomes(mqtt->stage, id, OUTCOME_ACCEPTED), 10);
    settling_stop(&settling);
    mqttstage_free(mqtt);
}

/* --- the loop --- */

static gboolean end_watch(gpointer user)
{
    *(bool *)user = true;
    return G_SOURCE_REMOVE;
}

static bool both_up(void *user)
{
    return brokers_up(user) == brokers_count(user);
}

/* Connections with nothing to do leave the loop asleep. */
static void test_idle_does_not_spin(void **state)
{
    struct testbroker *broker = testbroker_new(NULL, 0);
    struct settings *settings = settings_defaults();
    struct brokers *brokers;
    unsigned turns = 0;
    bool over = false;
    (void)state;

    assert_true(settings_set(settings, "mqtt", "brokers", testbroker_address(broker), NULL));
    assert_true(settings_set(settings, "mqtt", "ca_file", testbroker_pki("ca.pem"), NULL));
    assert_true(settings_set(settings, "mqtt", "cert_file", testbroker_pki("engine.pem"), NULL));
    assert_true(settings_set(settings, "mqtt", "key_file", testbroker_pki("engine.key"), NULL));
    brokers = brokers_new(settings, true, NULL);
    stage_until_true(both_up, brokers);
    g_timeout_add(300, end_watch, &over);
    for (; !over; turns++)
        g_main_context_iteration(NULL, TRUE);
    assert_in_range(turns, 1, 50);
    brokers_free(brokers);
    settings_free(settings);
    testbroker_free(broker);
}

/* --- dry runs --- */

struct dry_run {
    bool done, ok;
    char *detail;
};

static void dry_run_done(bool ok, const char *detail, int64_t duration_us, void *user)
{
    struct dry_run *run = user;

    assert_true(duration_us >= 0);
    assert_false(run->done);
    run->done = true;
    run->ok = ok;
    run->detail = g_strdup(detail);
}

static bool is_done(void *user)
{
    return ((struct dry_run *)user)->done;
}

static void test_dry_run(void **state)
{
    struct mqttstage *mqtt = mqttstage_new("mqtt_dry", 2);
    struct dry_run good = {0}, bad = {0}, second = {0};
    struct channel *channel;
    (void)state;

    testlog_allow("broker_lost");
    mqttstage_start(mqtt, "engine");
    channel = mqtt_channel_open(mqtt->stage->settings, clock_system(), NULL);
    assert_non_null(channel);
    channel->ops->start(channel);
    /* Also while it is still connecting. */
    channel->ops->dry_run(channel, dry_run_done, &good);
    channel->ops->dry_run(channel, dry_run_done, &second);
    assert_false(good.done || second.done);
    stage_until_true(is_done, &good);
    assert_true(good.ok);
    stage_until_true(is_done, &second);
    assert_false(second.ok);

    testbroker_kill(mqtt->brokers[1]);
    channel->ops->dry_run(channel, dry_run_done, &bad);
    stage_until_true(is_done, &bad);
    assert_false(bad.ok);
    assert_non_null(strstr(bad.detail, testbroker_address(mqtt->brokers[1])));
    assert_null(strstr(bad.detail, testbroker_address(mqtt->brokers[0])));
    channel->ops->free(channel);
    g_free(good.detail);
    g_free(bad.detail);
    g_free(second.detail);
    mqttstage_free(mqtt);
}

/* --- targeted notifications --- */

struct targeted {
    struct push push;
    unsigned done;
    enum verdict_kind kind;
};

static void push_done(struct push *push, const struct verdict *verdict)
{
    struct targeted *targeted = push->owner;

    targeted->done++;
    targeted->kind = verdict->kind;
    assert_non_null(verdict->reason);
}

static struct channel_payload *notice(struct channel *channel)
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

static void send_notice(struct channel *channel, const struct channel_payload *payload,
                        int64_t device_id, struct targeted *targeted)
{
    *targeted = (struct targeted){
        .push = {
            .payload = payload, .device_id = device_id, .lane = LANE_PROVEN, .done = push_done}};
    targeted->push.owner = targeted;
    assert_true(channel->ops->room(channel, LANE_PROVEN, 0) > 0);
    channel->ops->send(channel, &targeted->push);
    assert_int_equal(targeted->done, 0);
}

static bool was_answered(void *user)
{
    return ((struct targeted *)user)->done > 0;
}

static void test_targeted(void **state)
{
    struct mqttstage *mqtt = mqttstage_new("mqtt_target", 2);
    struct targeted present, absent;
    struct channel *channel;
    struct channel_payload *payload;
    struct testclient *phone;
    (void)state;

    mqttstage_start(mqtt, "engine");
    stage_until_true(both_up, mqtt->engine);
    channel = mqtt_channel_new(mqtt->engine, clock_system());
    channel->ops->start(channel);
    payload = notice(channel);
    /* The phone is at the second broker; nobody knows. */
    phone = mqttstage_device(mqtt, 1, 2);
    testclient_subscribe(phone, "loa/v1/device/2");
    send_notice(channel, payload, 2, &present);
    send_notice(channel, payload, 3, &absent);
    testclient_until_messages(phone, 1);
    const struct testmessage *message = testclient_messages(phone)->pdata[0];
    assert_non_null(strstr(message->payload, "\"type\":\"notice\""));
    assert_true(message->expiry_s > 500 && message->expiry_s <= 600);
    stage_until_true(was_answered, &present);
    stage_until_true(was_answered, &absent);
    assert_int_equal(present.kind, VERDICT_ACCEPTED);
    /* No session anywhere: to be tried again, not lost. */
    assert_int_equal(absent.kind, VERDICT_TRANSIENT);
    assert_int_equal(channel->ops->in_flight(channel, LANE_PROVEN, 0), 0);
    channel->ops->payload_free(payload);
    channel->ops->free(channel);
    testclient_free(phone);
    mqttstage_free(mqtt);
}

/* More than a broker takes at once: they wait for room, all are answered, once. */
static void test_targeted_burst(void **state)
{
    enum { N = 1000 };
    struct mqttstage *mqtt = mqttstage_new("mqtt_burst", 1);
    g_autofree struct targeted *all = g_new0(struct targeted, N);
    struct channel *channel;
    struct channel_payload *payload;
    (void)state;

    mqttstage_start(mqtt, "engine");
    stage_until_true(both_up, mqtt->engine);
    channel = mqtt_channel_new(mqtt->engine, clock_system());
    channel->ops->start(channel);
    payload = notice(channel);
    struct testclient *phone = mqttstage_device(mqtt, 0, 1);
    testclient_subscribe(phone, "loa/v1/device/1");
    for (int i = 0; i < N; i++)
        send_notice(channel, payload, 1, &all[i]);
    testclient_until_messages(phone, N);
    for (int i = 0; i < N; i++) {
        stage_until_true(was_answered, &all[i]);
        assert_int_equal(all[i].done, 1);
        assert_int_equal(all[i].kind, VERDICT_ACCEPTED);
    }
    channel->ops->payload_free(payload);
    channel->ops->free(channel);
    testclient_free(phone);
    mqttstage_free(mqtt);
}

/* --- what only an operator can mend --- */

static void note_config_error(void *engine_data, struct channel *channel, const char *reason)
{
    (void)channel;
    g_ptr_array_add(engine_data, g_strdup(reason));
}

static bool has_error(void *user)
{
    return ((GPtrArray *)user)->len > 0;
}

static void test_untrusted_broker(void **state)
{
    struct testbroker *broker = testbroker_new(NULL, 0);
    struct settings *settings = settings_defaults();
    g_autoptr(GPtrArray) errors = g_ptr_array_new_with_free_func(g_free);
    struct channel *channel;
    (void)state;

    testlog_expect("broker_lost");
    assert_true(settings_set(settings, "mqtt", "brokers", testbroker_address(broker), NULL));
    assert_true(
        settings_set(settings, "mqtt", "ca_file", testbroker_pki("untrusted-ca.pem"), NULL));
    channel = mqtt_channel_open(settings, clock_system(), NULL);
    assert_non_null(channel);
    channel->on_config_error = note_config_error;
    channel->engine_data = errors;
    channel->ops->start(channel);
    stage_until_true(has_error, errors);
    assert_string_equal(errors->pdata[0], "tls_untrusted");
    assert_int_equal(testlog_count("broker_lost"), 1);
    g_autofree char *line = testlog_last("broker_lost");
    assert_non_null(strstr(line, "\"level\":\"alert\""));
    channel->ops->free(channel);
    settings_free(settings);
    testbroker_free(broker);
}

static void test_settings_refused(void **state)
{
    static const char *const lists[] = {"", "mqtt1", "a:1,a:1"};
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        struct settings *settings = settings_defaults();
        g_autoptr(GError) error = NULL;
        assert_true(settings_set(settings, "mqtt", "brokers", lists[i], NULL));
        assert_null(mqtt_channel_open(settings, clock_system(), &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
        settings_free(settings);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, testlog_setup, testlog_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_devices_are_accepted),
        TEST(test_nothing_accepted_before_the_brokers),
        TEST(test_idle_does_not_spin),
        TEST(test_dry_run),
        TEST(test_targeted),
        TEST(test_targeted_burst),
        TEST(test_untrusted_broker),
        TEST(test_settings_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
