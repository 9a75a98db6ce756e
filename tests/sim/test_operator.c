/* What an operator touches: the key directory, the control socket, the ctl command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/sim/commands.h"
#include "tests/sim/rig.h"

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static X509 *read_cert(const char *name)
{
    g_autofree char *text = rig_file(&rig, name);
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

/* Does ca.pem vouch for it, for this purpose? */
static bool is_trusted(X509 *cert, int purpose)
{
    X509 *ca = read_cert("ca.pem");
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool trusted;

    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX_init(context, store, cert, NULL);
    X509_STORE_CTX_set_purpose(context, purpose);
    trusted = X509_verify_cert(context) == 1;
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(ca);
    return trusted;
}

static void test_certificates(void **state)
{
    static const struct {
        const char *name;
        int purpose;
        bool trusted, local; /* local: valid for localhost and both loopbacks */
    } cases[] = {
        {"server.pem", X509_PURPOSE_SSL_SERVER, true, true},
        {"broker.pem", X509_PURPOSE_SSL_SERVER, true, true},
        {"engine.pem", X509_PURPOSE_SSL_CLIENT, true, false},
        {"engine.pem", X509_PURPOSE_SSL_SERVER, false, false},
        {"untrusted.pem", X509_PURPOSE_SSL_SERVER, false, true},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        X509 *cert = read_cert(cases[i].name);
        assert_int_equal(is_trusted(cert, cases[i].purpose), cases[i].trusted);
        assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL) == 1, cases[i].local);
        assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0) == 1, cases[i].local);
        assert_int_equal(X509_check_ip_asc(cert, "::1", 0) == 1, cases[i].local);
        X509_free(cert);
    }
}

static void test_private_keys_are_private(void **state)
{
    static const char *const names[] = {
        "ca.key",     "server.key",  "untrusted.key", "broker.key",
        "engine.key", "fcm-key.pem", "apns-key.p8",   "fcm-service-account.json"};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = rig_path(&rig, names[i]);
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
}

static void test_complete_directory_is_kept(void **state)
{
    char *argv[] = {"pki", rig.dir, NULL};
    g_autofree char *before = rig_file(&rig, "server.pem"), *after = NULL;

    (void)state;
    assert_int_equal(pki_main(2, argv), EX_OK);
    after = rig_file(&rig, "server.pem");
    assert_string_equal(before, after);
}

static void test_commands_are_checked(void **state)
{
    static const char *const wrong[] = {
        "",
        "stats",
        "{}",
        "{\"cmd\":\"explode\"}",
        "{\"cmd\":\"dump\"}",
        "{\"cmd\":\"dump\",\"channel\":\"oauth\",\"file\":\"/tmp/x\"}",
        "{\"cmd\":\"dump\",\"channel\":\"fcm\",\"file\":\"/nonexistent/x\"}",
        "{\"cmd\":\"alerts\"}",
        "{\"cmd\":\"credential\",\"channel\":\"oauth\"}",
        "{\"cmd\":\"fault\",\"channel\":\"fcm\"}",
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(json_t) answer = rig_ctl(&rig, "%s", wrong[i]);
        assert_true(json_is_false(json_object_get(answer, "ok")));
        assert_non_null(json_object_get(answer, "error"));
    }
}

static void test_commands_answer(void **state)
{
    static const char *const right[] = {
        "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"do\":{\"status\":503}}",
        "{\"cmd\":\"faults\"}",
        "{\"cmd\":\"clear\"}",
        "{\"cmd\":\"reset\"}",
        "{\"cmd\":\"credential\",\"channel\":\"fcm\"}",
        "{\"cmd\":\"credential\",\"channel\":\"apns\"}",
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
        g_autoptr(json_t) answer = rig_ctl(&rig, "%s", right[i]);
        assert_true(json_is_true(json_object_get(answer, "ok")));
    }
}

static void test_long_line_ends_the_connection(void **state)
{
    g_autofree char *line = g_strnfill(1024 * 1024, ' ');
    char *argv[] = {"ctl", rig.control, line, NULL};

    (void)state;
    assert_int_not_equal(ctl_main(3, argv), EX_OK);
    json_decref(rig_ctl(&rig, "{\"cmd\":\"stats\"}")); /* it still serves */
}

static void test_ctl_exit_codes(void **state)
{
    char *good[] = {"ctl", rig.control, "{\"cmd\":\"clear\"}", NULL};
    char *wrong[] = {"ctl", rig.control, "{\"cmd\":\"explode\"}", NULL};
    char *nobody[] = {"ctl", "/nonexistent/socket", "{}", NULL};
    char *few[] = {"ctl", rig.control, NULL};

    (void)state;
    assert_int_equal(ctl_main(3, good), EX_OK);
    assert_int_equal(ctl_main(3, wrong), EX_DATAERR);
    assert_int_equal(ctl_main(3, nobody), EX_TEMPFAIL);
    assert_int_equal(ctl_main(2, few), EX_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_private_keys_are_private),
        cmocka_unit_test(test_complete_directory_is_kept),
        cmocka_unit_test(test_commands_are_checked),
        cmocka_unit_test(test_commands_answer),
        cmocka_unit_test(test_long_line_ends_the_connection),
        cmocka_unit_test(test_ctl_exit_codes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
