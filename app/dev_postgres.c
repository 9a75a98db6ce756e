/* The private PostgreSQL of `loa dev`: on a unix socket only, for one user only. */
#include <signal.h>
#include <string.h>

#include <glib/gstdio.h>

#include "app/dev.h"
#include "base/error.h"

#define VERSION_MIN    15
#define START_LIMIT_MS 60000

/* Beside the defaults; fsync, full_page_writes and synchronous_commit stay on. */
static const char *const settings[] = {
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "jit=off",
    "track_commit_timestamp=on", /* a demo measures from the commit of the release */
    "log_line_prefix=%m [%p] %a ",
};

/* The newest version's folder of programs. Owned. */
static char *find_programs(GError **error)
{
    static const char root[] = "/usr/lib/postgresql";
    g_autoptr(GDir) dir = g_dir_open(root, 0, NULL);
    const char *name;
    gint64 best = 0;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *server = g_build_filename(root, name, "bin/postgres", NULL);
        gint64 version = g_ascii_strtoll(name, NULL, 10);
        if (version > best && g_file_test(server, G_FILE_TEST_IS_EXECUTABLE))
            best = version;
    }
    if (best >= VERSION_MIN)
        return g_strdup_printf("%s/%" G_GINT64_FORMAT "/bin", root, best);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                "no PostgreSQL %d or newer under %s: script/bootstrap demo installs it",
                VERSION_MIN, root);
    return NULL;
}

static bool run(struct dev *dev, const char *name, const char *const *argv, GError **error)
{
    const struct program program = {
        .name = name, .role = name, .argv = argv, .as_server = true, .stop_signal = SIGTERM};

    return supervisor_run(dev->supervisor, &program, false, error);
}

static bool make_cluster(struct dev *dev, const char *programs, GError **error)
{
    g_autofree char *folder = dev_path(dev, "postgres");
    g_autofree char *data = dev_path(dev, "postgres/data");
    g_autofree char *initdb = g_build_filename(programs, "initdb", NULL);
    const char *const argv[] = {
        initdb, "-D", data, "-U", "loa", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", NULL};

    return supervisor_give(dev->supervisor, folder, error) && run(dev, "initdb", argv, error);
}

static bool start_server(struct dev *dev, const char *programs, GError **error)
{
    g_autofree char *data = dev_path(dev, "postgres/data");
    g_autofree char *server = g_build_filename(programs, "postgres", NULL);
    g_autofree char *sockets = g_strdup_printf("unix_socket_directories=%s", dev->sockets);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    g_ptr_array_add(argv, server);
    g_ptr_array_add(argv, (char *)"-D");
    g_ptr_array_add(argv, data);
    g_ptr_array_add(argv, (char *)"-c");
    g_ptr_array_add(argv, sockets);
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
        g_ptr_array_add(argv, (char *)"-c");
        g_ptr_array_add(argv, (char *)settings[i]);
    }
    g_ptr_array_add(argv, NULL);
    const struct program program = {.name = "postgres",
                                    .role = "postgres",
                                    .phase = PROGRAM_DATABASE,
                                    .argv = (const char *const *)argv->pdata,
                                    .as_server = true,
                                    .stop_signal = SIGINT}; /* fast, not smart */
    return supervisor_start(dev->supervisor, &program, error);
}

static bool answers(void *user)
{
    const struct dev *dev = user;
    g_autofree char *conninfo = g_strdup_printf("host=%s user=loa dbname=postgres", dev->sockets);
    loa_auto(db) db = db_open(conninfo, NULL);

    return db != NULL;
}

bool dev_postgres_start(struct dev *dev, GError **error)
{
    g_autofree char *programs = find_programs(error);
    g_autofree char *createdb = NULL;

    if (programs == NULL || !make_cluster(dev, programs, error) ||
        !start_server(dev, programs, error) ||
        !supervisor_wait(dev->supervisor, "postgres", START_LIMIT_MS, answers, dev, error))
        return false;
    createdb = g_build_filename(programs, "createdb", NULL);
    const char *const argv[] = {createdb, "-h", dev->sockets, "-U", "loa", "loa", NULL};
    dev->conninfo = g_strdup_printf("host=%s user=loa dbname=loa", dev->sockets);
    return run(dev, "createdb", argv, error);
}
