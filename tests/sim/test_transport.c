/* What the simulators do to a connection: stream limits, resets, GOAWAY, silence, wrong
 * certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/sim/rig.h"
#include "tests/sim/service.h"

#define DEVICE_PATH "/3/device/00fc13adff785122"
#define FCM_BODY    "{\"message\":{\"token\":\"abc\"}}"
#define APNS_BODY   "{\"aps\":{\"alert\":\"x\"}}"

static struct rig rig;
static char *fcm_bearer, *apns_bearer;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig, NULL);
    fcm_bearer = rig_authorization(&rig, "fcm");
    apns_bearer = rig_authorization(&rig, "apns");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    g_free(fcm_bearer);
    g_free(apns_bearer);
    rig_stop(&rig);
    return 0;
}

static int each(void **state)
{
    (void)state;
    rig_fresh(&rig);
    return 0;
}

static int submit_fcm(struct client *client, const char *body)
{
    const char *const headers[] = {":path",
                                   "/v1/projects/" SIM_PROJECT "/messages:send",
                                   "authorization",
                                   fcm_bearer,
                                   "content-type",
                                   "application/json",
                                   NULL};

    return client_submit(client, headers, body);
}

static int submit_apns(struct client *client, const char *authorization)
{
    const char *const headers[] = {":path",          DEVICE_PATH,  "authorization",
                                   authorization,    "apns-topic", SIM_APNS_TOPIC,
                                   "apns-push-type", "alert",      NULL};

    return client_submit(client, headers, APNS_BODY);
}

static void test_apns_begins_with_one_stream(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    int n[3], refused = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        n[i] = submit_apns(client, apns_bearer);
    client_flush(client); /* before the server's SETTINGS were read */
    for (int i = 0; i < 3; i++)
        refused += client_wait(client, n[i])->reset_code == NGHTTP2_REFUSED_STREAM;
    assert_int_equal(client->replies[n[0]].status, 200);
    assert_int_equal(refused, 2);
    assert_int_equal(rig_stat(&rig, "apns", "refused_streams", NULL), 2);
    assert_int_equal(rig_stat(&rig, "apns", "accepted", NULL), 1);
    assert_true(client_wait_limit(client, APNS_STREAMS));
    for (int i = 0; i < 200; i++)
        submit_apns(client, apns_bearer);
    assert_int_equal(client_wait(client, n[2] + 200)->status, 200);
    assert_int_equal(rig_stat(&rig, "apns", "accepted", NULL), 201);
}

static void test_invalid_token_does_not_lift_the_limit(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);

    (void)state;
    assert_int_equal(client_wait(client, submit_apns(client, "bearer forged"))->status, 403);
    assert_int_equal(client->max_streams, 1);
    assert_int_equal(client_wait(client, submit_apns(client, apns_bearer))->status, 200);
    assert_true(client_wait_limit(client, APNS_STREAMS));
}

/* A request for "/" written past nghttp2, which would not break the limit: HEADERS with END_STREAM
 * and END_HEADERS, all fields from the static table. */
static void write_raw_request(struct client *client, uint32_t id)
{
    const uint8_t frame[] = {0,
                             0,
                             3,
                             NGHTTP2_HEADERS,
                             NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS,
                             (uint8_t)(id >> 24),
                             (uint8_t)(id >> 16),
                             (uint8_t)(id >> 8),
                             (uint8_t)id,
                             0x83,
                             0x87,
                             0x84};

    client_flush(client);
    assert_int_equal(SSL_write(client->ssl, frame, sizeof(frame)), sizeof(frame));
}

static void test_fcm_ends_above_100_streams(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"no_answer\":true},\"count\":100");
    assert_true(client_wait_limit(client, FCM_STREAMS));
    for (int i = 0; i < FCM_STREAMS; i++)
        submit_fcm(client, FCM_BODY);
    write_raw_request(client, 2 * FCM_STREAMS + 1);
    assert_true(client_wait_closed(client));
    assert_true(client->goaway);
    assert_int_equal(client->goaway_code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(rig_stat(&rig, "fcm", "protocol_errors", NULL), 1);
}

static void test_reset(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"rst\":true},\"count\":1");
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->reset_code,
                     NGHTTP2_INTERNAL_ERROR);
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"rst\":\"REFUSED_STREAM\"},\"count\":1");
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->reset_code,
                     NGHTTP2_REFUSED_STREAM);
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 0);
    assert_int_equal(rig_stat(&rig, "fcm", "rejected", "rst"), 2);
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"rst\":true,\"accept\":true},\"count\":1");
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->reset_code,
                     NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 1);
}

static void test_goaway_answers_what_it_accepted(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    int n[5];

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"match\":{\"every\":3},\"do\":{\"goaway\":true}");
    for (int i = 0; i < 5; i++)
        n[i] = submit_fcm(client, FCM_BODY);
    assert_true(client_wait_closed(client));
    assert_true(client->goaway);
    assert_int_equal(client->goaway_code, NGHTTP2_NO_ERROR);
    for (int i = 0; i < 5; i++) {
        bool accepted = n[i] * 2 + 1 <= client->goaway_last;
        assert_int_equal(client->replies[n[i]].status, accepted ? 200 : 0);
    }
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), client->goaway_last / 2 + 1);
    assert_true(client->goaway_last >= 2 * n[2] + 1);
}

static void test_goaway_of_apns_tells_why(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);

    (void)state;
    rig_fault(&rig, "\"channel\":\"apns\",\"do\":{\"goaway\":true}");
    assert_int_equal(client_wait(client, submit_apns(client, apns_bearer))->status, 200);
    assert_true(client_wait_closed(client));
    assert_string_equal(client->goaway_data, "{\"reason\":\"Shutdown\"}");
}

static void test_settings_change(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    assert_true(client_wait_limit(client, FCM_STREAMS));
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"max_streams\":10},\"count\":1");
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->status, 200);
    assert_true(client_wait_limit(client, 10));
}

static void test_silence(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    int silent;

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"no_answer\":true},\"count\":1");
    silent = submit_fcm(client, FCM_BODY);
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->status, 200);
    assert_false(client->replies[silent].closed);
    assert_int_equal(rig_stat(&rig, "fcm", "rejected", "no_answer"), 1);
    assert_int_equal(rig_stat(&rig, "fcm", "accepted", NULL), 1);
}

static void test_close(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"close\":true},\"count\":1");
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->status, 0);
    assert_true(client->closed);
    assert_false(client->goaway);
    assert_int_equal(rig_stat(&rig, "fcm", "rejected", "close"), 1);
}

static void test_delay_holds_one_stream_only(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const struct clock *clock = clock_system();
    int64_t start_us = clock->mono_us(clock);
    int slow;

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"delay_ms\":150},\"count\":1");
    slow = submit_fcm(client, FCM_BODY);
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->status, 200);
    assert_false(client->replies[slow].closed);
    assert_int_equal(client_wait(client, slow)->status, 200);
    assert_true(clock->mono_us(clock) - start_us >= 150 * USEC_PER_MSEC);
}

static void test_client_may_leave_during_a_delay(void **state)
{
    struct client *gone = client_new(&rig, rig.fcm);
    loa_auto(client) client = client_new(&rig, rig.fcm);
    const struct clock *clock = clock_system();
    int64_t until_us = clock->mono_us(clock) + RIG_WAIT_MS * USEC_PER_MSEC;

    (void)state;
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"delay_ms\":100},\"count\":20");
    rig_fault(&rig, "\"channel\":\"fcm\",\"do\":{\"delay_ms\":200},\"count\":1");
    for (int i = 0; i < 20; i++)
        submit_fcm(gone, FCM_BODY);
    client_flush(gone);
    while (rig_stat(&rig, "fcm", "requests", NULL) < 20)
        assert_true(clock->mono_us(clock) < until_us);
    client_free(gone);
    /* answered after the moment when the others would have been */
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->status, 200);
}

static void test_body_is_bounded(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    g_autofree char *body = g_strnfill(REQUEST_BODY_MAX + 1, ' ');

    (void)state;
    assert_int_equal(client_wait(client, submit_fcm(client, body))->status, 400);
    assert_int_equal(client_wait(client, submit_fcm(client, FCM_BODY))->status, 200);
}

static void test_headers_are_bounded_and_single(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    g_autofree char *path = g_strnfill(REQUEST_HEADERS_MAX + 1, 'a');
    const char *const too_long[] = {":path", path, "authorization", apns_bearer, NULL};
    const char *const twice[] = {":path",      DEVICE_PATH,    "authorization",
                                 apns_bearer,  "apns-topic",   SIM_APNS_TOPIC,
                                 "apns-topic", SIM_APNS_TOPIC, NULL};
    g_autofree char *reason = NULL;

    (void)state;
    path[0] = '/';
    assert_int_equal(client_ask(client, too_long, APNS_BODY)->status, 404);
    reason = reply_text(client_ask(client, twice, APNS_BODY), "reason");
    assert_string_equal(reason, "DuplicateHeaders");
}

static void test_untrusted_certificate(void **state)
{
    static const char *const extra[] = {"--untrusted", NULL};
    struct rig stranger;

    (void)state;
    rig_start(&stranger, extra);
    assert_null(client_new(&stranger, stranger.fcm));
    rig_stop(&stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_apns_begins_with_one_stream, each),
        cmocka_unit_test_setup(test_invalid_token_does_not_lift_the_limit, each),
        cmocka_unit_test_setup(test_fcm_ends_above_100_streams, each),
        cmocka_unit_test_setup(test_reset, each),
        cmocka_unit_test_setup(test_goaway_answers_what_it_accepted, each),
        cmocka_unit_test_setup(test_goaway_of_apns_tells_why, each),
        cmocka_unit_test_setup(test_settings_change, each),
        cmocka_unit_test_setup(test_silence, each),
        cmocka_unit_test_setup(test_close, each),
        cmocka_unit_test_setup(test_delay_holds_one_stream_only, each),
        cmocka_unit_test_setup(test_client_may_leave_during_a_delay, each),
        cmocka_unit_test_setup(test_body_is_bounded, each),
        cmocka_unit_test_setup(test_headers_are_bounded_and_single, each),
        cmocka_unit_test_setup(test_untrusted_certificate, each),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
