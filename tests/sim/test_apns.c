/* APNs over a real connection: every documented answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "tests/sim/reasons.h"
#include "tests/sim/rig.h"
#include "tests/sim/sim.h"

#define DEVICE "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
#define GOOD   "{\"aps\":{\"alert\":{\"title\":\"t\",\"body\":\"b\"}},\"alert\":\"A1\",\"v\":\"1\"}"
#define UUID   "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

static struct rig rig;
static char *bearer;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig, NULL);
    bearer = rig_authorization(&rig, "apns");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    g_free(bearer);
    rig_stop(&rig);
    return 0;
}

static int each(void **state)
{
    (void)state;
    rig_fresh(&rig);
    return 0;
}

/* A request whose parts a case may change; NULL leaves a header out. */
struct push {
    const char *method, *device, *path, *authorization, *topic, *type, *priority, *expiration, *id,
        *collapse, *body;
};

static struct push push_good(void)
{
    return (struct push){.method = "POST",
                         .device = DEVICE,
                         .authorization = bearer,
                         .topic = SIM_APNS_TOPIC,
                         .type = "alert",
                         .priority = "10",
                         .expiration = "1795410000",
                         .id = UUID,
                         .collapse = "A1",
                         .body = GOOD};
}

static const struct reply *push_send(struct client *client, const struct push *push)
{
    g_autofree char *path =
        push->path != NULL ? g_strdup(push->path) : g_strconcat("/3/device/", push->device, NULL);
    const char *const all[][2] = {{":method", push->method},
                                  {":path", path},
                                  {"authorization", push->authorization},
                                  {"apns-topic", push->topic},
                                  {"apns-push-type", push->type},
                                  {"apns-priority", push->priority},
                                  {"apns-expiration", push->expiration},
                                  {"apns-id", push->id},
                                  {"apns-collapse-id", push->collapse}};
    const char *headers[2 * G_N_ELEMENTS(all) + 1];
    size_t count = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (all[i][1] == NULL)
            continue;
        headers[count++] = all[i][0];
        headers[count++] = all[i][1];
    }
    headers[count] = NULL;
    return client_ask(client, headers, push->body);
}

static void assert_reason(const struct reply *reply, int status, const char *reason)
{
    g_autofree char *text = reply_text(reply, "reason");

    if (reply->status != status || strcmp(text, reason) != 0)
        fail_msg("%d %s instead of %d %s", reply->status, reply->body, status, reason);
}

static void test_accepts_and_echoes_id(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    struct push push = push_good();
    const struct reply *reply;

    (void)state;
    push.id = "6BA7B810-9dad-41d1-80b4-00c04fd430c8";
    reply = push_send(client, &push);
    assert_int_equal(reply->status, 200);
    assert_int_equal(reply->body_len, 0);
    assert_string_equal(reply->apns_id, UUID);
    push.id = NULL;
    reply = push_send(client, &push);
    assert_int_equal(reply->status, 200);
    assert_int_equal(strlen(reply->apns_id), 36);
    assert_int_equal(rig_stat(&rig, "apns", "accepted", NULL), 2);
    assert_int_equal(rig_stat(&rig, "apns", "distinct", NULL), 1);
    assert_int_equal(rig_stat(&rig, "apns", "duplicates", NULL), 1);
}

static void test_request_is_judged(void **state)
{
    g_autofree char *big = g_strnfill(4097, ' ');
    g_autofree char *long_id = g_strnfill(65, 'c');
    static const char *const none = NULL;
    const struct {
        size_t part; /* offset in struct push */
        const char *value;
        int status;
        const char *reason;
    } cases[] = {
        {offsetof(struct push, method), "GET", 405, "MethodNotAllowed"},
        {offsetof(struct push, path), "/3/devices/ab", 404, "BadPath"},
        {offsetof(struct push, path), "/3/device/", 400, "MissingDeviceToken"},
        {offsetof(struct push, device), "xyz", 400, "BadDeviceToken"},
        {offsetof(struct push, device), "abc", 400, "BadDeviceToken"},
        {offsetof(struct push, device), "5a00", 400, "BadDeviceToken"},
        {offsetof(struct push, device), "sandbox-1", 400, "BadDeviceToken"},
        {offsetof(struct push, authorization), none, 403, "MissingProviderToken"},
        {offsetof(struct push, authorization), "bearer abc", 403, "InvalidProviderToken"},
        {offsetof(struct push, topic), none, 400, "MissingTopic"},
        {offsetof(struct push, topic), "", 400, "BadTopic"},
        {offsetof(struct push, topic), "vn.gov.other", 400, "TopicDisallowed"},
        {offsetof(struct push, type), none, 400, "InvalidPushType"},
        {offsetof(struct push, type), "shout", 400, "InvalidPushType"},
        {offsetof(struct push, type), "background", 400, "BadPriority"},
        {offsetof(struct push, priority), "7", 400, "BadPriority"},
        {offsetof(struct push, expiration), "soon", 400, "BadExpirationDate"},
        {offsetof(struct push, expiration), "-1", 400, "BadExpirationDate"},
        {offsetof(struct push, id), "6ba7b8109dad41d180b400c04fd430c8", 400, "BadMessageId"},
        {offsetof(struct push, collapse), long_id, 400, "BadCollapseId"},
        {offsetof(struct push, body), none, 400, "PayloadEmpty"},
        {offsetof(struct push, body), "{}", 400, "PayloadEmpty"},
        {offsetof(struct push, body), "{\"aps\":{}", 400, "PayloadEmpty"},
        {offsetof(struct push, body), big, 413, "PayloadTooLarge"},
    };
    loa_auto(client) client = client_new(&rig, rig.apns);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct push push = push_good();
        *(const char **)((char *)&push + cases[i].part) = cases[i].value;
        assert_reason(push_send(client, &push), cases[i].status, cases[i].reason);
    }
    assert_int_equal(rig_stat(&rig, "apns", "accepted", NULL), 0);
    assert_int_equal(rig_stat(&rig, "apns", "requests", NULL), G_N_ELEMENTS(cases));
}

static void test_limits_are_inclusive(void **state)
{
    static const char frame[] = "{\"aps\":{},\"k\":\"\"}";
    g_autofree char *text = g_strnfill(4096 - (sizeof(frame) - 1), 'x');
    g_autofree char *body = g_strdup_printf("{\"aps\":{},\"k\":\"%s\"}", text);
    g_autofree char *collapse = g_strnfill(64, 'c');
    loa_auto(client) client = client_new(&rig, rig.apns);
    struct push push = push_good();

    (void)state;
    push.body = body;
    push.collapse = collapse;
    assert_int_equal(strlen(body), 4096);
    assert_int_equal(push_send(client, &push)->status, 200);
}

static void test_environment_by_port(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.sandbox);
    struct push push = push_good();

    (void)state;
    assert_reason(push_send(client, &push), 400, "BadDeviceToken");
    push.device = "5a00";
    assert_int_equal(push_send(client, &push)->status, 200);
    push.device = "sandbox-1";
    assert_int_equal(push_send(client, &push)->status, 200);
}

static void test_dead_device_has_timestamp(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    struct push push = push_good();
    int64_t before_ms = clock_system()->utc_us(clock_system()) / 1000;
    const struct reply *reply;
    g_autofree char *timestamp = NULL, *set = NULL;

    (void)state;
    push.device = "dead00";
    reply = push_send(client, &push);
    assert_reason(reply, 410, "Unregistered");
    timestamp = reply_text(reply, "timestamp");
    assert_true(g_ascii_strtoll(timestamp, NULL, 10) >= before_ms - 1000);
    rig_fault(&rig, "\"channel\":\"apns\",\"do\":{\"status\":410,\"timestamp_ms\":1234}");
    push.device = DEVICE;
    set = reply_text(push_send(client, &push), "timestamp");
    assert_string_equal(set, "1234");
}

static void test_every_reason_as_fault(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    struct push push = push_good();

    (void)state;
    for (const struct reason *r = reason_table(SIM_APNS); r->word != NULL; r++) {
        g_autofree char *fault =
            g_strdup_printf("\"channel\":\"apns\",\"do\":{\"reason\":\"%s\"},\"count\":1", r->word);
        const struct reply *reply;
        rig_fault(&rig, fault);
        reply = push_send(client, &push);
        assert_reason(reply, r->status, r->word);
        assert_string_equal(reply->apns_id, UUID);
        assert_int_equal(rig_stat(&rig, "apns", "rejected", r->word), 1);
    }
    assert_int_equal(push_send(client, &push)->status, 200);
}

/* ---- provider tokens ---- */

/* "bearer " and a token signed by the rig's key, or by another one. */
static char *sign(const char *kid, const char *iss, int64_t iat, const char *key_file)
{
    g_autofree char *pem = rig_file(&rig, key_file);
    g_autofree char *claims =
        g_strdup_printf("{\"iss\":\"%s\",\"iat\":%" G_GINT64_FORMAT "}", iss, (gint64)iat);
    g_autofree char *token = jwt_sign("ES256", kid, pem, claims, NULL);

    assert_non_null(token);
    return g_strconcat("bearer ", token, NULL);
}

static void test_provider_token_is_verified(void **state)
{
    int64_t now_s = clock_system()->utc_us(clock_system()) / USEC_PER_SEC;
    const struct {
        const char *kid, *iss;
        int64_t iat;
        const char *key, *reason; /* NULL = accepted */
    } cases[] = {
        {SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID, now_s, "apns-key.p8", NULL},
        {SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID, now_s - 3500, "apns-key.p8", NULL},
        {SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID, now_s - 3601, "apns-key.p8", "ExpiredProviderToken"},
        {SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID, now_s + 3600, "apns-key.p8", "InvalidProviderToken"},
        {"OTHERKEY01", SIM_APNS_TEAM_ID, now_s, "apns-key.p8", "InvalidProviderToken"},
        {SIM_APNS_KEY_ID, "OTHERTEAM1", now_s, "apns-key.p8", "InvalidProviderToken"},
        {SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID, now_s, "server.key", "InvalidProviderToken"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        loa_auto(client) client = client_new(&rig, rig.apns);
        g_autofree char *token = sign(cases[i].kid, cases[i].iss, cases[i].iat, cases[i].key);
        struct push push = push_good();
        push.authorization = token;
        if (cases[i].reason != NULL)
            assert_reason(push_send(client, &push), 403, cases[i].reason);
        else
            assert_int_equal(push_send(client, &push)->status, 200);
    }
}

static void test_unsigned_token_is_refused(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    g_autofree char *claims =
        g_strdup_printf("{\"iss\":\"" SIM_APNS_TEAM_ID "\",\"iat\":%" G_GINT64_FORMAT "}",
                        (gint64)(clock_system()->utc_us(clock_system()) / USEC_PER_SEC));
    const char *head = "{\"alg\":\"none\",\"kid\":\"" SIM_APNS_KEY_ID "\"}";
    g_autofree char *h = crypto_base64url(head, strlen(head));
    g_autofree char *c = crypto_base64url(claims, strlen(claims));
    g_autofree char *token = g_strdup_printf("bearer %s.%s.", h, c);
    struct push push = push_good();

    (void)state;
    push.authorization = token;
    assert_reason(push_send(client, &push), 403, "InvalidProviderToken");
}

static void test_too_many_token_updates(void **state)
{
    int64_t now_s = clock_system()->utc_us(clock_system()) / USEC_PER_SEC;
    loa_auto(client) client = client_new(&rig, rig.apns);
    struct push push = push_good();

    (void)state;
    for (int i = 0; i < 3; i++) {
        g_autofree char *token =
            sign(SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID, now_s - i - 1, "apns-key.p8");
        push.authorization = token;
        if (i < 2) /* the first, and one refresh of it */
            assert_int_equal(push_send(client, &push)->status, 200);
        else
            assert_reason(push_send(client, &push), 429, "TooManyProviderTokenUpdates");
    }
}

static void test_expired_token_wedges_connection(void **state)
{
    loa_auto(client) client = client_new(&rig, rig.apns);
    loa_auto(client) other = NULL;
    g_autofree char *fresh = NULL;
    struct push push = push_good();

    (void)state;
    rig_fault(&rig, "\"channel\":\"apns\",\"do\":{\"expired_token\":true},\"count\":1");
    assert_reason(push_send(client, &push), 403, "ExpiredProviderToken");
    fresh = sign(SIM_APNS_KEY_ID, SIM_APNS_TEAM_ID,
                 clock_system()->utc_us(clock_system()) / USEC_PER_SEC - 60, "apns-key.p8");
    push.authorization = fresh;
    assert_reason(push_send(client, &push), 403, "ExpiredProviderToken");
    other = client_new(&rig, rig.apns);
    assert_int_equal(push_send(other, &push)->status, 200);
    g_free(bearer);
    bearer = g_steal_pointer(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_accepts_and_echoes_id, each),
        cmocka_unit_test_setup(test_request_is_judged, each),
        cmocka_unit_test_setup(test_limits_are_inclusive, each),
        cmocka_unit_test_setup(test_environment_by_port, each),
        cmocka_unit_test_setup(test_dead_device_has_timestamp, each),
        cmocka_unit_test_setup(test_every_reason_as_fault, each),
        cmocka_unit_test_setup(test_provider_token_is_verified, each),
        cmocka_unit_test_setup(test_unsigned_token_is_refused, each),
        cmocka_unit_test_setup(test_too_many_token_updates, each),
        cmocka_unit_test_setup(test_expired_token_wedges_connection, each),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
