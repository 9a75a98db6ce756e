/* GLib forks and executes; between the two, child_setup runs and may only make system calls. */
#include "app/dev_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"

#define LAST_WORDS_BYTES 2048

struct setup {
    const struct spawn *spawn;
    pid_t parent;
};

bool spawn_user_find(const char *name, struct spawn_user *out, GError **error)
{
    const struct passwd *entry = getpwnam(name);

    if (entry == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "there is no user \"%s\" to run the database as: script/bootstrap installs it",
                    name);
        return false;
    }
    *out = (struct spawn_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
    return true;
}

void spawn_clear(struct spawn *spawn)
{
    g_strfreev(spawn->argv);
    g_free(spawn->log_file);
}

static void child_setup(gpointer data)
{
    const struct setup *setup = data;
    const struct spawn_user *user = setup->spawn->user;

    if (setpgid(0, 0) != 0)
        _exit(126);
    if (user != NULL &&
        (setgroups(0, NULL) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
         setresuid(user->uid, user->uid, user->uid) != 0))
        _exit(126);
    /* After the change of user, which takes it away. */
    if (prctl(PR_SET_PDEATHSIG, setup->spawn->death_signal) != 0 || getppid() != setup->parent)
        _exit(126);
}

static int open_output(const struct spawn *spawn, GError **error)
{
    int fd = spawn->terminal
                 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                 : open(spawn->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    if (fd < 0)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "%s: %s", spawn->log_file,
                    g_strerror(errno));
    return fd;
}

pid_t spawn_start(const struct spawn *spawn, GError **error)
{
    struct setup setup = {.spawn = spawn, .parent = getpid()};
    g_autoptr(GError) cause = NULL;
    GPid pid = 0;
    int out = open_output(spawn, error);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (out >= 0 && !g_spawn_async_with_fds(NULL, spawn->argv, NULL,
                                            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH,
                                            child_setup, &setup, &pid, in, out, out, &cause)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "%s: %s", spawn->argv[0], cause->message);
        pid = 0;
    }
    if (out >= 0)
        close(out);
    if (in >= 0)
        close(in);
    return pid;
}

char *spawn_last_words(const struct spawn *spawn)
{
    g_autofree char *text = NULL;
    gsize len = 0;

    if (!g_file_get_contents(spawn->log_file, &text, &len, NULL) || len == 0)
        return NULL;
    return g_utf8_make_valid(text + (len > LAST_WORDS_BYTES ? len - LAST_WORDS_BYTES : 0), -1);
}
