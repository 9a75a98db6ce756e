/* Where `loa dev` keeps its things. A folder is emptied only when it bears our mark, and only one
 * supervisor at a time may hold it. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "app/dev.h"
#include "base/error.h"

#define MARK         "loa-dev"  /* this folder is ours to empty */
#define LOCK         "lock"     /* held by the living supervisor */
#define SOCKETS_NOTE "sockets"  /* names a folder outside DIR */
#define SERVER_USER  "postgres" /* of Debian's package */
#define SOCKET_MAX   90         /* sun_path has 108 bytes; room for the sockets' names */
#define OLD_LIMIT_MS 30000      /* for the database of a killed supervisor to stop */

char *dev_path(const struct dev *dev, const char *name)
{
    return g_build_filename(dev->dir, name, NULL);
}

static bool fail(const char *path, GError **error)
{
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %s", path, g_strerror(errno));
    return false;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static bool empty_folder(const char *dir, GError **error)
{
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    const char *name;

    while (entries != NULL && (name = g_dir_read_name(entries)) != NULL) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        if (strcmp(name, LOCK) != 0 && strcmp(name, MARK) != 0 &&
            nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
            return fail(path, error);
    }
    return true;
}

/* Ours, or new, or empty. */
static bool take_mark(struct dev *dev, GError **error)
{
    g_autofree char *mark = dev_path(dev, MARK);
    g_autoptr(GDir) entries = NULL;

    if (g_mkdir_with_parents(dev->dir, 0755) != 0)
        return fail(dev->dir, error);
    if (g_file_test(mark, G_FILE_TEST_EXISTS))
        return true;
    entries = g_dir_open(dev->dir, 0, NULL);
    if (entries != NULL && g_dir_read_name(entries) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "%s is neither empty nor made by loa dev; it empties its folder, so give "
                    "another --dir",
                    dev->dir);
        return false;
    }
    return g_file_set_contents(mark, "loa dev empties this folder at its start\n", -1, error);
}

static bool take_lock(struct dev *dev, GError **error)
{
    g_autofree char *path = dev_path(dev, LOCK);

    dev->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dev->lock_fd < 0)
        return fail(path, error);
    if (flock(dev->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "another loa dev runs in %s", dev->dir);
    return false;
}

/* The process is a database server in our data folder. */
static bool is_our_server(const struct dev *dev, gint64 pid)
{
    g_autofree char *data = dev_path(dev, "postgres/data");
    g_autofree char *link = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/cwd", pid);
    g_autofree char *cwd = g_file_read_link(link, NULL);

    return g_strcmp0(cwd, data) == 0;
}

/* A supervisor that was killed leaves a server that is just stopping. */
static bool wait_for_old_server(const struct dev *dev, GError **error)
{
    g_autofree char *path = dev_path(dev, "postgres/data/postmaster.pid");
    g_autofree char *text = NULL;
    gint64 pid;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return true;
    pid = g_ascii_strtoll(text, NULL, 10);
    for (int waited_ms = 0; pid > 0 && is_our_server(dev, pid); waited_ms += 100) {
        if (waited_ms > OLD_LIMIT_MS) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                        "the database server %" G_GINT64_FORMAT " still runs in %s", pid, dev->dir);
            return false;
        }
        g_usleep(100000);
    }
    return true;
}

/* --- the folder of the sockets --- */

static void remove_sockets(const char *folder)
{
    static const char *const names[] = {".s.PGSQL.5432", ".s.PGSQL.5432.lock", "sim.sock",
                                        "fleet.sock"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        unlink(path);
    }
    rmdir(folder);
}

/* What a killed supervisor has left in /tmp. */
static void remove_old_sockets(const struct dev *dev)
{
    g_autofree char *note = dev_path(dev, SOCKETS_NOTE);
    g_autofree char *folder = NULL;
    struct stat st;

    if (!g_file_get_contents(note, &folder, NULL, NULL) ||
        !g_str_has_prefix(folder, "/tmp/loa-dev-") || strchr(folder + strlen("/tmp/"), '/') != NULL)
        return;
    if (lstat(folder, &st) == 0 && S_ISDIR(st.st_mode))
        remove_sockets(folder);
}

static bool make_sockets(struct dev *dev, GError **error)
{
    g_autofree char *inside = dev_path(dev, "run");

    if (strlen(inside) <= SOCKET_MAX) {
        dev->sockets = g_steal_pointer(&inside);
        if (g_mkdir(dev->sockets, 0700) != 0)
            return fail(dev->sockets, error);
    } else {
        g_autofree char *note = dev_path(dev, SOCKETS_NOTE);
        char folder[] = "/tmp/loa-dev-XXXXXX";
        if (mkdtemp(folder) == NULL)
            return fail(folder, error);
        dev->sockets = g_strdup(folder);
        if (!g_file_set_contents(note, folder, -1, error))
            return false;
    }
    dev->sim_control = g_build_filename(dev->sockets, "sim.sock", NULL);
    dev->fleet_control = g_build_filename(dev->sockets, "fleet.sock", NULL);
    return true;
}

bool dev_place_open(struct dev *dev, GError **error)
{
    static const char *const folders[] = {"log", "conf", "postgres", "brokers"};

    if (!take_mark(dev, error) || !take_lock(dev, error) || !wait_for_old_server(dev, error))
        return false;
    remove_old_sockets(dev);
    if (!empty_folder(dev->dir, error) || !make_sockets(dev, error))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = dev_path(dev, folders[i]);
        if (g_mkdir(path, 0755) != 0)
            return fail(path, error);
    }
    g_autofree char *log = dev_path(dev, "log");
    dev->supervisor = supervisor_new(log, dev->as_root ? SERVER_USER : NULL, dev->clock, error);
    return dev->supervisor != NULL;
}

bool dev_place_check(struct dev *dev, GError **error)
{
    const char *argv[] = {"test", "-x", dev->dir, NULL};
    const struct program program = {
        .name = "enter", .role = "enter", .argv = argv, .as_server = true, .stop_signal = SIGTERM};
    g_autoptr(GError) cause = NULL;

    if (supervisor_run(dev->supervisor, &program, false, &cause))
        return supervisor_give(dev->supervisor, dev->sockets, error);
    g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED,
                "the user " SERVER_USER ", who runs the database, cannot enter %s: chmod o+x the "
                "folders above it, or give a --dir that everybody may enter, such as /var/tmp/loa",
                dev->dir);
    return false;
}

void dev_place_close(struct dev *dev)
{
    if (dev->sockets != NULL)
        remove_sockets(dev->sockets);
    if (dev->lock_fd >= 0)
        close(dev->lock_fd);
}
