/* lib: loa_app */
/* Supervision with real processes: they are restarted, stopped in order, and none outlives its
 * supervisor. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "app/dev_supervise.h"
#include "base/error.h"
#include "base/log.h"

#define LIMIT_MS 20000

static char *log_dir;

static const char *const sleeper[] = {"sleep", "1000", NULL};

static struct program program_of(const char *name, const char *const *argv)
{
    return (struct program){
        .name = name, .role = name, .phase = PROGRAM_ROLE, .argv = argv, .stop_signal = SIGTERM};
}

static struct supervisor *new_supervisor(void)
{
    g_autoptr(GError) error = NULL;
    struct supervisor *supervisor = supervisor_new(log_dir, NULL, clock_system(), &error);

    assert_non_null(supervisor);
    return supervisor;
}

static bool is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

/* An orphan is reaped by its new parent as soon as its signal has ended it. */
static void wait_for_end(pid_t pid)
{
    int64_t deadline_us = g_get_monotonic_time() + LIMIT_MS * USEC_PER_MSEC;

    assert_true(pid > 1);
    while (is_alive(pid) && g_get_monotonic_time() < deadline_us)
        g_thread_yield();
    assert_false(is_alive(pid));
}

static bool has_text(void *user)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(user, &text, NULL, NULL) && strchr(text, '\n') != NULL;
}

static pid_t number_in(const char *path)
{
    g_autofree char *text = NULL;

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return (pid_t)g_ascii_strtoll(text, NULL, 10);
}

struct view {
    struct supervisor *supervisor;
    unsigned restarts; /* that are waited for */
};

static bool has_restarts(void *user)
{
    const struct view *view = user;
    struct process_view process = supervisor_get(view->supervisor, 0);

    return process.restarts >= view->restarts;
}

static void test_a_killed_process_is_started_again(void **state)
{
    loa_auto(supervisor) supervisor = new_supervisor();
    const struct program program = program_of("sleeper", sleeper);
    struct view view = {.supervisor = supervisor, .restarts = 1};
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_true(supervisor_start(supervisor, &program, &error));
    assert_int_equal(supervisor_count(supervisor), 1);
    pid_t first = supervisor_get(supervisor, 0).pid;
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_true(supervisor_wait(supervisor, "restart", LIMIT_MS, has_restarts, &view, &error));
    assert_int_not_equal(supervisor_get(supervisor, 0).pid, 0);
    assert_int_not_equal(supervisor_get(supervisor, 0).pid, first);
}

static void test_one_that_dies_at_once_gets_pauses(void **state)
{
    loa_auto(supervisor) supervisor = new_supervisor();
    static const char *const argv[] = {"false", NULL};
    const struct program program = program_of("failing", argv);
    struct view view = {.supervisor = supervisor, .restarts = 4};
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_true(supervisor_start(supervisor, &program, &error));
    assert_true(supervisor_wait(supervisor, "restarts", LIMIT_MS, has_restarts, &view, &error));
    /* The fifth quick death is followed by a second of rest: no sixth start comes soon. */
    view.restarts = 6;
    assert_false(supervisor_wait(supervisor, "one more", 300, has_restarts, &view, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
}

static void test_the_end_stops_everything(void **state)
{
    struct supervisor *supervisor = new_supervisor();
    static const char *const family[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};
    struct program first = program_of("first", sleeper);
    const struct program second = program_of("second", family);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(log_dir, "second.log", NULL);
    pid_t pids[3];
    (void)state;

    first.phase = PROGRAM_DATABASE;
    assert_true(supervisor_start(supervisor, &first, &error));
    assert_true(supervisor_start(supervisor, &second, &error));
    assert_true(supervisor_wait(supervisor, "grandchild", LIMIT_MS, has_text, path, &error));
    for (size_t i = 0; i < 2; i++)
        pids[i] = supervisor_get(supervisor, i).pid;
    pids[2] = number_in(path);
    supervisor_free(supervisor);
    for (size_t i = 0; i < 3; i++)
        wait_for_end(pids[i]);
}

static void test_a_failing_run_tells_the_last_words(void **state)
{
    loa_auto(supervisor) supervisor = new_supervisor();
    static const char *const good[] = {"true", NULL};
    static const char *const bad[] = {"sh", "-c", "echo the reason >&2; exit 3", NULL};
    const struct program ok = program_of("good", good), failing = program_of("bad", bad);
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_true(supervisor_run(supervisor, &ok, false, &error));
    assert_false(supervisor_run(supervisor, &failing, false, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INTERNAL));
    assert_non_null(strstr(error->message, "bad ended with exit 3"));
    assert_non_null(strstr(error->message, "the reason"));
}

static void test_a_missing_program_is_an_error(void **state)
{
    loa_auto(supervisor) supervisor = new_supervisor();
    static const char *const argv[] = {"/nonexistent/program", NULL};
    const struct program program = program_of("missing", argv);
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_false(supervisor_start(supervisor, &program, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INTERNAL));
    assert_int_equal(supervisor_count(supervisor), 0);
}

static void test_an_unknown_user_is_an_error(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_null(supervisor_new(log_dir, "no-such-user-here", clock_system(), &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

/* In a process of its own: starts a child, tells its pid, and is killed. */
static void supervise_and_die(int tell)
{
    struct supervisor *supervisor = new_supervisor();
    const struct program program = program_of("orphan", sleeper);
    pid_t pid = 0;

    if (supervisor_start(supervisor, &program, NULL))
        pid = supervisor_get(supervisor, 0).pid;
    if (write(tell, &pid, sizeof pid) == (ssize_t)sizeof pid)
        raise(SIGKILL);
    _exit(1);
}

static void test_no_child_outlives_a_killed_supervisor(void **state)
{
    int tell[2], status;
    pid_t orphan = 0, self;
    (void)state;

    assert_int_equal(pipe(tell), 0);
    self = fork();
    if (self == 0)
        supervise_and_die(tell[1]);
    assert_int_equal(read(tell[0], &orphan, sizeof orphan), sizeof orphan);
    assert_int_equal(waitpid(self, &status, 0), self);
    assert_true(WIFSIGNALED(status));
    assert_true(orphan > 0);
    wait_for_end(orphan);
    close(tell[0]);
    close(tell[1]);
}

static int set_up(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ALERT); /* deaths are expected here */
    log_dir = g_dir_make_tmp("loa-supervise-XXXXXX", NULL);
    return log_dir != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"sleeper", "failing", "first",   "second",
                                        "good",    "bad",     "missing", "orphan"};
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s.log", log_dir, names[i]);
        g_unlink(path);
    }
    g_rmdir(log_dir);
    g_free(log_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while this process has no GLib thread that a fork would lack. */
        cmocka_unit_test(test_no_child_outlives_a_killed_supervisor),
        cmocka_unit_test(test_a_killed_process_is_started_again),
        cmocka_unit_test(test_one_that_dies_at_once_gets_pauses),
        cmocka_unit_test(test_the_end_stops_everything),
        cmocka_unit_test(test_a_failing_run_tells_the_last_words),
        cmocka_unit_test(test_a_missing_program_is_an_error),
        cmocka_unit_test(test_an_unknown_user_is_an_error),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
