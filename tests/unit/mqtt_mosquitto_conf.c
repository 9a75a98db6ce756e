/* lib: loa_mqtt */
/* etc/mosquitto/ is what the program writes. LOA_WRITE_SAMPLES=1 writes it anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/error.h"
#include "mqtt/mosquitto_conf.h"

static const struct mosquitto_options sample = {.directory = "/etc/mosquitto/loa",
                                                .ca_file = "/etc/mosquitto/loa/ca.pem",
                                                .cert_file = "/etc/mosquitto/loa/broker.pem",
                                                .key_file = "/etc/mosquitto/loa/broker.key",
                                                .address = "",
                                                .device_port = 8883,
                                                .engine_port = 8884,
                                                .devices_max = 100000};

static void check_sample(const char *name, const char *want)
{
    g_autofree char *path = g_build_filename(LOA_SOURCE_DIR, "etc", "mosquitto", name, NULL);
    g_autofree char *have = NULL;

    if (g_getenv("LOA_WRITE_SAMPLES") != NULL)
        assert_true(g_file_set_contents(path, want, -1, NULL));
    assert_true(g_file_get_contents(path, &have, NULL, NULL));
    assert_string_equal(have, want);
}

static void test_samples(void **state)
{
    g_autofree char *conf = mosquitto_conf_text(&sample);
    g_autofree char *devices = mosquitto_devices_acl_text(NULL, 0);
    g_autofree char *engine = mosquitto_engine_acl_text();
    (void)state;

    check_sample("mosquitto.conf", conf);
    check_sample("devices.acl", devices);
    check_sample("engine.acl", engine);
}

static void test_exercise_devices(void **state)
{
    const struct mosquitto_device devices[] = {
        {1, "p", "live"}, {2, "p", "exercise"}, {3, "p", "test"}};
    g_autofree char *acl = mosquitto_devices_acl_text(devices, 3);
    (void)state;

    assert_null(strstr(acl, "user 1\n"));
    assert_non_null(strstr(acl, "user 2\ntopic read loa/v1/exercise/#\n"));
    assert_non_null(strstr(acl, "user 3\ntopic read loa/v1/test/#\n"));
}

static void test_files(void **state)
{
    static const char *const names[] = {"mosquitto.conf", "devices.acl", "engine.acl",
                                        "devices.passwd"};
    g_autofree char *directory = g_dir_make_tmp("loa-mosquitto-XXXXXX", NULL);
    struct mosquitto_options options = sample;
    struct mosquitto_device device = {17, "1.a-secret", "live"};
    g_autoptr(GError) error = NULL;
    (void)state;

    options.directory = directory;
    assert_true(mosquitto_files_write(&options, &device, 1, &error));
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(directory, names[i], NULL);
        g_autofree char *text = NULL;
        GStatBuf status;
        assert_true(g_file_get_contents(path, &text, NULL, NULL));
        assert_null(strstr(text, device.password));
        assert_int_equal(g_stat(path, &status), 0);
        assert_int_equal(status.st_mode & 077, 0);
    }
    device.password = "1.a:b";
    assert_false(mosquitto_files_write(&options, &device, 1, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(directory, names[i], NULL);
        g_unlink(path);
    }
    g_rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_exercise_devices),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
