/* Every child leads a process group of its own, so that Ctrl-C reaches only the supervisor, which
 * stops the children in order; and every child gets its stop signal from the kernel when the
 * supervisor dies. A pid is signalled only before it has been waited for, so it is never another
 * process's. */
#include "app/dev_supervise.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib-unix.h>

#include "app/dev_spawn.h"
#include "base/error.h"
#include "base/log.h"

#define QUICK_DEATH_US   (2 * USEC_PER_SEC)
#define QUICK_DEATHS_MAX 5
#define PAUSE_MAX_S      30
#define STOP_LIMIT_MS    25000 /* a phase has so long before it is killed */
#define POLL_MS          50

struct child {
    struct supervisor *supervisor;
    char *name, *role;
    enum program_phase phase;
    struct spawn spawn;
    pid_t pid;
    guint watch, pause;
    unsigned restarts, quick_deaths;
    int64_t started_us;
};

struct supervisor {
    char *log_dir;
    const struct clock *clock;
    struct spawn_user user;
    bool has_user;
    GPtrArray *children;
    bool stopping, killing;
    guint signals[3];
    void (*changed)(void *user);
    void *changed_user;
};

static void tell_change(struct supervisor *supervisor)
{
    if (supervisor->changed != NULL)
        supervisor->changed(supervisor->changed_user);
}

static gboolean on_signal(gpointer data)
{
    struct supervisor *supervisor = data;

    if (supervisor->stopping)
        supervisor->killing = true; /* asked twice: no more patience */
    else
        fputs("\nstopping …\n", stderr);
    supervisor->stopping = true;
    return G_SOURCE_CONTINUE;
}

struct supervisor *supervisor_new(const char *log_dir, const char *server_user,
                                  const struct clock *clock, GError **error)
{
    struct supervisor *supervisor = g_new0(struct supervisor, 1);

    supervisor->has_user = server_user != NULL;
    if (server_user != NULL && !spawn_user_find(server_user, &supervisor->user, error)) {
        g_free(supervisor);
        return NULL;
    }
    supervisor->log_dir = g_strdup(log_dir);
    supervisor->clock = clock;
    supervisor->children = g_ptr_array_new();
    supervisor->signals[0] = g_unix_signal_add(SIGINT, on_signal, supervisor);
    supervisor->signals[1] = g_unix_signal_add(SIGTERM, on_signal, supervisor);
    supervisor->signals[2] = g_unix_signal_add(SIGHUP, on_signal, supervisor); /* terminal closed */
    return supervisor;
}

bool supervisor_give(const struct supervisor *supervisor, const char *path, GError **error)
{
    if (!supervisor->has_user || chown(path, supervisor->user.uid, supervisor->user.gid) == 0)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED, "%s: %s", path, g_strerror(errno));
    return false;
}

/* --- kept processes --- */

static void on_death(GPid pid, int status, gpointer data);

static bool child_start(struct child *child, GError **error)
{
    struct supervisor *supervisor = child->supervisor;

    child->pid = spawn_start(&child->spawn, error);
    if (child->pid == 0)
        return false;
    child->started_us = supervisor->clock->mono_us(supervisor->clock);
    child->watch = g_child_watch_add(child->pid, on_death, child);
    tell_change(supervisor);
    return true;
}

static void child_restart(struct child *child)
{
    g_autoptr(GError) error = NULL;

    child->restarts++;
    if (!child_start(child, &error))
        log_event(LOG_LEVEL_ERROR, "process_not_restarted", LOG_STR("name", child->name),
                  LOG_STR("error", error->message));
}

static gboolean on_pause_over(gpointer data)
{
    struct child *child = data;

    child->pause = 0;
    if (!child->supervisor->stopping)
        child_restart(child);
    return G_SOURCE_REMOVE;
}

/* "signal 9", "exit 75" */
static char *describe(int status)
{
    return WIFSIGNALED(status) ? g_strdup_printf("signal %d", WTERMSIG(status))
                               : g_strdup_printf("exit %d", WEXITSTATUS(status));
}

static void on_death(GPid pid, int status, gpointer data)
{
    struct child *child = data;
    struct supervisor *supervisor = child->supervisor;
    g_autofree char *how = describe(status);
    unsigned pause_s;

    /* What it has started itself and left behind. The group's number stays taken as long as it has
     * members. */
    kill(-pid, SIGKILL);
    child->watch = 0;
    child->pid = 0;
    if (supervisor->stopping)
        return;
    child->quick_deaths =
        supervisor->clock->mono_us(supervisor->clock) - child->started_us < QUICK_DEATH_US
            ? child->quick_deaths + 1
            : 0;
    pause_s = child->quick_deaths < QUICK_DEATHS_MAX
                  ? 0
                  : MIN(1u << MIN(child->quick_deaths - QUICK_DEATHS_MAX, 5), PAUSE_MAX_S);
    log_event(LOG_LEVEL_WARN, "process_died", LOG_STR("name", child->name), LOG_STR("how", how),
              LOG_INT("restart_in_s", pause_s));
    if (pause_s > 0)
        child->pause = g_timeout_add_seconds(pause_s, on_pause_over, child);
    else
        child_restart(child);
    tell_change(supervisor);
}

static void child_free(struct child *child)
{
    g_clear_handle_id(&child->watch, g_source_remove);
    g_clear_handle_id(&child->pause, g_source_remove);
    spawn_clear(&child->spawn);
    g_free(child->name);
    g_free(child->role);
    g_free(child);
}

static void prepare(struct supervisor *supervisor, const struct program *program,
                    struct spawn *spawn)
{
    *spawn = (struct spawn){
        .argv = g_strdupv((char **)program->argv),
        .log_file = g_strdup_printf("%s/%s.log", supervisor->log_dir, program->name),
        .user = program->as_server && supervisor->has_user ? &supervisor->user : NULL,
        .death_signal = program->stop_signal,
    };
}

bool supervisor_start(struct supervisor *supervisor, const struct program *program, GError **error)
{
    struct child *child = g_new0(struct child, 1);

    child->supervisor = supervisor;
    child->name = g_strdup(program->name);
    child->role = g_strdup(program->role);
    child->phase = program->phase;
    prepare(supervisor, program, &child->spawn);
    if (!child_start(child, error)) {
        child_free(child);
        return false;
    }
    g_ptr_array_add(supervisor->children, child);
    tell_change(supervisor);
    return true;
}

/* --- programs that end by themselves --- */

struct run {
    pid_t pid;
    int status;
    bool ended;
};

static void on_run_end(GPid pid, int status, gpointer data)
{
    struct run *run = data;

    kill(-pid, SIGKILL); /* what it has left behind */
    run->status = status;
    run->ended = true;
}

static gboolean on_poll(gpointer data)
{
    (void)data;
    return G_SOURCE_CONTINUE; /* only ends the iteration */
}

bool supervisor_run(struct supervisor *supervisor, const struct program *program, bool terminal,
                    GError **error)
{
    struct run run = {.pid = 0};
    struct spawn spawn;
    bool told = false;

    prepare(supervisor, program, &spawn);
    spawn.terminal = terminal;
    run.pid = spawn_start(&spawn, error);
    if (run.pid != 0) {
        g_child_watch_add(run.pid, on_run_end, &run);
        while (!run.ended) {
            g_main_context_iteration(NULL, TRUE);
            if (supervisor->stopping && !run.ended && !told) {
                kill(run.pid, SIGTERM);
                told = true;
            }
        }
        if (supervisor->stopping) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "interrupted");
        } else if (run.status != 0) {
            g_autofree char *how = describe(run.status);
            g_autofree char *words = terminal ? NULL : spawn_last_words(&spawn);
            g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "%s ended with %s%s%s", program->name,
                        how, words != NULL ? ":\n" : "", words != NULL ? words : "");
        }
    }
    spawn_clear(&spawn);
    return run.ended && run.status == 0 && !supervisor->stopping;
}

bool supervisor_wait(struct supervisor *supervisor, const char *what, unsigned limit_ms,
                     bool (*ready)(void *user), void *user, GError **error)
{
    int64_t deadline_us =
        supervisor->clock->mono_us(supervisor->clock) + (int64_t)limit_ms * USEC_PER_MSEC;
    guint poll = g_timeout_add(POLL_MS, on_poll, NULL);
    bool ok = false, late = false;

    while (!supervisor->stopping && !late && !(ok = ready(user))) {
        late = supervisor->clock->mono_us(supervisor->clock) > deadline_us;
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(poll);
    if (!ok && supervisor->stopping)
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "interrupted");
    else if (!ok)
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "%s: not within %u s; see %s", what,
                    limit_ms / 1000, supervisor->log_dir);
    return ok;
}

void supervisor_wait_signal(struct supervisor *supervisor)
{
    while (!supervisor->stopping)
        g_main_context_iteration(NULL, TRUE);
}

bool supervisor_stopping(const struct supervisor *supervisor)
{
    return supervisor->stopping;
}

/* --- the end --- */

static bool phase_ended(const struct supervisor *supervisor, enum program_phase phase)
{
    for (guint i = 0; i < supervisor->children->len; i++) {
        const struct child *child = supervisor->children->pdata[i];
        if (child->phase == phase && child->pid != 0)
            return false;
    }
    return true;
}

/* The group of a child that has not been waited for yet. */
static void kill_phase(struct supervisor *supervisor, enum program_phase phase)
{
    for (guint i = 0; i < supervisor->children->len; i++) {
        const struct child *child = supervisor->children->pdata[i];
        if (child->phase == phase && child->pid != 0)
            kill(-child->pid, SIGKILL);
    }
}

static void stop_phase(struct supervisor *supervisor, enum program_phase phase)
{
    int64_t deadline_us =
        supervisor->clock->mono_us(supervisor->clock) + STOP_LIMIT_MS * USEC_PER_MSEC;

    for (guint i = 0; i < supervisor->children->len; i++) {
        const struct child *child = supervisor->children->pdata[i];
        if (child->phase == phase && child->pid != 0)
            kill(child->pid, child->spawn.death_signal);
    }
    while (!phase_ended(supervisor, phase)) {
        if (supervisor->killing || supervisor->clock->mono_us(supervisor->clock) > deadline_us)
            kill_phase(supervisor, phase);
        g_main_context_iteration(NULL, TRUE);
    }
}

void supervisor_free(struct supervisor *supervisor)
{
    guint poll;

    if (supervisor == NULL)
        return;
    supervisor->stopping = true;
    poll = g_timeout_add(POLL_MS, on_poll, NULL);
    for (int phase = PROGRAM_PHASES - 1; phase >= 0; phase--)
        stop_phase(supervisor, (enum program_phase)phase);
    g_source_remove(poll);
    for (guint i = 0; i < supervisor->children->len; i++)
        child_free(supervisor->children->pdata[i]);
    g_ptr_array_unref(supervisor->children);
    for (size_t i = 0; i < G_N_ELEMENTS(supervisor->signals); i++)
        g_source_remove(supervisor->signals[i]);
    g_free(supervisor->log_dir);
    g_free(supervisor);
}

/* --- views --- */

void supervisor_on_change(struct supervisor *supervisor, void (*changed)(void *user), void *user)
{
    supervisor->changed = changed;
    supervisor->changed_user = user;
}

size_t supervisor_count(const struct supervisor *supervisor)
{
    return supervisor->children->len;
}

struct process_view supervisor_get(const struct supervisor *supervisor, size_t n)
{
    const struct child *child = supervisor->children->pdata[n];

    return (struct process_view){
        .name = child->name, .role = child->role, .pid = child->pid, .restarts = child->restarts};
}
