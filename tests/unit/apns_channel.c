/* lib: loa_apns */
/* The APNs channel against a scripted server: every header, the provider token's life, the
 * settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apns/apns.h"
#include "apns/payload.h"
#include "base/crypto.h"
#include "base/error.h"
#include "tests/unit/channel_rig.h"

#include <openssl/pem.h>

#define MINUTE_US (60 * USEC_PER_SEC)

static char *pki;
static char *public_pem;
static struct clock_fake fake;

/* ---- the provider ---- */

struct provider {
    struct peer *production, *sandbox;
    const char *status, *body; /* answer to everything */
    unsigned requests;
    char *seen[PEER_HEADERS_MAX]; /* the last request's headers, "name: value" */
    unsigned n_seen;
    char *last_body;
    char *jwt;  /* of the last request */
    bool apart; /* the last request came to the sandbox */
};

static void forget_request(struct provider *p)
{
    while (p->n_seen > 0)
        g_free(p->seen[--p->n_seen]);
    g_clear_pointer(&p->last_body, g_free);
    g_clear_pointer(&p->jwt, g_free);
}

static void serve(struct peer_request *request, void *user)
{
    struct provider *p = user;

    forget_request(p);
    for (unsigned i = 0; i < request->n_headers; i++)
        p->seen[p->n_seen++] =
            g_strdup_printf("%s: %s", request->headers[i].name, request->headers[i].value);
    p->last_body = g_strdup(request->body->str);
    p->jwt = g_strdup(peer_header(request, "authorization") + strlen("bearer "));
    p->apart = request->conn->peer == p->sandbox;
    p->requests++;
    peer_answer(request, p->status, p->body, NULL);
}

static void provider_start(struct provider *p)
{
    *p = (struct provider){.status = "200", .body = ""};
    p->production = peer_new("127.0.0.1", pki, "broker");
    p->sandbox = peer_new("127.0.0.1", pki, "broker");
    p->production->on_request = p->sandbox->on_request = serve;
    p->production->user = p->sandbox->user = p;
}

static void provider_stop(struct provider *p)
{
    forget_request(p);
    peer_free(p->production);
    peer_free(p->sandbox);
}

static struct settings *settings_for(const struct provider *p)
{
    struct settings *s = settings_defaults();
    g_autofree char *endpoint = g_strdup_printf("localhost:%u", p->production->port);
    g_autofree char *sandbox = g_strdup_printf("localhost:%u", p->sandbox->port);
    g_autofree char *ca = pki_file(pki, "ca.pem"), *key = pki_file(pki, "apns.p8");
    const char *const values[][2] = {
        {"endpoint", endpoint}, {"sandbox_endpoint", sandbox}, {"ca_file", ca},
        {"key_file", key},      {"key_id", "LOAKEY0001"},      {"team_id", "LOATEAM001"},
        {"topic", "vn.gov.x"},  {"connections", "2"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
        assert_true(settings_set(s, "apns", values[i][0], values[i][1], NULL));
    return s;
}

static void begin(struct provider *p, struct rig *rig)
{
    g_autoptr(GError) error = NULL;

    clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
    provider_start(p);
    loa_auto(settings) s = settings_for(p);
    struct channel *channel = apns_channel_new(s, &fake.clock, &error);
    assert_null(error);
    *rig = (struct rig){0};
    rig_start(rig, channel);
}

static void end(struct provider *p, struct rig *rig)
{
    rig_end(rig);
    provider_stop(p);
}

static struct channel_payload *render(struct rig *rig)
{
    struct message message = rig_message();
    struct channel_payload *payload = rig->channel->ops->render(rig->channel, &message, NULL);

    assert_non_null(payload);
    return payload;
}

static const char *seen(const struct provider *p, const char *name)
{
    size_t len = strlen(name);

    for (unsigned i = 0; i < p->n_seen; i++)
        if (strncmp(p->seen[i], name, len) == 0 && strncmp(p->seen[i] + len, ": ", 2) == 0)
            return p->seen[i] + len + 2;
    return "";
}

/* ---- requests ---- */

static void test_a_push_carries_every_header(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};
    g_autofree char *kid = NULL, *claims = NULL;

    (void)state;
    begin(&p, &rig);
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_PROVEN), 2);
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_UNPROVEN), 1);
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_SANDBOX), 1);
    struct channel_payload *payload = render(&rig);
    rig_send(&rig, &push, LANE_PROVEN, payload, "c0ffee01");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_ACCEPTED);
    assert_string_equal(seen(&p, ":method"), "POST");
    assert_string_equal(seen(&p, ":scheme"), "https");
    assert_string_equal(seen(&p, ":path"), "/3/device/c0ffee01");
    assert_true(g_str_has_prefix(seen(&p, ":authority"), "localhost:"));
    assert_string_equal(seen(&p, "apns-topic"), "vn.gov.x");
    assert_string_equal(seen(&p, "apns-push-type"), "alert");
    assert_string_equal(seen(&p, "apns-priority"), "10");
    assert_string_equal(seen(&p, "apns-expiration"), "1795003600");
    assert_string_equal(seen(&p, "apns-collapse-id"), "20261123-K7M2QX");
    assert_string_equal(seen(&p, "apns-id"), "00000000-0007-8001-8000-00000000002a");
    claims = jwt_verify("ES256", public_pem, p.jwt, &kid, NULL);
    assert_string_equal(kid, "LOAKEY0001");
    assert_string_equal(claims, "{\"iss\":\"LOATEAM001\",\"iat\":1795000000}");
    assert_string_equal(p.last_body, payload->body);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

static void test_lanes_have_their_own_hosts_and_open_up_after_the_first_answer(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};

    (void)state;
    begin(&p, &rig);
    struct channel_payload *payload = render(&rig);
    rig_send(&rig, &push, LANE_SANDBOX, payload, "5a01");
    assert_int_equal(rig.channel->ops->room(rig.channel, LANE_SANDBOX, 0), 0); /* one at first */
    PEER_WAIT_UNTIL(push.done == 1);
    assert_true(p.apart);
    assert_true(rig.channel->ops->room(rig.channel, LANE_SANDBOX, 0) > 1);
    PEER_WAIT_UNTIL(rig.channel->ops->room(rig.channel, LANE_UNPROVEN, 0) == 1);
    p.status = "403";
    p.body = "{\"reason\":\"InvalidProviderToken\"}";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "5a02");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_false(p.apart);
    assert_int_equal(push.verdict.kind, VERDICT_REJECTED_CONFIG);
    assert_int_equal(rig.channel->ops->room(rig.channel, LANE_UNPROVEN, 0), 1); /* not proven */
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

static void test_a_malformed_token_is_dead_without_a_request(void **state)
{
    static const char *const tokens[] = {"", "../../x", "a b", "abc\n", "%41"};
    struct provider p;
    struct rig rig;

    (void)state;
    begin(&p, &rig);
    struct channel_payload *payload = render(&rig);
    for (size_t i = 0; i < G_N_ELEMENTS(tokens); i++) {
        struct rig_push push = {.done = 0};
        rig_send(&rig, &push, LANE_PROVEN, payload, tokens[i]);
        PEER_WAIT_UNTIL(push.done == 1);
        assert_int_equal(push.verdict.kind, VERDICT_DEAD_TOKEN);
        assert_string_equal(push.verdict.reason, "malformed_token");
    }
    assert_int_equal(p.requests, 0);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

static void test_shutdown_drains_the_connection(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};

    (void)state;
    begin(&p, &rig);
    PEER_WAIT_UNTIL(p.production->connections == 3); /* all there will be */
    struct channel_payload *payload = render(&rig);
    p.status = "503";
    p.body = "{\"reason\":\"Shutdown\"}";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    unsigned before = p.production->connections;
    assert_int_equal(push.verdict.kind, VERDICT_TRANSIENT);
    assert_int_equal(rig.channel->ops->room(rig.channel, LANE_UNPROVEN, 0), 0);
    clock_fake_advance(&fake, 2 * USEC_PER_SEC); /* past the pause before the next attempt */
    p.status = "200";
    p.body = "";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(p.production->connections, before + 1);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

/* ---- the provider token ---- */

static void test_an_expired_token_is_replaced_on_a_new_connection(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};
    g_autofree char *old = NULL;

    (void)state;
    begin(&p, &rig);
    struct channel_payload *payload = render(&rig);
    clock_fake_advance(&fake, 25 * MINUTE_US);
    p.status = "403";
    p.body = "{\"reason\":\"ExpiredProviderToken\"}";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_TRANSIENT);
    assert_true(push.verdict.close_connection && push.verdict.renew_credentials);
    old = g_steal_pointer(&p.jwt);
    clock_fake_advance(&fake, 2 * USEC_PER_SEC);
    p.status = "200";
    p.body = "";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_ACCEPTED);
    assert_string_not_equal(p.jwt, old);
    /* a young one is replaced too, but once; then, after a while, it is our clock */
    p.status = "403";
    p.body = "{\"reason\":\"ExpiredProviderToken\"}";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_TRANSIENT);
    clock_fake_advance(&fake, 2 * USEC_PER_SEC);
    p.status = "403";
    p.body = "{\"reason\":\"ExpiredProviderToken\"}";
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_TRANSIENT);
    clock_fake_advance(&fake, 30 * USEC_PER_SEC);
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "aa");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_REJECTED_CONFIG);
    assert_string_equal(push.verdict.reason, "ExpiredProviderToken");
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

/* ---- dry run, freeing ---- */

static void test_dry_runs(void **state)
{
    static const struct {
        const char *status, *body;
        bool ok;
        const char *detail;
    } rows[] = {
        {"400", "{\"reason\":\"BadDeviceToken\"}", true, "credentials accepted"},
        {"200", "", true, "accepted"},
        {"403", "{\"reason\":\"InvalidProviderToken\"}", false, "InvalidProviderToken"},
        {"400", "{\"reason\":\"TopicDisallowed\"}", false, "TopicDisallowed"},
    };
    struct provider p;
    struct rig rig;

    (void)state;
    begin(&p, &rig);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        p.status = rows[i].status;
        p.body = rows[i].body;
        rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
        assert_int_equal(rig.dry_runs, i);
        PEER_WAIT_UNTIL(rig.dry_runs == (int64_t)i + 1);
        assert_int_equal(rig.dry_run_ok, rows[i].ok);
        assert_string_equal(rig.dry_run_detail, rows[i].detail);
        assert_string_equal(seen(&p, "apns-priority"), "5");
        assert_string_equal(seen(&p, "apns-expiration"), "0");
    }
    end(&p, &rig);
}

static void serve_nothing(struct peer_request *request, void *user)
{
    struct provider *p = user;
    (void)request;
    p->requests++;
}

static void test_free_ends_pushes_and_drops_dry_runs(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};

    (void)state;
    begin(&p, &rig);
    p.production->on_request = serve_nothing;
    struct channel_payload *payload = render(&rig);
    rig_send(&rig, &push, LANE_PROVEN, payload, "aa");
    rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
    PEER_WAIT_UNTIL(p.requests == 2);
    rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
    assert_int_equal(push.done, 1);
    assert_int_equal(push.verdict.kind, VERDICT_UNKNOWN);
    assert_int_equal(rig.dry_runs, 0);
}

/* ---- settings ---- */

static void test_bad_settings_are_named(void **state)
{
    static const struct {
        const char *key, *value;
        enum loa_error code;
        const char *mentions;
    } rows[] = {
        {"key_file", "/nonexistent.p8", LOA_ERROR_NOT_FOUND, "/nonexistent.p8"},
        {"key_file", "bad.p8", LOA_ERROR_INVALID, "bad.p8"},
        {"key_id", "", LOA_ERROR_INVALID, "key_id"},
        {"team_id", "x\"y", LOA_ERROR_INVALID, "team_id"},
        {"topic", "", LOA_ERROR_INVALID, "topic"},
        {"fallback_level", "loud", LOA_ERROR_INVALID, "loud"},
        {"canary_token", "../x", LOA_ERROR_INVALID, "canary_token"},
        {"endpoint", "nowhere", LOA_ERROR_INVALID, "nowhere"},
        {"ca_file", "/nonexistent.pem", LOA_ERROR_INVALID, "/nonexistent.pem"},
    };
    struct provider p;

    (void)state;
    provider_start(&p);
    rig_write_file(pki, "bad.p8", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *bad = pki_file(pki, "bad.p8");
        loa_auto(settings) s = settings_for(&p);
        const char *value = strcmp(rows[i].value, "bad.p8") == 0 ? bad : rows[i].value;
        assert_true(settings_set(s, "apns", rows[i].key, value, NULL));
        assert_null(apns_channel_new(s, clock_system(), &error));
        if (!g_error_matches(error, LOA_ERROR, (int)rows[i].code) ||
            strstr(error->message, rows[i].mentions) == NULL)
            fail_msg("%s: %s", rows[i].key, error->message);
    }
    provider_stop(&p);
}

static void test_a_renderer_needs_no_credentials(void **state)
{
    loa_auto(settings) s = settings_defaults();
    struct rig rig = {.channel = apns_renderer_new(s)};
    struct channel_payload *payload = render(&rig);

    (void)state;
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_PROVEN), 0);
    assert_int_equal(rig.channel->ops->payload_size(payload), payload->body_len);
    rig.channel->ops->payload_free(payload);
    rig_end(&rig);
}

/* ---- the key ---- */

static int set_up(void **state)
{
    g_autofree char *from = NULL, *key = NULL;
    char *pem = NULL;

    (void)state;
    log_set_sink(rig_drop_log, NULL);
    crypto_init();
    if ((pki = pki_make()) == NULL)
        return 1;
    from = pki_file(pki, "engine.key");
    if (!g_file_get_contents(from, &key, NULL, NULL))
        return 1;
    rig_write_file(pki, "apns.p8", key);
    BIO *in = BIO_new_mem_buf(key, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    PEM_write_bio_PUBKEY(out, pkey);
    gsize len = (gsize)BIO_get_mem_data(out, &pem);
    public_pem = g_strndup(pem, len);
    EVP_PKEY_free(pkey);
    BIO_free(in);
    BIO_free(out);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_remove(pki);
    g_free(public_pem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_carries_every_header),
        cmocka_unit_test(test_lanes_have_their_own_hosts_and_open_up_after_the_first_answer),
        cmocka_unit_test(test_a_malformed_token_is_dead_without_a_request),
        cmocka_unit_test(test_shutdown_drains_the_connection),
        cmocka_unit_test(test_an_expired_token_is_replaced_on_a_new_connection),
        cmocka_unit_test(test_dry_runs),
        cmocka_unit_test(test_free_ends_pushes_and_drops_dry_runs),
        cmocka_unit_test(test_bad_settings_are_named),
        cmocka_unit_test(test_a_renderer_needs_no_credentials),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
