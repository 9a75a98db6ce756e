/* lib: loa_engine */
/* The device secret: its value (computed independently with Python's hmac), and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/error.h"
#include "engine/device_secret.h"

#define SECRET_123 "1.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4"

static struct device_secret_key *test_key(void)
{
    uint8_t bytes[32];

    for (uint8_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;
    return device_secret_key_new(bytes, sizeof(bytes));
}

static void test_value(void **state)
{
    loa_auto(device_secret_key) key = test_key();
    char secret[DEVICE_SECRET_MAX];
    int generation = 0;

    (void)state;
    device_secret_make(key, 123, 1, secret);
    assert_string_equal(secret, SECRET_123);
    assert_true(device_secret_check(key, 123, secret, &generation));
    assert_int_equal(generation, 1);
    device_secret_make(key, INT64_MAX, 2, secret);
    assert_string_equal(secret, "2.-H2lIbpBOWJ536MDfrQVg75QAOXfjLLM7ompSg7QSDE");
    device_secret_make(key, INT64_MAX, INT32_MAX, secret);
    assert_true(device_secret_check(key, INT64_MAX, secret, &generation));
    assert_int_equal(generation, INT32_MAX);
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        ".",
        "1",
        "1.",
        "MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        "2.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        "01.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        "+1.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        " 1.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        "1.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_5",
        "1.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_",
        SECRET_123 "=",
        SECRET_123 " ",
        "99999999999999999999.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        "0.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
        "-1.MdpQ54p7zF_gKW3wTGac6kf_sJygcTWEAAsU1zqLe_4",
    };
    loa_auto(device_secret_key) key = test_key();
    int generation = 7;

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        if (device_secret_check(key, 123, wrong[i], &generation))
            fail_msg("accepted: %s", wrong[i]);
    assert_false(device_secret_check(key, 124, SECRET_123, &generation));
    assert_int_equal(generation, 7);
}

static void test_key_file(void **state)
{
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    int fd = g_file_open_tmp("loa-device-key-XXXXXX", &path, NULL);
    loa_auto(device_secret_key) key = NULL;

    (void)state;
    assert_null(device_secret_key_load("", &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    g_clear_error(&error);
    assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 31), 31);
    assert_int_equal(write(fd, "x", 1), 1);
    key = device_secret_key_load(path, &error);
    assert_non_null(key);
    assert_int_equal(ftruncate(fd, 20), 0);
    assert_null(device_secret_key_load(path, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_key_file),
    };

    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
