/* lib: loa_base */
/* Every line is valid JSON whatever the values hold, and lines of several threads never mix. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/json.h"
#include "base/log.h"

static char last[16384];
static unsigned lines;

static void keep(enum log_level level, const char *event, const char *line, void *user)
{
    (void)level;
    (void)event;
    assert_ptr_equal(user, &lines);
    g_strlcpy(last, line, sizeof last);
    lines++;
}

static int setup(void **state)
{
    (void)state;
    lines = 0;
    log_init("unit", LOG_LEVEL_INFO);
    log_set_sink(keep, &lines);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_sink(NULL, NULL);
    return 0;
}

static json_t *parsed(void)
{
    json_error_t error;
    json_t *root = json_loads(last, 0, &error);
    if (root == NULL)
        fail_msg("%s in %s", error.text, last);
    return root;
}

static void test_fields_keep_their_types(void **state)
{
    (void)state;
    log_event(LOG_LEVEL_WARN, "chunk_claimed", LOG_INT("broadcast", INT64_MIN),
              LOG_STR("channel", "fcm"), LOG_BOOL("live", 7), LOG_DOUBLE("share", 0.5),
              LOG_DOUBLE("nan", NAN), LOG_STR("none", NULL));
    g_autoptr(json_t) root = parsed();
    assert_string_equal(json_string_value(json_object_get(root, "event")), "chunk_claimed");
    assert_string_equal(json_string_value(json_object_get(root, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(root, "role")), "unit");
    assert_int_equal(json_integer_value(json_object_get(root, "pid")), getpid());
    assert_true(json_integer_value(json_object_get(root, "broadcast")) == INT64_MIN);
    assert_true(json_is_true(json_object_get(root, "live")));
    assert_true(json_number_value(json_object_get(root, "share")) == 0.5);
    assert_true(json_is_null(json_object_get(root, "nan")));
    assert_true(json_is_null(json_object_get(root, "none")));
    const char *ts = json_string_value(json_object_get(root, "ts"));
    assert_int_equal(strlen(ts), strlen("2026-11-23T01:02:03.456789Z"));
    assert_int_equal(ts[26], 'Z');
}

static void test_hostile_strings(void **state)
{
    static const struct {
        const char *value;
        const char *read_back;
    } cases[] = {
        {"Thục \"Phán\" \\", "Thục \"Phán\" \\"},
        {"a\nb\tc\x1b[31m\x7f", "a\nb\tc\x1b[31m\x7f"},
        {"bad \xff\xc3", "bad \xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xe2\x80\xa8line", "\xe2\x80\xa8line"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        log_event(LOG_LEVEL_INFO, "x", LOG_STR("v", cases[i].value));
        g_autoptr(json_t) root = parsed();
        assert_string_equal(json_string_value(json_object_get(root, "v")), cases[i].read_back);
        for (const char *c = last; c[1] != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f); /* nothing reaches a terminal */
    }
}

static void test_long_values_and_lines_are_cut(void **state)
{
    char value[2000];
    struct log_field fields[65];
    (void)state;
    /* "ệ" has three bytes: the limit of 512 goes through one. */
    for (size_t i = 0; i + 3 < sizeof value; i += 3)
        memcpy(value + i, "ệ", 4);
    log_event(LOG_LEVEL_INFO, "x", LOG_STR("v", value));
    g_autoptr(json_t) root = parsed();
    const char *got = json_string_value(json_object_get(root, "v"));
    assert_int_equal(strlen(got), 510 + strlen("…"));
    memset(value, 1, sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 64; i++)
        fields[i] = LOG_STR("v", value);
    fields[64] = LOG_END;
    log_write(LOG_LEVEL_INFO, "x", fields);
    assert_true(strlen(last) < 10000);
    g_autoptr(json_t) cut = parsed();
    assert_true(json_is_true(json_object_get(cut, "cut")));
}

static void test_minimum_level(void **state)
{
    (void)state;
    log_event(LOG_LEVEL_DEBUG, "x");
    assert_int_equal(lines, 0);
    log_event(LOG_LEVEL_ALERT, "x");
    assert_int_equal(lines, 1);
}

static void *write_many(void *text)
{
    for (int i = 0; i < 200; i++)
        log_event(LOG_LEVEL_INFO, "x", LOG_STR("v", text));
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    static char a[301], b[301];
    pthread_t threads[2];
    (void)state;
    memset(a, 'a', 300);
    memset(b, 'b', 300);
    log_set_sink(NULL, NULL);
    g_autofree char *path = NULL;
    int file = g_file_open_tmp("loa-log-XXXXXX", &path, NULL);
    int saved = dup(STDERR_FILENO);
    assert_int_equal(fcntl(file, F_SETFL, O_APPEND), 0);
    dup2(file, STDERR_FILENO);
    pthread_create(&threads[0], NULL, write_many, a);
    pthread_create(&threads[1], NULL, write_many, b);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    g_autofree char *text = NULL;
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_unlink(path);
    g_auto(GStrv) all = g_strsplit(text, "\n", -1);
    assert_int_equal(g_strv_length(all), 401);
    for (int i = 0; i < 400; i++) {
        g_autoptr(json_t) root = json_loads(all[i], 0, NULL);
        assert_non_null(root);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fields_keep_their_types),       TEST(test_hostile_strings),
        TEST(test_long_values_and_lines_are_cut), TEST(test_minimum_level),
        TEST(test_lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
