/* lib: loa_testbroker */
/* What `loa doctor` asks a broker: a real one as Loa configures it, and with one thing wrong at a
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "mqtt/probe.h"
#include "tests/support/testbroker.h"

static void note(bool ok, const char *detail, void *user)
{
    g_ptr_array_add(user, g_strdup_printf("%s %s", ok ? "OK" : "FAIL", detail));
}

static GPtrArray *ask(const struct testbroker *broker, const char *certificate)
{
    g_autofree char *cert = g_strdup_printf("%s.pem", certificate);
    g_autofree char *key = g_strdup_printf("%s.key", certificate);
    GPtrArray *answers = g_ptr_array_new_with_free_func(g_free);
    struct settings *settings = settings_defaults();

    assert_true(settings_set(settings, "mqtt", "ca_file", testbroker_pki("ca.pem"), NULL));
    assert_true(settings_set(settings, "mqtt", "cert_file", testbroker_pki(cert), NULL));
    assert_true(settings_set(settings, "mqtt", "key_file", testbroker_pki(key), NULL));
    mqtt_probe_run(settings, testbroker_address(broker), note, answers);
    settings_free(settings);
    return answers;
}

/* So many answers, so many of them FAIL, one of these with the words in failing. */
static void assert_answers(const GPtrArray *answers, guint n, guint failures, const char *failing)
{
    guint failed = 0;
    bool found = failing == NULL;

    for (guint i = 0; i < answers->len; i++) {
        const char *answer = answers->pdata[i];
        if (!g_str_has_prefix(answer, "FAIL "))
            continue;
        failed++;
        found = found || strstr(answer, failing) != NULL;
        if (failures == 0)
            print_error("%s\n", answer);
    }
    assert_int_equal(answers->len, n);
    assert_int_equal(failed, failures);
    assert_true(found);
}

static void test_as_configured(void **state)
{
    struct testbroker *broker = testbroker_new(NULL, 0);
    struct testclient *later;
    g_autoptr(GPtrArray) answers = ask(broker, "engine");
    (void)state;

    assert_answers(answers, 5, 0, NULL);
    /* Nothing remains on the canary's topic. */
    later = testclient_engine(broker, "engine");
    assert_int_equal(testclient_connect(later), 0);
    testclient_subscribe(later, "loa/v1/canary");
    assert_true(testclient_publish(later, "loa/v1/canary", "x", false) < 0x80);
    testclient_until_messages(later, 1);
    assert_string_equal(((struct testmessage *)testclient_messages(later)->pdata[0])->payload, "x");
    testclient_free(later);
    testbroker_free(broker);
}

static void test_something_wrong(void **state)
{
    static const struct {
        const char *file, *more;
        guint failures;
        const char *failing;
    } cases[] = {
        {"engine.acl", "topic readwrite #\n", 1, "does not apply engine.acl"},
        {"mosquitto.conf", "retain_available false\n", 2, "does not retain messages"},
        {"mosquitto.conf", "max_packet_size 4096\n", 1, "largest packet has 4096 bytes"},
        /* Without names there are no rights either. */
        {"mosquitto.conf",
         "require_certificate false\nuse_identity_as_username false\nallow_anonymous true\n", 3,
         "without the engine's certificate gets in"},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct testbroker *broker = testbroker_new(NULL, 0);
        testbroker_kill(broker);
        testbroker_append(broker, cases[i].file, cases[i].more);
        testbroker_start(broker);
        g_autoptr(GPtrArray) answers = ask(broker, "engine");
        assert_answers(answers, 5, cases[i].failures, cases[i].failing);
        testbroker_free(broker);
    }
}

static void test_wrong_certificate(void **state)
{
    struct testbroker *broker = testbroker_new(NULL, 0);
    g_autoptr(GPtrArray) stranger = ask(broker, "stranger"), untrusted = ask(broker, "untrusted");
    (void)state;

    assert_answers(stranger, 5, 2, "a shared subscription");
    assert_answers(untrusted, 1, 1, "does not let the engine in");
    testbroker_free(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_configured),
        cmocka_unit_test(test_something_wrong),
        cmocka_unit_test(test_wrong_certificate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
