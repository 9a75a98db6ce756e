/* Child processes of `loa dev`: started, restarted when they die, stopped in order, none left
 * behind. Runs on the default GMainContext; waits iterate it, so supervision goes on meanwhile. */
#ifndef LOA_APP_DEV_SUPERVISE_H
#define LOA_APP_DEV_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"

/* Stopped from the last to the first; a phase ends before the one below it is told to. */
enum program_phase {
    PROGRAM_DATABASE,
    PROGRAM_OUTSIDE, /* simulators and brokers */
    PROGRAM_ROLE,
    PROGRAM_PHONES,
    PROGRAM_PHASES
};

struct program {
    const char *name; /* "deliver-2"; also of its log file; copied */
    const char *role; /* "deliver"; copied */
    enum program_phase phase;
    const char *const *argv; /* copied */
    bool as_server;          /* as the unprivileged user, when started by root */
    int stop_signal;         /* ends it in order; also sent when the supervisor dies */
};

/* A supervised process, for state.json and the measurements. */
struct process_view {
    const char *name;
    const char *role;
    pid_t pid; /* 0 while it is down */
    unsigned restarts;
};

struct supervisor;

/* log_dir: a file NAME.log per process. server_user: who runs what must not run as root; NULL when
 * not started by root. INVALID when there is no such user. From now on SIGINT, SIGTERM and SIGHUP
 * stop the supervisor instead of the process. Owned. */
struct supervisor *supervisor_new(const char *log_dir, const char *server_user,
                                  const struct clock *clock, GError **error);
/* Stops everything first. */
void supervisor_free(struct supervisor *supervisor);
LOA_AUTO_DEFINE(supervisor, supervisor_free)

/* Gives a file or folder to the unprivileged user; nothing to do when there is none. */
bool supervisor_give(const struct supervisor *supervisor, const char *path, GError **error);

/* Starts a process and keeps it running: restarted at once when it dies, with a growing pause after
 * several quick deaths. */
bool supervisor_start(struct supervisor *supervisor, const struct program *program, GError **error);
/* Runs a program to its end, output to this terminal or else to NAME.log. INTERNAL with its last
 * words when it fails; CONFLICT when the supervisor is stopping. */
bool supervisor_run(struct supervisor *supervisor, const struct program *program, bool terminal,
                    GError **error);
/* Iterates until ready(user); RETRY after limit_ms with what as the thing waited for. */
bool supervisor_wait(struct supervisor *supervisor, const char *what, unsigned limit_ms,
                     bool (*ready)(void *user), void *user, GError **error);
/* Iterates until a signal. */
void supervisor_wait_signal(struct supervisor *supervisor);
bool supervisor_stopping(const struct supervisor *supervisor);

/* Called after every start and death. */
void supervisor_on_change(struct supervisor *supervisor, void (*changed)(void *user), void *user);
/* Processes that are kept running, in the order of their start. */
size_t supervisor_count(const struct supervisor *supervisor);
struct process_view supervisor_get(const struct supervisor *supervisor, size_t n);

#endif
