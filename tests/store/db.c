/* lib: loa_base */
/* The synchronous connection: types there and back, errors by what the caller may do, transactions,
 * COPY, and what a lost connection means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/db.h"
#include "tests/support/testlog.h"
#include "tests/support/testpg.h"

static struct db *db;
static const char *conninfo;

static int setup(void **state)
{
    g_autoptr(GError) error = NULL;
    testlog_setup(state);
    if (conninfo == NULL)
        conninfo = testpg_empty_database("db");
    db = db_open(conninfo, &error);
    if (db == NULL)
        fail_msg("%s", error->message);
    return 0;
}

static int teardown(void **state)
{
    db_close(db);
    return testlog_teardown(state);
}

static void run(const char *sql)
{
    g_autoptr(GError) error = NULL;
    if (!db_script(db, sql, &error))
        fail_msg("%s: %s", sql, error->message);
}

static int64_t number(const char *sql)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(db, sql, NULL, &error);
    if (res == NULL)
        fail_msg("%s: %s", sql, error->message);
    return db_get_i64(res, 0, 0);
}

/* Ends the connection from the server's side and waits until it is gone. */
static void kill_backend(void)
{
    g_autoptr(GError) error = NULL;
    loa_auto(db) other = db_open(conninfo, &error);
    assert_non_null(other);
    struct db_params *params = db_params_new();
    db_param_i32(params, PQbackendPID(db_conn(db)));
    assert_true(db_exec(other, "SELECT pg_terminate_backend($1, 10000)", params, &error));
}

static void test_values_there_and_back(void **state)
{
    static const int64_t i64s[] = {INT64_MIN, -1, 0, INT64_MAX};
    static const int32_t i32s[] = {INT32_MIN, 7};
    static const char *const texts[] = {"Thục Phán", NULL, ""};
    static const int64_t times[] = {0, 1700000000123456};
    struct db_params *p = db_params_new();
    (void)state;
    db_param_i64(p, INT64_MIN);
    db_param_i32(p, -5);
    db_param_bool(p, true);
    db_param_text(p, "Cao Bằng");
    db_param_text(p, NULL);
    db_param_bytes(p, "\0\xff", 2);
    db_param_bytes(p, "", 0);
    db_param_utc_us(p, 1700000000123456);
    db_param_i64_array(p, i64s, 4);
    db_param_i32_array(p, i32s, 2);
    db_param_text_array(p, texts, 3);
    db_param_utc_us_array(p, times, 2);
    db_param_i64_array(p, i64s, 0);
    db_param_null(p);
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(
        db,
        "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 = "
        "'{-9223372036854775808,-1,0,9223372036854775807}',"
        " $10 = '{-2147483648,7}', $11, $12 = ARRAY['epoch'::timestamptz, $8], cardinality($13),"
        " $14::date, 'infinity'::timestamptz, 3::smallint",
        p, &error);
    if (res == NULL)
        fail_msg("%s", error->message);
    size_t len;
    assert_true(db_get_i64(res, 0, 0) == INT64_MIN);
    assert_int_equal(db_get_i64(res, 0, 1), -5);
    assert_true(db_get_bool(res, 0, 2));
    assert_string_equal(db_get_text(res, 0, 3), "Cao Bằng");
    assert_null(db_get_text(res, 0, 4));
    assert_memory_equal(db_get_bytes(res, 0, 5, &len), "\0\xff", 2);
    assert_int_equal(len, 2);
    assert_non_null(db_get_bytes(res, 0, 6, &len));
    assert_int_equal(len, 0);
    assert_true(db_get_utc_us(res, 0, 7) == 1700000000123456);
    assert_true(db_get_bool(res, 0, 8));
    assert_true(db_get_bool(res, 0, 9));
    g_auto(GStrv) strv = db_get_text_array(res, 0, 10);
    assert_int_equal(g_strv_length(strv), 3);
    assert_string_equal(strv[0], "Thục Phán");
    assert_string_equal(strv[1], "");
    assert_true(db_get_bool(res, 0, 11));
    assert_int_equal(db_get_i64(res, 0, 12), 0);
    assert_true(db_is_null(res, 0, 13));
    assert_true(db_get_utc_us(res, 0, 14) == INT64_MAX);
    assert_int_equal(db_get_i64(res, 0, 15), 3);
}

static void test_errors_say_what_may_be_done(void **state)
{
    static const struct {
        const char *sql;
        enum loa_error code;
    } cases[] = {
        {"INSERT INTO e VALUES (1, 1)", LOA_ERROR_CONFLICT},
        {"INSERT INTO e VALUES (2, -1)", LOA_ERROR_INVALID},
        {"INSERT INTO e VALUES (2, NULL)", LOA_ERROR_INVALID},
        {"INSERT INTO f VALUES (99)", LOA_ERROR_INVALID},
        {"SELECT 'x'::text::integer", LOA_ERROR_INVALID},
        {"SELECT raise('LO001')", LOA_ERROR_CONFLICT},
        {"SELECT raise('40001')", LOA_ERROR_RETRY},
        {"SELECT raise('40P01')", LOA_ERROR_RETRY},
        {"SELECT raise('55P03')", LOA_ERROR_RETRY},
        {"SELECT raise('57014')", LOA_ERROR_RETRY},
        {"SELECT raise('25006')", LOA_ERROR_RETRY},
        {"SELECT raise('57P03')", LOA_ERROR_RETRY},
        {"SELECT raise('57P01')", LOA_ERROR_UNCERTAIN},
        {"SELECT raise('08006')", LOA_ERROR_UNCERTAIN},
        {"SELECT raise('42501')", LOA_ERROR_DENIED},
        {"SELECT raise('53100')", LOA_ERROR_LIMIT},
        {"SELECT raise('53300')", LOA_ERROR_LIMIT},
        {"SELECT raise('XX000')", LOA_ERROR_INTERNAL},
        {"SELECT nonsense", LOA_ERROR_INTERNAL},
        {"COPY e FROM STDIN", LOA_ERROR_INTERNAL},
    };
    (void)state;
    run("CREATE TABLE e (id int PRIMARY KEY, n int NOT NULL CHECK (n > 0));"
        "CREATE TABLE f (e int REFERENCES e); INSERT INTO e VALUES (1, 1);"
        "CREATE FUNCTION raise(state text) RETURNS void LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'asked for' USING ERRCODE = state, DETAIL = 'secret'; END $$");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        if (db_exec(db, cases[i].sql, NULL, &error))
            fail_msg("%s: no error", cases[i].sql);
        if (!g_error_matches(error, LOA_ERROR, (int)cases[i].code))
            fail_msg("%s: %d %s", cases[i].sql, error->code, error->message);
        assert_null(strstr(error->message, "secret"));
        assert_true(db_error_is_servers(error) == (strstr(cases[i].sql, "COPY") == NULL));
    }
    assert_int_equal(number("SELECT count(*) FROM e"), 1); /* usable after all of them */
    run("DROP TABLE f, e; DROP FUNCTION raise");
}

static void test_too_large_parameters_are_refused(void **state)
{
    g_autofree char *big = g_malloc0((65u << 20));
    struct db_params *params = db_params_new();
    g_autoptr(GError) error = NULL;
    (void)state;
    db_param_bytes(params, big, 65u << 20);
    db_param_i64(params, 1);
    assert_false(db_exec(db, "SELECT $1, $2", params, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_LIMIT));
}

static void test_transactions(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    run("CREATE TABLE t (n int PRIMARY KEY)");
    assert_true(db_begin(db, &error));
    run("INSERT INTO t VALUES (1)");
    db_rollback(db);
    db_rollback(db); /* no-op */
    assert_int_equal(number("SELECT count(*) FROM t"), 0);
    assert_true(db_begin(db, &error));
    run("INSERT INTO t VALUES (1)");
    assert_true(db_commit(db, &error));
    assert_int_equal(number("SELECT count(*) FROM t"), 1);
    /* PostgreSQL would call this commit a success. */
    assert_true(db_begin(db, &error));
    assert_false(db_exec(db, "INSERT INTO t VALUES (1)", NULL, &error));
    g_clear_error(&error);
    assert_false(db_commit(db, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INTERNAL));
    run("DROP TABLE t");
}

static void test_idle_connection_is_renewed(void **state)
{
    (void)state;
    int before = PQbackendPID(db_conn(db));
    kill_backend();
    assert_int_equal(number("SELECT 7::bigint"), 7);
    assert_int_not_equal(PQbackendPID(db_conn(db)), before);
}

static void test_connection_lost_under_a_statement_is_uncertain(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_false(db_exec(db, "SELECT pg_terminate_backend(pg_backend_pid(), 5000)", NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_UNCERTAIN));
    assert_int_equal(number("SELECT 7::bigint"), 7);
}

static void test_connection_lost_inside_a_transaction_is_retry(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_true(db_begin(db, &error));
    assert_false(db_exec(db, "SELECT pg_terminate_backend(pg_backend_pid(), 5000)", NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    g_clear_error(&error);
    /* Not on a new connection, outside of the transaction. */
    assert_false(db_exec(db, "SELECT 1", NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    g_clear_error(&error);
    assert_false(db_commit(db, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    assert_int_equal(number("SELECT 7::bigint"), 7);
    /* Idle in the transaction when it fell. */
    g_clear_error(&error);
    assert_true(db_begin(db, &error));
    kill_backend();
    assert_false(db_exec(db, "SELECT 1", NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    db_rollback(db);
    assert_int_equal(number("SELECT 7::bigint"), 7);
}

static bool copy(const char *rows, GError **error)
{
    return db_copy_start(db, "COPY c (n, t) FROM STDIN", error) &&
           db_copy_put(db, rows, strlen(rows), error) && db_copy_end(db, error);
}

static void test_copy(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    run("CREATE TABLE c (n int PRIMARY KEY, t text)");
    assert_true(copy("1\tmột\n2\t\\N\n", &error));
    assert_int_equal(number("SELECT count(*) FROM c"), 2);
    assert_false(copy("3\tx\n1\ttwice\n", &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    g_clear_error(&error);
    assert_false(copy("x\tx\n", &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    g_clear_error(&error);
    assert_false(db_copy_start(db, "SELECT 1", &error));
    g_clear_error(&error);
    assert_false(db_copy_start(db, "COPY nothing FROM STDIN", &error));
    g_clear_error(&error);
    assert_int_equal(number("SELECT count(*) FROM c"), 2);
    /* Broken off: inside a transaction by the rollback, outside by hand. */
    assert_true(db_begin(db, &error));
    assert_true(db_copy_start(db, "COPY c (n, t) FROM STDIN", &error));
    assert_true(db_copy_put(db, "4\tx\n", 4, &error));
    db_rollback(db);
    assert_true(db_copy_start(db, "COPY c (n, t) FROM STDIN", &error));
    assert_true(db_copy_put(db, "5\tx\n", 4, &error));
    db_copy_abort(db);
    assert_int_equal(number("SELECT count(*) FROM c"), 2);
    g_autoptr(PGresult) limit = db_query(db, "SHOW statement_timeout", NULL, &error);
    assert_string_equal(db_get_text(limit, 0, 0), "1min");
    run("DROP TABLE c");
}

static void test_unreachable_server_is_retry(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    loa_auto(db) none = db_open("host=/nonexistent user=loa dbname=postgres", &error);
    assert_null(none);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
}

static void test_restart_of_the_server(void **state)
{
    struct testpg_cluster *cluster = testpg_cluster_new(true);
    g_autoptr(GError) error = NULL;
    (void)state;
    loa_auto(db) own = db_open(testpg_cluster_conninfo(cluster), &error);
    assert_non_null(own);
    assert_true(db_script(own, "CREATE TABLE r (n int)", &error));
    testpg_cluster_stop(cluster, true);
    assert_false(db_exec(own, "INSERT INTO r VALUES (1)", NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    g_clear_error(&error);
    testpg_cluster_start(cluster);
    assert_true(db_exec(own, "INSERT INTO r VALUES (1)", NULL, &error));
    testpg_cluster_free(cluster);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_there_and_back),
        TEST(test_errors_say_what_may_be_done),
        TEST(test_too_large_parameters_are_refused),
        TEST(test_transactions),
        TEST(test_idle_connection_is_renewed),
        TEST(test_connection_lost_under_a_statement_is_uncertain),
        TEST(test_connection_lost_inside_a_transaction_is_retry),
        TEST(test_copy),
        TEST(test_unreachable_server_is_retry),
        TEST(test_restart_of_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
