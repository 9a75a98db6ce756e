/* lib: loa_fcm */
/* The service account file: what is wrong with it is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/error.h"
#include "fcm/account.h"
#include "tests/unit/fcm_rig.h"

static char *private_pem, *public_pem;
static char *pki; /* a folder for the files */

static void test_a_bad_account_is_named(void **state)
{
    static const struct {
        const char *field, *value;
        const char *mentions;
    } rows[] = {
        {"project_id", NULL, "project_id"},
        {"project_id", "a/b", "project_id"},
        {"client_email", NULL, "client_email"},
        {"private_key_id", NULL, "private_key_id"},
        {"private_key", "-----BEGIN PRIVATE KEY-----\nAAAA\n", "private_key"},
        {"token_uri", "http://localhost/token", "token_uri"},
    };
    g_autofree char *file = pki_file(pki, "bad.json"),
                    *text = rig_account_text(private_pem, "https://x/token");

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) account = json_loads(text, 0, NULL);
        if (rows[i].value != NULL)
            json_object_set_new(account, rows[i].field, json_string(rows[i].value));
        else
            json_object_del(account, rows[i].field);
        char *dumped = json_dumps(account, 0);
        rig_write_file(pki, "bad.json", dumped);
        free(dumped);
        assert_null(fcm_account_load(file, &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
        if (strstr(error->message, rows[i].mentions) == NULL ||
            strstr(error->message, "bad.json") == NULL)
            fail_msg("%s: %s", rows[i].field, error->message);
    }
}

static void test_an_account_signs_for_an_hour(void **state)
{
    g_autofree char *file = pki_file(pki, "good.json"), *claims = NULL, *assertion = NULL;
    g_autofree char *text = rig_account_text(private_pem, "https://x/token"), *kid = NULL;

    (void)state;
    rig_write_file(pki, "good.json", text);
    loa_auto(fcm_account) account = fcm_account_load(file, NULL);
    assert_non_null(account);
    assert_string_equal(account->project_id, "loa-test");
    assertion = fcm_account_assertion(account, RIG_NOW_S, NULL);
    claims = jwt_verify("RS256", public_pem, assertion, &kid, NULL);
    g_autoptr(json_t) json = json_loads(claims, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "exp")), RIG_NOW_S + 3600);
}

static int set_up(void **state)
{
    (void)state;
    crypto_init();
    rig_rsa_key(&private_pem, &public_pem);
    pki = g_dir_make_tmp("loa-fcm-XXXXXX", NULL);
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
        cmocka_unit_test(test_a_bad_account_is_named),
        cmocka_unit_test(test_an_account_signs_for_an_hour),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
