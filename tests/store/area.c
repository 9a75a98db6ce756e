/* lib: loa_engine */
/* Communes from a file: the province's own, corrections, and bad files that change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "engine/area_csv.h"
#include "engine/area_store.h"
#include "tests/support/testlog.h"
#include "tests/support/testpg.h"

static struct db *db;
static char *path;

static int setup(void **state)
{
    g_autoptr(GError) error = NULL;
    testlog_setup(state);
    db = db_open(testpg_database("area"), &error);
    assert_non_null(db);
    int fd = g_file_open_tmp("loa-area-XXXXXX", &path, NULL);
    assert_true(g_close(fd, NULL));
    return 0;
}

static int teardown(void **state)
{
    g_unlink(path);
    g_clear_pointer(&path, g_free);
    db_close(db);
    return testlog_teardown(state);
}

static int load(const char *text, GError **error)
{
    assert_true(g_file_set_contents(path, text, -1, NULL));
    return area_load_csv(db, path, error);
}

static char *name_of(const char *code)
{
    g_autoptr(GError) error = NULL;
    struct db_params *params = db_params_new();
    db_param_text(params, code);
    g_autoptr(PGresult) res =
        db_query(db, "SELECT min(name) FROM commune WHERE code = $1", params, &error);
    assert_non_null(res);
    return g_strdup(db_get_text(res, 0, 0));
}

static bool is_known(const char *code)
{
    g_autoptr(GError) error = NULL;
    bool known = false;
    assert_true(area_is_known(db, code, &known, &error));
    return known;
}

static void test_the_province(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_int_equal(area_load_csv(db, LOA_SOURCE_DIR "/etc/areas.csv", &error), 56);
    assert_int_equal(area_load_csv(db, LOA_SOURCE_DIR "/etc/areas.csv", &error), 56); /* again */
    g_autoptr(PGresult) res = db_query(db, "SELECT count(*) FROM commune", NULL, &error);
    assert_int_equal(db_get_i64(res, 0, 0), 56);
    assert_true(is_known("01273"));
    assert_false(is_known("01274"));
    assert_false(is_known(""));
    g_autofree char *name = name_of("01279");
    assert_string_equal(name, "Nùng Trí Cao");
}

static void test_correction_keeps_the_others(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_int_equal(load("code,name,kind\n00001,Một,xa\n00002,Hai,phuong\n", &error), 2);
    /* As a spreadsheet saves it, and with the letters in decomposed form. */
    assert_int_equal(load("\xef\xbb\xbf"
                          "code,name,kind\r\n00002,Hoa\xcc\x80 An,xa\r\n",
                          &error),
                     1);
    g_autofree char *one = name_of("00001"), *two = name_of("00002");
    assert_string_equal(one, "Một");
    assert_string_equal(two, "Hoà An");
}

static void test_a_bad_file_changes_nothing(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"", "no communes"},
        {"code,name,kind\n", "no communes"},
        {"code;name;kind\n00001;A;xa\n", "line 1: the first line"},
        {"code,name,kind\n00001,A,xa\n1,B,xa\n", "line 3: the code must be five digits"},
        {"code,name,kind\n00001,A,xa\n000011,B,xa\n", "line 3: the code"},
        {"code,name,kind\n00001,A,xa\n00001,B,xa\n", "line 3: the code stands there twice"},
        {"code,name,kind\n00001,,xa\n", "line 2: the name"},
        {"code,name,kind\n00001,\xff,xa\n", "line 2: the name"},
        {"code,name,kind\n00001,a\x1b[0m,xa\n", "line 2: the name"},
        {"code,name,kind\n00001,A,huyen\n", "line 2: the kind"},
        {"code,name,kind\n00001,A\n", "line 2: must be code,name,kind"},
        {"code,name,kind\n00001,A,xa,x\n", "line 2: must be code,name,kind"},
        {"code,name,kind\n00001,A,xa\n\n", "line 3: must be"},
        {"code,name,kind\nx\n00001,A,xa\ny\n", "2 bad lines"},
    };
    g_autoptr(GError) error = NULL;
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_int_equal(load(cases[i].text, &error), -1);
        if (!g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID) ||
            strstr(error->message, cases[i].words) == NULL)
            fail_msg("%s: %s", cases[i].text, error->message);
        g_clear_error(&error);
    }
    assert_false(is_known("00001"));
    assert_int_equal(area_load_csv(db, "/nonexistent", &error), -1);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
    g_clear_error(&error);
    assert_int_equal(area_load_csv(db, "/dev/zero", &error), -1);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

static void test_size_limits(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new("code,name,kind\n");
    (void)state;
    for (int i = 0; i <= AREA_ROWS_MAX; i++)
        g_string_append_printf(text, "%05d,A,xa\n", i);
    assert_int_equal(load(text->str, &error), -1);
    assert_non_null(strstr(error->message, "too many lines"));
    g_clear_error(&error);
    g_autofree char *huge = g_strnfill(AREA_FILE_BYTES_MAX + 1, 'x');
    assert_int_equal(load(huge, &error), -1);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_province),
        TEST(test_correction_keeps_the_others),
        TEST(test_a_bad_file_changes_nothing),
        TEST(test_size_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
