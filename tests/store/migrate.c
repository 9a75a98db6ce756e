/* lib: loa_base */
/* Migrations: in order, once, whole or not at all, frozen once applied. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/migrate.h"
#include "tests/support/testlog.h"
#include "tests/support/testpg.h"

static char *dir;
static const char *conninfo;
static struct db *db;

static void write_file(const char *name, const char *sql)
{
    g_autofree char *path = g_build_filename(dir, "migrations", name, NULL);
    if (sql == NULL)
        assert_int_equal(g_unlink(path), 0);
    else
        assert_true(g_file_set_contents(path, sql, -1, NULL));
}

static int setup(void **state)
{
    g_autoptr(GError) error = NULL;
    testlog_setup(state);
    dir = g_dir_make_tmp("loa-migrate-XXXXXX", NULL);
    g_autofree char *folder = g_build_filename(dir, "migrations", NULL);
    assert_int_equal(g_mkdir(folder, 0700), 0);
    write_file("0001_one.sql", "CREATE TABLE one (n int); INSERT INTO one VALUES (1);");
    write_file("0002_two.sql", "CREATE TABLE two (n int); INSERT INTO one VALUES (2);");
    conninfo = testpg_empty_database("migrate");
    db = db_open(conninfo, &error);
    assert_non_null(db);
    return 0;
}

static int teardown(void **state)
{
    g_autofree char *folder = g_build_filename(dir, "migrations", NULL);
    g_autoptr(GDir) names = g_dir_open(folder, 0, NULL);
    for (const char *name; (name = g_dir_read_name(names)) != NULL;)
        write_file(name, NULL);
    g_rmdir(folder);
    g_rmdir(dir);
    g_clear_pointer(&dir, g_free);
    db_close(db);
    return testlog_teardown(state);
}

static int64_t number(const char *sql)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(db, sql, NULL, &error);
    if (res == NULL)
        fail_msg("%s", error->message);
    return db_get_i64(res, 0, 0);
}

static void expect_run(int want)
{
    g_autoptr(GError) error = NULL;
    int got = migrate_run(db, dir, &error);
    if (error != NULL)
        fail_msg("%s", error->message);
    assert_int_equal(got, want);
}

static void expect_pending(int want)
{
    g_autoptr(GError) error = NULL;
    assert_int_equal(migrate_pending(db, dir, &error), want);
    assert_null(error);
}

/* Both refuse for the same reason. */
static void expect_refusal(enum loa_error code, const char *word)
{
    g_autoptr(GError) error = NULL;
    assert_int_equal(migrate_run(db, dir, &error), -1);
    if (!g_error_matches(error, LOA_ERROR, (int)code) || strstr(error->message, word) == NULL)
        fail_msg("%d %s", error->code, error->message);
    g_clear_error(&error);
    assert_int_equal(migrate_pending(db, dir, &error), -1);
    assert_true(g_error_matches(error, LOA_ERROR, (int)code));
}

static void test_in_order_and_once(void **state)
{
    (void)state;
    expect_pending(2);
    expect_run(2);
    expect_run(0);
    expect_pending(0);
    write_file("0003_three.sql", "INSERT INTO one VALUES (3)");
    expect_pending(1);
    expect_run(1);
    assert_int_equal(number("SELECT count(*) FROM one"), 3);
    assert_int_equal(number("SELECT count(*) FROM schema_migration WHERE length(sha256) = 64"), 3);
}

static void test_an_applied_file_is_frozen(void **state)
{
    (void)state;
    expect_run(2);
    write_file("0001_one.sql", "CREATE TABLE one (n bigint);");
    expect_refusal(LOA_ERROR_CONFLICT, "0001_one");
}

static void test_a_newer_database_is_refused(void **state)
{
    (void)state;
    expect_run(2);
    write_file("0002_two.sql", NULL);
    expect_refusal(LOA_ERROR_CONFLICT, "0002_two");
}

static void test_the_series_is_unbroken(void **state)
{
    static const char *const names[] = {"0004_gap.sql", "0002_again.sql", "3_three.sql",
                                        "README",       "0003three.sql",  "0003_three.sql~"};
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        write_file(names[i], "SELECT 1");
        expect_refusal(LOA_ERROR_INVALID,
                       names[i][0] == '0' && names[i][3] == '2' ? "0002" : names[i]);
        write_file(names[i], NULL);
    }
    write_file("0003_empty.sql", "");
    expect_refusal(LOA_ERROR_INVALID, "empty");
}

static void test_a_failing_one_leaves_nothing(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    write_file("0003_bad.sql", "INSERT INTO one VALUES (3); SELECT nonsense;");
    assert_int_equal(migrate_run(db, dir, &error), -1);
    assert_non_null(strstr(error->message, "0003_bad"));
    assert_int_equal(number("SELECT count(*) FROM one"), 2); /* those before it stand */
    expect_pending(1);
    write_file("0003_bad.sql", "INSERT INTO one VALUES (3); COMMIT; INSERT INTO one VALUES (4);");
    g_clear_error(&error);
    assert_int_equal(migrate_run(db, dir, &error), -1);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

static void *run_in_thread(void *out)
{
    g_autoptr(GError) error = NULL;
    loa_auto(db) own = db_open(conninfo, &error);
    *(int *)out = own == NULL ? -1 : migrate_run(own, dir, &error);
    return NULL;
}

static void test_several_at_once_take_turns(void **state)
{
    pthread_t threads[3];
    int done[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, &done[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(done[0] >= 0 && done[1] >= 0 && done[2] >= 0);
    assert_int_equal(done[0] + done[1] + done[2], 2);
}

static void test_the_real_series(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_true(migrate_run(db, migrate_default_dir(), &error) > 0);
    assert_int_equal(migrate_pending(db, migrate_default_dir(), &error), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_in_order_and_once),
        TEST(test_an_applied_file_is_frozen),
        TEST(test_a_newer_database_is_refused),
        TEST(test_the_series_is_unbroken),
        TEST(test_a_failing_one_leaves_nothing),
        TEST(test_several_at_once_take_turns),
        TEST(test_the_real_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
