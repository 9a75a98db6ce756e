/* Starting one child process of `loa dev`: user, log file, process group, death signal. */
#ifndef LOA_APP_DEV_SPAWN_H
#define LOA_APP_DEV_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

struct spawn_user {
    uid_t uid;
    gid_t gid;
};
/* INVALID when there is no such user. */
bool spawn_user_find(const char *name, struct spawn_user *out, GError **error);

struct spawn {
    char **argv;    /* argv[0] is looked up in PATH; owned */
    char *log_file; /* appended to; owned */
    bool terminal;  /* standard output and error of this process instead of the log file */
    const struct spawn_user *user; /* to become; NULL = stay; borrowed */
    int death_signal;              /* that it gets when this process dies */
};
void spawn_clear(struct spawn *spawn);

/* The pid, to be reaped by the caller; 0 with an error. */
pid_t spawn_start(const struct spawn *spawn, GError **error);
/* The last lines of the log file, at most 2 KiB; NULL when there are none. Owned. */
char *spawn_last_words(const struct spawn *spawn);

#endif
