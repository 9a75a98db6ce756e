/* The OAuth endpoint, through libcurl as Loa uses it, in both versions of HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "tests/sim/rig.h"
#include "tests/sim/sim.h"

#define SCOPE "https://www.googleapis.com/auth/firebase.messaging"
#define GRANT "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"

static struct rig rig;
static json_t *account;

static int setup(void **state)
{
    g_autofree char *text = NULL;

    (void)state;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    rig_start(&rig, NULL);
    text = rig_file(&rig, "fcm-service-account.json");
    account = json_loads(text, 0, NULL);
    return account != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(account);
    rig_stop(&rig);
    curl_global_cleanup();
    return 0;
}

static int each(void **state)
{
    (void)state;
    rig_fresh(&rig);
    return 0;
}

static const char *account_text(const char *name)
{
    return json_string_value(json_object_get(account, name));
}

static size_t collect(char *data, size_t size, size_t count, void *user)
{
    g_string_append_len(user, data, (gssize)(size * count));
    return size * count;
}

/* POSTs a form to the token URI. Returns the HTTP status, 0 when the transfer failed. */
static long post(const char *form, long version, char **out_body, char **out_retry)
{
    CURL *curl = curl_easy_init();
    GString *body = g_string_new(NULL);
    g_autofree char *ca = rig_path(&rig, "ca.pem");
    long status = 0;
    curl_off_t retry = 0;

    curl_easy_setopt(curl, CURLOPT_URL, account_text("token_uri"));
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry);
    if (out_retry != NULL)
        *out_retry = g_strdup_printf("%ld", (long)retry);
    curl_easy_cleanup(curl);
    *out_body = g_string_free(body, FALSE);
    return status;
}

static int64_t now_s(void)
{
    return clock_system()->utc_us(clock_system()) / USEC_PER_SEC;
}

/* The claims of a good assertion; a case replaces one. */
static json_t *good_claims(void)
{
    return json_pack("{s:s,s:s,s:s,s:I,s:I}", "iss", account_text("client_email"), "scope", SCOPE,
                     "aud", account_text("token_uri"), "iat", (json_int_t)now_s(), "exp",
                     (json_int_t)(now_s() + 3600));
}

static char *form_of(const json_t *claims, const char *alg, const char *pem)
{
    g_autofree char *text = json_dumps(claims, JSON_COMPACT);
    g_autofree char *assertion = jwt_sign(alg, account_text("private_key_id"), pem, text, NULL);

    assert_non_null(assertion);
    return g_strconcat("grant_type=" GRANT "&assertion=", assertion, NULL);
}

static void assert_error(const char *form, const char *error)
{
    g_autofree char *body = NULL;
    g_autoptr(json_t) json = NULL;

    assert_int_equal(post(form, CURL_HTTP_VERSION_2TLS, &body, NULL), 400);
    json = json_loads(body, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "error")), error);
    assert_non_null(json_object_get(json, "error_description"));
}

/* Does FCM take this token? */
static int fcm_status(const char *token)
{
    loa_auto(client) client = client_new(&rig, rig.fcm);
    g_autofree char *bearer = g_strconcat("Bearer ", token, NULL);
    const char *const headers[] = {":path",
                                   "/v1/projects/" SIM_PROJECT "/messages:send",
                                   "authorization",
                                   bearer,
                                   "content-type",
                                   "application/json",
                                   NULL};

    return client_ask(client, headers, "{\"message\":{\"token\":\"abc\"}}")->status;
}

static void test_issues_a_token_that_fcm_takes(void **state)
{
    static const long versions[] = {CURL_HTTP_VERSION_2TLS, CURL_HTTP_VERSION_1_1};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(versions); i++) {
        g_autoptr(json_t) claims = good_claims(), json = NULL;
        g_autofree char *form = form_of(claims, "RS256", account_text("private_key"));
        g_autofree char *body = NULL;
        assert_int_equal(post(form, versions[i], &body, NULL), 200);
        json = json_loads(body, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(json, "expires_in")), 3600);
        assert_string_equal(json_string_value(json_object_get(json, "token_type")), "Bearer");
        assert_int_equal(fcm_status(json_string_value(json_object_get(json, "access_token"))), 200);
    }
    assert_int_equal(rig_stat(&rig, "oauth", "accepted", NULL), 2);
}

static void test_claims_are_judged(void **state)
{
    const struct {
        const char *claim;
        json_t *value;
    } cases[] = {
        {"iss", json_string("somebody@else")},
        {"aud", json_string("https://oauth2.googleapis.com/token")},
        {"scope", json_string("https://www.googleapis.com/auth/drive")},
        {"scope", json_integer(1)},
        {"iat", json_integer(now_s() + 3000)},     /* in the future */
        {"exp", json_integer(now_s() + 3601 + 1)}, /* longer than an hour */
        {"exp", json_integer(now_s() - 301)},      /* over */
        {"exp", json_string("later")},
        {"iat", json_null()},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) claims = good_claims();
        g_autofree char *form = NULL;
        json_object_set_new(claims, cases[i].claim, cases[i].value);
        form = form_of(claims, "RS256", account_text("private_key"));
        assert_error(form, "invalid_grant");
    }
    assert_int_equal(rig_stat(&rig, "oauth", "rejected", "invalid_grant"), G_N_ELEMENTS(cases));
}

static void test_forged_assertions(void **state)
{
    g_autoptr(json_t) claims = good_claims();
    g_autofree char *text = json_dumps(claims, JSON_COMPACT);
    g_autofree char *c = crypto_base64url(text, strlen(text));
    g_autofree char *h = crypto_base64url("{\"alg\":\"none\"}", 14);
    g_autofree char *none = g_strconcat("grant_type=" GRANT "&assertion=", h, ".", c, ".", NULL);
    g_autofree char *other_key = rig_file(&rig, "apns-key.p8");
    g_autofree char *wrong_alg = form_of(claims, "ES256", other_key);
    g_autofree char *cut = form_of(claims, "RS256", account_text("private_key"));

    (void)state;
    assert_error(none, "invalid_grant");
    assert_error(wrong_alg, "invalid_grant");
    cut[strlen(cut) - 5] = cut[strlen(cut) - 5] == 'A' ? 'B' : 'A';
    assert_error(cut, "invalid_grant");
    assert_int_equal(rig_stat(&rig, "oauth", "accepted", NULL), 0);
}

static void test_form_is_judged(void **state)
{
    (void)state;
    assert_error("assertion=a.b.c", "invalid_request");
    assert_error("grant_type=" GRANT, "invalid_request");
    assert_error("grant_type=" GRANT "&assertion=a.b.c&assertion=a.b.c", "invalid_request");
    assert_error("grant_type=%zz&assertion=a.b.c", "invalid_request");
    assert_error("grant_type=client_credentials&assertion=a.b.c", "unsupported_grant_type");
    assert_error("grant_type=" GRANT "&assertion=rubbish", "invalid_grant");
}

static void test_faults(void **state)
{
    g_autoptr(json_t) claims = good_claims();
    g_autofree char *form = form_of(claims, "RS256", account_text("private_key"));
    g_autofree char *body = NULL, *retry = NULL, *dead = NULL, *last = NULL;
    g_autoptr(json_t) json = NULL;

    (void)state;
    rig_fault(&rig, "\"channel\":\"oauth\",\"do\":{\"status\":503,\"retry_after\":3},\"count\":1");
    assert_int_equal(post(form, CURL_HTTP_VERSION_1_1, &body, &retry), 503);
    assert_string_equal(retry, "3");
    rig_fault(&rig, "\"channel\":\"oauth\",\"do\":{\"expired_token\":true},\"count\":1");
    assert_int_equal(post(form, CURL_HTTP_VERSION_2TLS, &dead, NULL), 200);
    json = json_loads(dead, 0, NULL);
    assert_int_equal(fcm_status(json_string_value(json_object_get(json, "access_token"))), 401);
    rig_fault(&rig, "\"channel\":\"oauth\",\"do\":{\"close\":true},\"count\":1");
    assert_int_equal(post(form, CURL_HTTP_VERSION_1_1, &last, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_issues_a_token_that_fcm_takes, each),
        cmocka_unit_test_setup(test_claims_are_judged, each),
        cmocka_unit_test_setup(test_forged_assertions, each),
        cmocka_unit_test_setup(test_form_is_judged, each),
        cmocka_unit_test_setup(test_faults, each),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
