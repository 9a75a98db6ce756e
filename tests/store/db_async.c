/* lib: loa_base */
/* The asynchronous connection: order, independence of statements, exactly one callback each
 * whatever happens to the server, notifications, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "base/db_async.h"
#include "tests/support/testlog.h"
#include "tests/support/testpg.h"
#include "tests/support/testwait.h"

#define WAIT_MS     20000
#define ANSWERS_MAX 4096

/* What came back, in order. */
struct answers {
    unsigned n;
    struct {
        intptr_t id;
        int code; /* enum loa_error, -1 = success */
        int64_t value;
    } items[ANSWERS_MAX];
    unsigned wanted; /* for the wait */
};
static struct answers answers;
static const char *conninfo;
static struct db_async *db;
static struct db *side; /* for looking and for harm */

static int setup(void **state)
{
    g_autoptr(GError) error = NULL;
    testlog_setup(state);
    if (conninfo == NULL)
        conninfo = testpg_empty_database("db_async");
    answers = (struct answers){0};
    db = db_async_new(conninfo, 2000, clock_system());
    side = db_open(conninfo, &error);
    assert_non_null(side);
    assert_true(db_script(side,
                          "DROP TABLE IF EXISTS t; CREATE TABLE t (n bigint PRIMARY KEY,"
                          " times int NOT NULL DEFAULT 1)",
                          &error));
    return 0;
}

static int teardown(void **state)
{
    db_async_free(db);
    db_close(side);
    return testlog_teardown(state);
}

static void on_answer(PGresult *res, const GError *error, void *user)
{
    assert_true((res == NULL) != (error == NULL));
    assert_true(answers.n < ANSWERS_MAX);
    answers.items[answers.n].id = (intptr_t)user;
    answers.items[answers.n].code = error == NULL ? -1 : error->code;
    answers.items[answers.n].value =
        res != NULL && PQntuples(res) > 0 && PQnfields(res) > 0 ? db_get_i64(res, 0, 0) : 0;
    answers.n++;
}

static bool enough(void *user)
{
    (void)user;
    return answers.n >= answers.wanted;
}

static void wait_for(unsigned n)
{
    answers.wanted = n;
    if (!test_wait_until(enough, NULL, WAIT_MS))
        fail_msg("%u of %u answers", answers.n, n);
    assert_int_equal(answers.n, n);
}

static void query_i64(const char *sql, int64_t value, intptr_t id)
{
    struct db_params *params = db_params_new();
    db_param_i64(params, value);
    db_async_query(db, sql, params, on_answer, (void *)id);
}

static int64_t side_i64(const char *sql)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(side, sql, NULL, &error);
    if (res == NULL)
        fail_msg("%s", error->message);
    return db_get_i64(res, 0, 0);
}

static bool is_connected(void *user)
{
    (void)user;
    return db_async_connected(db);
}

static void kill_backends(void)
{
    (void)side_i64("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                   " WHERE datname = current_database() AND pid <> pg_backend_pid()");
}

static void test_answers_come_in_order(void **state)
{
    (void)state;
    assert_false(db_async_connected(db));
    for (intptr_t i = 0; i < 1000; i++)
        query_i64("SELECT $1 * 2", i, i);
    assert_int_equal(answers.n, 0); /* never from inside the call */
    assert_int_equal(db_async_pending(db), 1000);
    wait_for(1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(answers.items[i].id, i);
        assert_int_equal(answers.items[i].code, -1);
        assert_int_equal(answers.items[i].value, 2 * i);
    }
    assert_int_equal(db_async_pending(db), 0);
}

static void on_plans(PGresult *res, const GError *error, void *user)
{
    assert_null(error);
    *(int64_t *)user = db_get_i64(res, 0, 0);
}

/* "Prepared once per connection": the server is asked. */
/* Compiling a statement costs more than running ours does. */
static void test_nothing_is_compiled(void **state)
{
    (void)state;
    db_async_query(db, "SELECT (current_setting('jit') = 'off')::integer::bigint", NULL, on_answer,
                   (void *)1);
    wait_for(1);
    assert_int_equal(answers.items[0].value, 1);
}

static void test_a_literal_is_prepared_once(void **state)
{
    static const char sql[] = "SELECT $1 + 100";
    int64_t plans = -1;
    (void)state;
    for (intptr_t i = 0; i < 50; i++)
        query_i64(sql, i, i);
    wait_for(50);
    db_async_query(db,
                   "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%+ 100'"
                   " AND generic_plans + custom_plans = 50",
                   NULL, on_plans, &plans);
    query_i64(sql, 0, 0);
    wait_for(51);
    assert_int_equal(plans, 1);
}

static void test_a_failing_statement_leaves_the_others_alone(void **state)
{
    static const char insert[] = "INSERT INTO t VALUES ($1)";
    (void)state;
    query_i64(insert, 1, 0);
    query_i64(insert, 1, 1);
    query_i64("SELECT nonsense FROM nowhere WHERE $1 = 1", 1, 2);
    query_i64("SELECT 1 / $1", 0, 3);
    query_i64(insert, 2, 4);
    wait_for(5);
    assert_int_equal(answers.items[0].code, -1);
    assert_int_equal(answers.items[1].code, LOA_ERROR_CONFLICT);
    assert_int_equal(answers.items[2].code, LOA_ERROR_INTERNAL);
    assert_int_equal(answers.items[3].code, LOA_ERROR_INVALID);
    assert_int_equal(answers.items[4].code, -1);
    assert_int_equal(side_i64("SELECT count(*) FROM t"), 2);
}

/* A plan that failed to be prepared, or that a migration has made stale, is prepared anew. */
static void test_plans_are_renewed(void **state)
{
    static const char late[] = "SELECT n FROM late WHERE n = $1";
    static const char all[] = "SELECT * FROM t WHERE n = $1";
    g_autoptr(GError) error = NULL;
    (void)state;
    query_i64(late, 1, 0);
    wait_for(1);
    assert_int_equal(answers.items[0].code, LOA_ERROR_INTERNAL);
    assert_true(
        db_script(side, "CREATE TABLE late (n bigint); INSERT INTO late VALUES (1)", &error));
    query_i64(late, 1, 1);
    query_i64(all, 1, 2);
    wait_for(3);
    assert_int_equal(answers.items[1].value, 1);
    assert_true(db_script(side, "DROP TABLE late; ALTER TABLE t ADD COLUMN more int", &error));
    query_i64(all, 1, 3);
    wait_for(4);
    assert_int_equal(answers.items[3].code, LOA_ERROR_RETRY);
    query_i64(all, 1, 4);
    wait_for(5);
    assert_int_equal(answers.items[4].code, -1);
}

static void test_a_null_does_not_decide_the_type(void **state)
{
    static const char sql[] = "INSERT INTO t (n, times) VALUES ($1, $2)";
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct db_params *params = db_params_new();
        db_param_i64(params, i);
        if (i == 0)
            db_param_null(params); /* violates not-null, is an int4 to the server */
        else
            db_param_i64(params, 5);
        db_async_query(db, sql, params, on_answer, (void *)(intptr_t)i);
    }
    wait_for(2);
    assert_int_equal(answers.items[0].code, LOA_ERROR_INVALID);
    assert_int_equal(answers.items[1].code, -1);
}

static unsigned notified;

static void on_notify(const char *channel, const char *payload, void *user)
{
    assert_string_equal(channel, "Kênh");
    assert_string_equal(payload, "x");
    assert_ptr_equal(user, &notified);
    notified++;
}

static bool was_notified(void *user)
{
    return notified >= *(unsigned *)user;
}

static void test_notifications_also_while_idle_and_after_a_reconnect(void **state)
{
    g_autoptr(GError) error = NULL;
    unsigned wanted = 1;
    (void)state;
    testlog_expect("database_lost");
    notified = 0;
    db_async_listen(db, "Kênh", on_notify, &notified);
    query_i64("SELECT $1", 1, 0);
    wait_for(1);
    assert_true(db_script(side, "NOTIFY \"Kênh\", 'x'", &error));
    assert_true(test_wait_until(was_notified, &wanted, WAIT_MS));
    kill_backends();
    query_i64("SELECT $1", 1, 1); /* may die with the connection, or go out on the next */
    wait_for(2);
    query_i64("SELECT $1", 1, 2);
    wait_for(3);
    assert_int_equal(answers.items[2].code, -1);
    assert_true(db_script(side, "NOTIFY \"Kênh\", 'x'", &error));
    wanted = 2;
    assert_true(test_wait_until(was_notified, &wanted, WAIT_MS));
    assert_int_equal(notified, 2);
}

static void test_queue_is_bounded(void **state)
{
    (void)state;
    for (intptr_t i = 0; i < 2005; i++)
        query_i64("SELECT $1", i, i);
    wait_for(2005);
    for (unsigned i = 0; i < 5; i++) { /* refused ones answer first */
        assert_int_equal(answers.items[i].id, 2000 + i);
        assert_int_equal(answers.items[i].code, LOA_ERROR_LIMIT);
    }
    assert_int_equal(answers.items[2004].code, -1);
}

/* The backend dies in the middle of the pipeline: what is answered is done, what was sent and lost
 * its answer is uncertain (it may have been done: a socket that is reset forgets answers that had
 * come), what had not been sent runs on the next connection. */
static void test_backend_killed_in_the_pipeline(void **state)
{
    static const char insert[] = "INSERT INTO t VALUES ($1)";
    unsigned done = 0, uncertain = 0;
    (void)state;
    testlog_expect("database_lost");
    assert_true(test_wait_until(is_connected, NULL, WAIT_MS));
    for (intptr_t i = 0; i < 10; i++)
        query_i64(insert, i, i);
    db_async_query(db, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, on_answer,
                   (void *)10);
    for (intptr_t i = 11; i < 1000; i++)
        query_i64(insert, i, i);
    wait_for(1000);
    bool seen[1000] = {false};
    for (unsigned i = 0; i < answers.n; i++) {
        assert_false(seen[answers.items[i].id]);
        seen[answers.items[i].id] = true;
        done += answers.items[i].code == -1 ? 1 : 0;
        uncertain += answers.items[i].code == LOA_ERROR_UNCERTAIN ? 1 : 0;
    }
    assert_int_equal(done + uncertain, 1000);
    assert_in_range(uncertain, 1, 128); /* the pipeline's depth */
    assert_int_equal(answers.items[999].code, -1);
    /* All that is done is there, at most the ten before the end besides. */
    assert_in_range(side_i64("SELECT count(*) FROM t"), done, done + 10);
}

/* Repeats what is not certain, as stores do; every row ends there exactly once. */
static void on_upsert(PGresult *res, const GError *error, void *user);

static void upsert(intptr_t id)
{
    struct db_params *params = db_params_new();
    db_param_i64(params, id);
    db_async_query(db, "INSERT INTO t VALUES ($1) ON CONFLICT (n) DO NOTHING", params, on_upsert,
                   (void *)id);
}

static void on_upsert(PGresult *res, const GError *error, void *user)
{
    if (res != NULL) {
        on_answer(res, error, user);
        return;
    }
    assert_true(error->code == LOA_ERROR_UNCERTAIN || error->code == LOA_ERROR_RETRY);
    upsert((intptr_t)user);
}

static bool some_came(void *user)
{
    (void)user;
    return answers.n >= 20;
}

static void test_restart_of_the_server(void **state)
{
    struct testpg_cluster *cluster = testpg_cluster_new(true);
    g_autoptr(GError) error = NULL;
    (void)state;
    testlog_expect("database_lost");
    db_async_free(db);
    db = db_async_new(testpg_cluster_conninfo(cluster), 2000, clock_system());
    db_async_query(db, "CREATE TABLE t (n bigint PRIMARY KEY)", NULL, on_answer, NULL);
    wait_for(1);
    for (int round = 0; round < 4; round++) {
        answers.n = 0;
        for (intptr_t i = 0; i < 1000; i++)
            upsert(round * 1000 + i);
        assert_true(test_wait_until(some_came, NULL, WAIT_MS));
        testpg_cluster_stop(cluster, round % 2 == 1);
        testpg_cluster_start(cluster);
        wait_for(1000);
    }
    loa_auto(db) look = db_open(testpg_cluster_conninfo(cluster), &error);
    assert_non_null(look);
    g_autoptr(PGresult) res = db_query(look, "SELECT count(*) FROM t", NULL, &error);
    assert_int_equal(db_get_i64(res, 0, 0), 4000);
    db_async_free(db);
    db = NULL;
    testpg_cluster_free(cluster);
}

/* No server at first: statements wait; freed while it is away: each is told so once. */
static void test_without_a_server(void **state)
{
    struct testpg_cluster *cluster = testpg_cluster_new(false);
    (void)state;
    testlog_expect("database_lost");
    testpg_cluster_stop(cluster, false);
    db_async_free(db);
    db = db_async_new(testpg_cluster_conninfo(cluster), 10, clock_system());
    query_i64("SELECT $1", 5, 0);
    assert_false(test_wait_until(enough, (answers.wanted = 1, NULL), 300));
    testpg_cluster_start(cluster);
    wait_for(1);
    assert_int_equal(answers.items[0].value, 5);
    testpg_cluster_stop(cluster, false);
    query_i64("SELECT $1", 5, 1);
    query_i64("SELECT $1", 5, 2);
    db_async_free(db);
    db = NULL;
    assert_int_equal(answers.n, 3);
    assert_int_equal(answers.items[1].code, LOA_ERROR_RETRY);
    assert_int_equal(answers.items[2].code, LOA_ERROR_RETRY);
    testpg_cluster_free(cluster);
    assert_int_equal(testlog_count("database_connected"), 1);
}

static bool was_lost(void *user)
{
    (void)user;
    return testlog_count("database_lost") > 0;
}

/* A server that takes a statement and never answers: given up after the limit, by the clock. */
static void test_a_silent_server_is_given_up(void **state)
{
    struct clock_fake fake;
    (void)state;
    testlog_expect("database_lost");
    clock_fake_init(&fake, 0);
    db_async_free(db);
    db = db_async_new(conninfo, 10, &fake.clock);
    assert_true(test_wait_until(is_connected, NULL, WAIT_MS));
    query_i64("SELECT $1 FROM pg_sleep(25)", 1, 0);
    assert_false(test_wait_until(enough, (answers.wanted = 1, NULL), 100));
    clock_fake_advance(&fake, 44 * USEC_PER_SEC);
    query_i64("SELECT $1", 2, 1);
    assert_false(test_wait_until(enough, NULL, 100));
    clock_fake_advance(&fake, 2 * USEC_PER_SEC);
    query_i64("SELECT $1", 3, 2);
    wait_for(2);
    assert_int_equal(answers.items[0].code, LOA_ERROR_UNCERTAIN);
    assert_int_equal(answers.items[1].code, LOA_ERROR_UNCERTAIN);
    clock_fake_advance(&fake, USEC_PER_SEC); /* past the pause before the next attempt */
    query_i64("SELECT $1", 4, 3);
    wait_for(4);
    assert_int_equal(answers.items[2].id, 2); /* unsent at the time: it waited */
    assert_int_equal(answers.items[2].value, 3);
}

/* One that accepts the connection and says nothing. */
static void test_a_silent_listener_is_given_up(void **state)
{
    struct clock_fake fake;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *dir = g_dir_make_tmp("loa-mute-XXXXXX", NULL);
    g_autofree char *mute = g_strdup_printf("host=%s user=loa", dir);
    (void)state;
    testlog_expect("database_lost");
    g_snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    clock_fake_init(&fake, 0);
    db_async_free(db);
    db = db_async_new(mute, 10, &fake.clock);
    assert_false(test_wait_until(is_connected, NULL, 100));
    clock_fake_advance(&fake, 11 * USEC_PER_SEC);
    query_i64("SELECT $1", 1, 0);
    assert_true(test_wait_until(was_lost, NULL, WAIT_MS));
    g_autofree char *line = testlog_last("database_lost");
    assert_non_null(strstr(line, "no connection within 10 s"));
    g_unlink(address.sun_path);
    g_rmdir(dir);
    close(fd);
}

static PGresult *kept;

static void on_keep(PGresult *res, const GError *error, void *user)
{
    assert_null(error);
    kept = db_async_keep_result(user);
    assert_ptr_equal(kept, res);
}

static void on_free(PGresult *res, const GError *error, void *user)
{
    on_answer(res, error, user);
    db_async_free(g_steal_pointer(&db));
    assert_int_equal(db_get_i64(res, 0, 0), 1); /* still there */
}

static void test_freed_inside_a_callback(void **state)
{
    static const char one[] = "SELECT 1::bigint";
    (void)state;
    db_async_query(db, one, NULL, on_keep, db);
    db_async_query(db, one, NULL, on_free, NULL);
    for (intptr_t i = 1; i < 4; i++)
        query_i64("SELECT $1", i, i);
    wait_for(4);
    assert_int_equal(db_get_i64(kept, 0, 0), 1);
    g_clear_pointer(&kept, PQclear);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(answers.items[i].code, LOA_ERROR_UNCERTAIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers_come_in_order),
        TEST(test_nothing_is_compiled),
        TEST(test_a_literal_is_prepared_once),
        TEST(test_a_failing_statement_leaves_the_others_alone),
        TEST(test_plans_are_renewed),
        TEST(test_a_null_does_not_decide_the_type),
        TEST(test_notifications_also_while_idle_and_after_a_reconnect),
        TEST(test_queue_is_bounded),
        TEST(test_backend_killed_in_the_pipeline),
        TEST(test_restart_of_the_server),
        TEST(test_without_a_server),
        TEST(test_a_silent_server_is_given_up),
        TEST(test_a_silent_listener_is_given_up),
        TEST(test_freed_inside_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
