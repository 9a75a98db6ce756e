/* lib: loa_fcm */
/* The FCM channel against a scripted server that is also the OAuth server: requests, the access
 * token's life, the settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/metrics.h"
#include "fcm/fcm.h"
#include "tests/unit/fcm_rig.h"

#define UNAUTHENTICATED "{\"error\":{\"code\":401,\"status\":\"UNAUTHENTICATED\"}}"
#define BAD_TOKEN                                                                                  \
    "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":\"The registration "     \
    "token is not a valid FCM registration token\"}}"

static char *pki;
static char *private_pem, *public_pem;
static struct clock_fake fake;

/* ---- the provider ---- */

struct provider {
    struct peer *peer;
    const char *status, *body;             /* answer to every message */
    const char *oauth_status, *oauth_body; /* answer to every mint; NULL: a fresh token */
    const char *good;                      /* only this bearer is taken; NULL: any */
    unsigned messages, mints, refused;
    char *bearer, *last_body, *path, *form;
    char oauth_answer[128];
};

static void replace(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

static void serve_oauth(struct provider *p, struct peer_request *request)
{
    p->mints++;
    assert_string_equal(peer_header(request, "content-type"), "application/x-www-form-urlencoded");
    replace(&p->form, request->body->str);
    g_snprintf(p->oauth_answer, sizeof p->oauth_answer,
               "{\"access_token\":\"tok-%u\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
               p->mints);
    if (p->oauth_body != NULL)
        peer_answer(request, p->oauth_status, p->oauth_body, NULL);
    else
        peer_answer(request, "200", p->oauth_answer, NULL);
}

static void serve(struct peer_request *request, void *user)
{
    struct provider *p = user;

    if (strcmp(peer_header(request, ":path"), "/token") == 0) {
        serve_oauth(p, request);
        return;
    }
    p->messages++;
    replace(&p->bearer, peer_header(request, "authorization"));
    replace(&p->path, peer_header(request, ":path"));
    replace(&p->last_body, request->body->str);
    assert_string_equal(peer_header(request, ":method"), "POST");
    assert_string_equal(peer_header(request, "content-type"), "application/json");
    if (p->good != NULL && strcmp(p->bearer, p->good) != 0) {
        p->refused++;
        peer_answer(request, "401", UNAUTHENTICATED, NULL);
    } else {
        peer_answer(request, p->status, p->body, NULL);
    }
}

static void provider_start(struct provider *p)
{
    *p = (struct provider){.status = "200", .body = "{\"name\":\"projects/loa/messages/1\"}"};
    p->peer = peer_new("127.0.0.1", pki, "broker");
    p->peer->on_request = serve;
    p->peer->user = p;
}

static void provider_stop(struct provider *p)
{
    peer_free(p->peer);
    g_free(p->bearer);
    g_free(p->last_body);
    g_free(p->path);
    g_free(p->form);
}

static struct settings *settings_for(const struct provider *p)
{
    struct settings *s = settings_defaults();
    g_autofree char *endpoint = g_strdup_printf("localhost:%u", p->peer->port);
    g_autofree char *token_uri = g_strdup_printf("https://localhost:%u/token", p->peer->port);
    g_autofree char *account = rig_account_text(private_pem, token_uri);
    g_autofree char *ca = pki_file(pki, "ca.pem"), *file = pki_file(pki, "account.json");
    const char *const values[][2] = {{"endpoint", endpoint},
                                     {"ca_file", ca},
                                     {"service_account_file", file},
                                     {"connections", "2"}};

    rig_write_file(pki, "account.json", account);
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
        assert_true(settings_set(s, "fcm", values[i][0], values[i][1], NULL));
    return s;
}

static void open_channel(struct provider *p, struct rig *rig)
{
    g_autoptr(GError) error = NULL;
    loa_auto(settings) s = settings_for(p);
    struct channel *channel = fcm_channel_new(s, &fake.clock, &error);

    assert_null(error);
    *rig = (struct rig){0};
    rig_start(rig, channel);
}

static void begin(struct provider *p, struct rig *rig)
{
    clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
    provider_start(p);
    open_channel(p, rig);
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

/* ---- requests ---- */

static void check_assertion(const char *form, const char *audience)
{
    const char *assertion = strstr(form, "&assertion=");
    g_autofree char *kid = NULL, *claims = NULL, *wanted = NULL;

    assert_true(g_str_has_prefix(
        form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"));
    claims = jwt_verify("RS256", public_pem, assertion + strlen("&assertion="), &kid, NULL);
    assert_string_equal(kid, "kid-1");
    wanted = g_strdup_printf("{\"iss\":\"loa@loa-test.iam.gserviceaccount.com\",\"scope\":"
                             "\"https://www.googleapis.com/auth/firebase.messaging\",\"aud\":"
                             "\"%s\",\"iat\":1795000000,\"exp\":1795003600}",
                             audience);
    g_autoptr(json_t) have = json_loads(claims, 0, NULL), want = json_loads(wanted, 0, NULL);
    assert_true(json_equal(have, want));
}

static void test_a_push_is_sent_with_a_minted_token(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};
    double mints = metric_get(METRIC_TOKEN_MINTS, "fcm");

    (void)state;
    begin(&p, &rig);
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_PROVEN), 2);
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_UNPROVEN), 2);
    assert_int_equal(rig.channel->ops->slots(rig.channel, LANE_SANDBOX), 0);
    assert_int_equal(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0), 0);
    struct channel_payload *payload = render(&rig);
    rig_send(&rig, &push, LANE_PROVEN, payload, "dQw4:APA91b-x_y");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_ACCEPTED);
    assert_true(rig.room_calls > 0);
    assert_string_equal(p.bearer, "Bearer tok-1");
    assert_string_equal(p.path, "/v1/projects/loa-test/messages:send");
    g_autofree char *audience = g_strdup_printf("https://localhost:%u/token", p.peer->port);
    check_assertion(p.form, audience);
    g_autoptr(json_t) body = json_loads(p.last_body, 0, NULL);
    const json_t *message = json_object_get(body, "message");
    assert_string_equal(json_string_value(json_object_get(message, "token")), "dQw4:APA91b-x_y");
    assert_null(json_object_get(body, "validate_only"));
    assert_true(metric_get(METRIC_TOKEN_MINTS, "fcm") > mints - 0.5);
    assert_int_equal(p.mints, 1);

    push.push.is_fid = true;
    rig_send(&rig, &push, LANE_UNPROVEN, payload, "cFidExample");
    PEER_WAIT_UNTIL(push.done == 1);
    json_t *second = json_loads(p.last_body, 0, NULL);
    message = json_object_get(second, "message");
    assert_string_equal(json_string_value(json_object_get(message, "fid")), "cFidExample");
    assert_null(json_object_get(message, "token"));
    json_decref(second);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

static void test_a_malformed_token_is_dead_without_a_request(void **state)
{
    static const char *const tokens[] = {"", "a\"b", "a\\b", "a b", "a\nb", "\xc3\xa9"};
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
    }
    assert_int_equal(p.messages, 0);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

/* ---- the access token ---- */

static void test_a_refused_token_is_replaced_once(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};

    (void)state;
    begin(&p, &rig);
    struct channel_payload *payload = render(&rig);
    PEER_WAIT_UNTIL(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0) > 0);
    clock_fake_advance(&fake, 61 * USEC_PER_SEC); /* else the next mint waits */
    p.good = "Bearer tok-2";
    rig_send(&rig, &push, LANE_PROVEN, payload, "t");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_TRANSIENT);
    assert_true(push.verdict.renew_credentials);
    rig_send(&rig, &push, LANE_PROVEN, payload, "t"); /* waits for the new token */
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_ACCEPTED);
    assert_int_equal(p.mints, 2);

    /* a token that worked may be refused again; one that never did may not */
    p.good = "Bearer tok-none";
    clock_fake_advance(&fake, 61 * USEC_PER_SEC);
    rig_send(&rig, &push, LANE_PROVEN, payload, "t");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_TRANSIENT);
    rig_send(&rig, &push, LANE_PROVEN, payload, "t");
    PEER_WAIT_UNTIL(push.done == 1);
    assert_int_equal(push.verdict.kind, VERDICT_REJECTED_CONFIG);
    assert_string_equal(push.verdict.reason, "UNAUTHENTICATED");
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

/* Many answers 401 to one token are one renewal, and it waits until a minute after the last. */
static void test_renewals_are_single_and_spaced(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push pushes[20] = {{.done = 0}};
    gint64 until;

    (void)state;
    begin(&p, &rig);
    struct channel_payload *payload = render(&rig);
    p.good = "Bearer tok-2";
    PEER_WAIT_UNTIL(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0) >= 20);
    for (int i = 0; i < 20; i++)
        rig_send(&rig, &pushes[i], LANE_PROVEN, payload, "t");
    PEER_WAIT_UNTIL(p.refused == 20 && pushes[19].done == 1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(pushes[i].verdict.kind, VERDICT_TRANSIENT);
    assert_int_equal(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0), 0);
    until = g_get_monotonic_time() + 150 * 1000;
    PEER_WAIT_UNTIL(g_get_monotonic_time() > until);
    assert_int_equal(p.mints, 1);
    assert_null(rig.config_error);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
}

static void test_an_expired_token_closes_the_room(void **state)
{
    struct provider p;
    struct rig rig;

    (void)state;
    begin(&p, &rig);
    PEER_WAIT_UNTIL(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0) > 0);
    clock_fake_advance(&fake, 3599 * USEC_PER_SEC);
    assert_true(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0) > 0);
    clock_fake_advance(&fake, USEC_PER_SEC);
    assert_int_equal(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0), 0);
    end(&p, &rig);
}

struct oauth_case {
    const char *status, *body;
    const char *config_error; /* what the engine is told; NULL: nothing */
};

static void test_an_oauth_server_that_fails_or_refuses(void **state)
{
    static const struct oauth_case cases[] = {
        {"400", "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}",
         "oauth_refused: HTTP 400, invalid_grant: Invalid JWT Signature."},
        {"401", "<html>", "oauth_refused: HTTP 401"},
        {"503", "<html>", NULL},
        {"429", "{}", NULL},
        {"200", "{\"access_token\":\"\",\"expires_in\":3600}", NULL},
        {"200", "{\"access_token\":\"a b\",\"expires_in\":3600}", NULL},
        {"200", "{\"access_token\":\"tok\"}", NULL},
        {"200", "not json", NULL},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct provider p;
        struct rig rig;
        double failures = metric_get(METRIC_TOKEN_FAILURES, "fcm");
        clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
        provider_start(&p);
        p.oauth_status = cases[i].status;
        p.oauth_body = cases[i].body;
        open_channel(&p, &rig);
        PEER_WAIT_UNTIL(metric_get(METRIC_TOKEN_FAILURES, "fcm") > failures);
        assert_int_equal(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0), 0);
        if (cases[i].config_error != NULL)
            assert_string_equal(rig.config_error, cases[i].config_error);
        else
            assert_null(rig.config_error);
        if (i == 2) { /* it comes back */
            p.oauth_body = NULL;
            PEER_WAIT_UNTIL(rig.channel->ops->room(rig.channel, LANE_PROVEN, 0) > 0);
        }
        end(&p, &rig);
    }
}

/* ---- dry run, freeing ---- */

static void test_dry_runs(void **state)
{
    static const struct {
        const char *status, *body;
        bool ok;
        const char *detail;
    } rows[] = {
        {"400", BAD_TOKEN, true, "credentials accepted"},
        {"200", "{\"name\":\"projects/loa/messages/fake_message_id\"}", true, "accepted"},
        {"403", "{\"error\":{\"status\":\"PERMISSION_DENIED\"}}", false, "PERMISSION_DENIED"},
        {"404", "<html>", false, "http_404"},
    };
    struct provider p;
    struct rig rig;

    (void)state;
    begin(&p, &rig);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        p.status = rows[i].status;
        p.body = rows[i].body;
        rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
        PEER_WAIT_UNTIL(rig.dry_runs == (int64_t)i + 1);
        assert_int_equal(rig.dry_run_ok, rows[i].ok);
        assert_string_equal(rig.dry_run_detail, rows[i].detail);
        assert_true(g_str_has_prefix(p.last_body, "{\"validate_only\":true,\"message\":{"));
    }
    end(&p, &rig);
}

static void test_a_dry_run_without_credentials_says_so(void **state)
{
    struct provider p;
    struct rig rig;

    (void)state;
    clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
    provider_start(&p);
    p.oauth_status = "400";
    p.oauth_body = "{\"error\":\"invalid_grant\"}";
    open_channel(&p, &rig);
    rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
    PEER_WAIT_UNTIL(rig.config_error != NULL);
    clock_fake_advance(&fake, 21 * USEC_PER_SEC);
    PEER_WAIT_UNTIL(rig.dry_runs == 1);
    assert_false(rig.dry_run_ok);
    assert_string_equal(rig.dry_run_detail, "oauth_refused: HTTP 400, invalid_grant: ");
    end(&p, &rig);
}

static void serve_tokens_only(struct peer_request *request, void *user)
{
    struct provider *p = user;

    if (strcmp(peer_header(request, ":path"), "/token") == 0)
        serve_oauth(p, request);
    else
        p->messages++;
}

static void test_free_ends_pushes_and_drops_dry_runs(void **state)
{
    struct provider p;
    struct rig rig;
    struct rig_push push = {.done = 0};

    (void)state;
    begin(&p, &rig);
    p.peer->on_request = serve_tokens_only;
    struct channel_payload *payload = render(&rig);
    rig_send(&rig, &push, LANE_PROVEN, payload, "t");
    rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
    PEER_WAIT_UNTIL(p.messages == 2);
    rig.channel->ops->dry_run(rig.channel, rig_dry_run_done, &rig);
    rig.channel->ops->payload_free(payload);
    end(&p, &rig);
    assert_int_equal(push.done, 1);
    assert_int_equal(push.verdict.kind, VERDICT_UNKNOWN);
    assert_int_equal(rig.dry_runs, 0);
}

/* ---- settings ---- */

static void test_bad_settings_are_refused(void **state)
{
    static const struct {
        const char *key, *value;
        enum loa_error code;
    } rows[] = {
        {"service_account_file", "/nonexistent.json", LOA_ERROR_NOT_FOUND},
        {"endpoint", "nowhere", LOA_ERROR_INVALID},
        {"ca_file", "/nonexistent.pem", LOA_ERROR_INVALID},
    };
    struct provider p;

    (void)state;
    provider_start(&p);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        loa_auto(settings) s = settings_for(&p);
        assert_true(settings_set(s, "fcm", rows[i].key, rows[i].value, NULL));
        assert_null(fcm_channel_new(s, clock_system(), &error));
        assert_true(g_error_matches(error, LOA_ERROR, (int)rows[i].code));
        assert_non_null(strstr(error->message, rows[i].value));
    }
    provider_stop(&p);
}

static int set_up(void **state)
{
    (void)state;
    log_set_sink(rig_drop_log, NULL);
    crypto_init();
    rig_rsa_key(&private_pem, &public_pem);
    pki = pki_make();
    return pki == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    pki_remove(pki);
    g_free(private_pem);
    g_free(public_pem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_is_sent_with_a_minted_token),
        cmocka_unit_test(test_a_malformed_token_is_dead_without_a_request),
        cmocka_unit_test(test_a_refused_token_is_replaced_once),
        cmocka_unit_test(test_renewals_are_single_and_spaced),
        cmocka_unit_test(test_an_expired_token_closes_the_room),
        cmocka_unit_test(test_an_oauth_server_that_fails_or_refuses),
        cmocka_unit_test(test_dry_runs),
        cmocka_unit_test(test_a_dry_run_without_credentials_says_so),
        cmocka_unit_test(test_free_ends_pushes_and_drops_dry_runs),
        cmocka_unit_test(test_bad_settings_are_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
