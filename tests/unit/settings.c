/* lib: loa_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/error.h"
#include "base/settings.h"

static void test_defaults(void **state)
{
    loa_auto(settings) s = settings_defaults();
    (void)state;
    assert_string_equal(s->database_conninfo, "dbname=loa");
    assert_int_equal(s->api_threads, 4);
    assert_false(s->apns_critical_alerts);
    assert_string_equal(s->fcm_service_account_file, "");
    assert_int_equal(g_strv_length(s->deliver_channels), 2);
    assert_string_equal(s->deliver_channels[1], "apns");
    assert_int_equal(g_strv_length(s->mqtt_brokers), 0);
}

static void test_values_are_read(void **state)
{
    static const char text[] = "# comment\n"
                               "[api]\n"
                               "threads = 8\n"
                               "public_url=https://loa.example.vn\n"
                               "[mqtt]\n"
                               "brokers = a:8883 , b:8883\n"
                               "ca_file = keys/ca.pem\n"
                               "[apns]\n"
                               "critical_alerts=true\n"
                               "key_file = /etc/loa/apns.p8\n"
                               "[database]\n"
                               "conninfo = host=/run dbname=loa\\n\n";
    g_autoptr(GError) error = NULL;
    loa_auto(settings) s = settings_parse(text, strlen(text), "/etc/loa", &error);
    (void)state;
    if (s == NULL)
        fail_msg("%s", error->message);
    assert_int_equal(s->api_threads, 8);
    assert_string_equal(s->api_public_url, "https://loa.example.vn");
    assert_int_equal(g_strv_length(s->mqtt_brokers), 2);
    assert_string_equal(s->mqtt_brokers[0], "a:8883");
    assert_string_equal(s->mqtt_brokers[1], "b:8883");
    assert_string_equal(s->mqtt_ca_file, "/etc/loa/keys/ca.pem");
    assert_string_equal(s->apns_key_file, "/etc/loa/apns.p8");
    assert_true(s->apns_critical_alerts);
    /* No escapes: what stands there is what is meant. */
    assert_string_equal(s->database_conninfo, "host=/run dbname=loa\\n");
}

static void test_refusals_name_the_fault(void **state)
{
    static const struct {
        const char *text;
        const char *words[4]; /* all in the message */
    } cases[] = {
        {"[api]\nthreads=0\n", {"[api] threads = 0", "from 1 to 64 threads"}},
        {"[api]\nthreads=65\n", {"from 1 to 64"}},
        {"[api]\nthreads=4x\n", {"whole number"}},
        {"[api]\nthreads=\n", {"whole number"}},
        {"[api]\nthreads=99999999999999999999\n", {"whole number"}},
        {"[api]\nthread=4\n", {"[api] thread is not a setting", "nearest is threads"}},
        {"[Api]\nthreads=4\n", {"[Api] is not a section", "nearest is [api]"}},
        {"[apnss]\n", {"[apnss] is not a section", "nearest is [apns]"}},
        {"[api]\nlisten=\n", {"[api] listen", "1 to 108 bytes"}},
        {"[apns]\nkey_id=ABCDEFGHIJK\n", {"0 to 10 bytes"}},
        {"[apns]\ncritical_alerts=yes\n", {"true or false"}},
        {"[mqtt]\nbrokers=a:1,,b:2\n", {"item of the list is empty"}},
        {"[mqtt]\nbrokers=a:1,\n", {"item of the list is empty"}},
        {"[api]\npublic_url=a\tb\n", {"control character"}},
        {"[api]\nthreads=4\nthreads=5\n", {"[api] threads stands there twice"}},
        {"[api]\nthreads=4\n[fcm]\n[api]\nthreads=5\n", {"stands there twice"}},
        {"threads=4\n", {"group"}},
        {"[api\n", {"[api"}},
        {"[api]\nnonsense\n", {"nonsense"}},
        {"[api]\nthreads=0\nlisten=\n[fcm]\nport=1\n",
         {"[api] threads", "[api] listen", "[fcm] port"}}, /* all at once */
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        if (settings_parse(cases[i].text, strlen(cases[i].text), "/", &error) != NULL)
            fail_msg("accepted: %s", cases[i].text);
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
        for (size_t j = 0; j < 4 && cases[i].words[j] != NULL; j++) {
            if (strstr(error->message, cases[i].words[j]) == NULL)
                fail_msg("%s: %s", cases[i].text, error->message);
        }
    }
}

static void test_bytes_that_are_no_text(void **state)
{
    g_autofree char *huge = g_strnfill((256 << 10) + 1, '#');
    static const char nul[] = "[api]\nthreads=4\0\n";
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_null(settings_parse(huge, strlen(huge), "/", &error));
    g_clear_error(&error);
    assert_null(settings_parse(nul, sizeof nul - 1, "/", &error));
    g_clear_error(&error);
    static const char latin[] = "[api]\npublic_url=\xe9\n";
    assert_null(settings_parse(latin, sizeof latin - 1, "/", &error));
}

static void test_file(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("loa-settings-XXXXXX", NULL);
    g_autofree char *conf = g_build_filename(dir, "loa.conf", NULL);
    g_autofree char *key = g_build_filename(dir, "apns.p8", NULL);
    g_autoptr(GError) error = NULL;
    (void)state;
    loa_auto(settings) missing = settings_load(conf, &error);
    assert_true(missing == NULL && g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
    g_clear_error(&error);
    assert_true(g_file_set_contents(conf, "[apns]\nkey_file = apns.p8\n", -1, NULL));
    assert_true(g_file_set_contents(key, "secret", -1, NULL));
    assert_int_equal(g_chmod(key, 0600), 0);
    loa_auto(settings) good = settings_load(conf, &error);
    assert_non_null(good);
    assert_string_equal(good->apns_key_file, key);
    assert_int_equal(g_chmod(key, 0604), 0);
    loa_auto(settings) open = settings_load(conf, &error);
    assert_null(open);
    assert_non_null(strstr(error->message, "others may read"));
    assert_non_null(strstr(error->message, conf));
    g_unlink(conf);
    g_unlink(key);
    g_rmdir(dir);
}

static void test_set(void **state)
{
    loa_auto(settings) s = settings_defaults();
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_true(settings_set(s, "deliver", "channels", "fcm", &error));
    assert_int_equal(g_strv_length(s->deliver_channels), 1);
    assert_true(settings_set(s, "deliver", "channels", "", &error));
    assert_int_equal(g_strv_length(s->deliver_channels), 0);
    assert_false(settings_set(s, "deliver", "channels_", "fcm", &error));
}

static void expect_file(const char *path, const char *want)
{
    g_autofree char *have = NULL;
    if (g_getenv("LOA_WRITE_GENERATED") != NULL)
        assert_true(g_file_set_contents(path, want, -1, NULL));
    assert_true(g_file_get_contents(path, &have, NULL, NULL));
    assert_string_equal(have, want);
}

/* etc/loa.conf and docs/settings.md are written from the table; LOA_WRITE_GENERATED=1 writes them.
 */
static void test_generated_files(void **state)
{
    g_autofree char *sample = settings_sample();
    g_autofree char *table = settings_markdown();
    g_autofree char *page = g_strconcat(
        "# Settings\n\n"
        "`/etc/loa/loa.conf` (or `--config FILE`, or `$LOA_CONFIG`) is one text of sections and "
        "`key = value`\nlines. What is not set has its default. An unknown section or key is an "
        "error; `loa check-config` names\nevery fault at once. Paths that do not start with `/` "
        "are taken from the file's own folder. A change\nis read when the process starts. "
        "[etc/loa.conf](../etc/loa.conf) is a sample with everything in it.\n\n",
        table, NULL);
    (void)state;
    expect_file(LOA_SOURCE_DIR "/etc/loa.conf", sample);
    expect_file(LOA_SOURCE_DIR "/docs/settings.md", page);
}

/* The sample is a valid file, and uncommenting a default changes nothing. */
static void test_sample_is_valid(void **state)
{
    g_autofree char *sample = settings_sample();
    g_autoptr(GError) error = NULL;
    (void)state;
    loa_auto(settings) as_it_is = settings_parse(sample, strlen(sample), "/", &error);
    assert_non_null(as_it_is);
    g_autoptr(GRegex) commented = g_regex_new("^#(?=[a-z_]+ = )", G_REGEX_MULTILINE, 0, NULL);
    g_autofree char *open = g_regex_replace_literal(commented, sample, -1, 0, "", 0, NULL);
    assert_true(strlen(open) < strlen(sample));
    loa_auto(settings) uncommented = settings_parse(open, strlen(open), "/", &error);
    if (uncommented == NULL)
        fail_msg("%s", error->message);
    assert_int_equal(uncommented->fcm_quota_per_minute, as_it_is->fcm_quota_per_minute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values_are_read),
        cmocka_unit_test(test_refusals_name_the_fault),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_generated_files),
        cmocka_unit_test(test_sample_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
