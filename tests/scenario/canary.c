/* The canary: when providers are gone, readiness, metric and log say so by the channel's name; when
 * they are back, they take it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

#define LIMIT_MS 120000

struct canary {
    struct rig *rig;
    int port;       /* of loa tick's metrics */
    bool fcm, apns; /* what they should be */
};

static bool metric_is(const struct canary *canary, const char *channel, bool ok)
{
    const struct rig_request request = {.method = "GET", .path = "/metrics", .port = canary->port};
    g_autofree char *text = NULL;
    g_autofree char *line = g_strdup_printf("loa_canary_ok{channel=\"%s\"} %d\n", channel, ok);

    return rig_http(canary->rig, &request, &text) == 200 && strstr(text, line) != NULL;
}

static bool check_is(const json_t *ready, const char *name, bool ok)
{
    const json_t *checks = json_object_get(ready, "checks");

    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *check = json_array_get(checks, i);
        if (strcmp(json_string_value(json_object_get(check, "check")), name) == 0)
            return json_is_true(json_object_get(check, "ok")) == ok;
    }
    return false;
}

/* Readiness, checks by name, and metrics say the same. */
static bool canary_says(void *user)
{
    struct canary *canary = user;
    const struct rig_request request = {.method = "GET", .path = "/readyz"};
    bool ready = canary->fcm && canary->apns;
    g_autofree char *text = NULL;
    g_autoptr(json_t) json = NULL;
    long status;

    /* Not over HTTP all the time: that would meet the rate limit. */
    if (rig_i64(canary->rig, "SELECT count(*) FROM canary WHERE ok AND channel <> 'mqtt'") !=
        canary->fcm + canary->apns)
        return false;
    status = rig_http(canary->rig, &request, &text);
    json = json_loads(text, 0, NULL);
    return status == (ready ? 200 : 503) && check_is(json, "canary fcm", canary->fcm) &&
           check_is(json, "canary apns", canary->apns) && check_is(json, "canary mqtt", true) &&
           metric_is(canary, "fcm", canary->fcm) && metric_is(canary, "apns", canary->apns);
}

static void test_canary(void **state)
{
    int port = rig_free_port();
    g_autofree char *conf = g_strdup_printf("[tick]\nmetrics_listen=127.0.0.1:%d\n", port);
    const struct rig_options small = {.fcm = 10,
                                      .apns = 10,
                                      .mqtt = 5,
                                      .brokers = 1,
                                      .deliver = 1,
                                      .api = true,
                                      .tick = true,
                                      .extra_conf = conf};
    struct rig *rig = rig_new(&small);
    struct canary canary = {.rig = rig, .port = port, .fcm = true, .apns = true};

    (void)state;
    assert_true(test_wait_until(canary_says, &canary, LIMIT_MS));
    assert_false(rig_logged(rig, "tick", "canary_failed"));
    rig_kill(&rig->sim);
    canary.fcm = canary.apns = false;
    assert_true(test_wait_until(canary_says, &canary, LIMIT_MS));
    assert_true(rig_logged(rig, "tick", "canary_failed"));
    rig_start(rig, &rig->sim);
    canary.fcm = canary.apns = true;
    assert_true(test_wait_until(canary_says, &canary, LIMIT_MS));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_canary)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
