/* See the header. The server is a child of the test program and gets a signal when that dies (set
 * by postgres.sh), so even a crashed test leaves no process behind. */
#include "tests/support/testpg.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/migrate.h"

#define SCRIPT        LOA_SOURCE_DIR "/tests/support/postgres.sh"
#define WAIT_US       (60 * USEC_PER_SEC)
#define DATABASES_MAX 64
#define CLUSTERS_MAX  8

struct testpg_cluster {
    char *dir;
    char *conninfo;
    GPid pid; /* 0 = stopped */
};

static struct testpg_cluster *clusters[CLUSTERS_MAX];
static char *server;                   /* conninfo without dbname, of the shared or own cluster */
static char *databases[DATABASES_MAX]; /* their names */
static char *conninfos[DATABASES_MAX];

G_GNUC_NORETURN static void die(const char *what, const char *why)
{
    fprintf(stderr, "testpg: %s: %s\n", what, why);
    exit(70);
}

static int64_t mono_us(void)
{
    return clock_system()->mono_us(clock_system());
}

static GPid spawn(const char *verb, const char *dir, const char *durable)
{
    const char *argv[] = {SCRIPT, verb, dir, durable, NULL};
    g_autoptr(GError) error = NULL;
    GPid pid = 0;
    if (!g_spawn_async("/", (char **)(void *)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                       &pid, &error))
        die(SCRIPT, error->message);
    return pid;
}

/* ---- one cluster ---- */

void testpg_cluster_start(struct testpg_cluster *cluster)
{
    if (cluster->pid != 0)
        return;
    cluster->pid = spawn("run", cluster->dir, NULL);
    int64_t deadline = mono_us() + WAIT_US;
    while (PQping(cluster->conninfo) != PQPING_OK) {
        if (waitpid(cluster->pid, NULL, WNOHANG) == cluster->pid || mono_us() > deadline)
            die("the server does not start; see its log in", cluster->dir);
        poll(NULL, 0, 10);
    }
}

void testpg_cluster_stop(struct testpg_cluster *cluster, bool immediate)
{
    if (cluster->pid == 0)
        return;
    kill(cluster->pid, immediate ? SIGQUIT : SIGINT);
    waitpid(cluster->pid, NULL, 0);
    cluster->pid = 0;
}

const char *testpg_cluster_conninfo(const struct testpg_cluster *cluster)
{
    return cluster->conninfo;
}

static void remove_folder(const char *dir)
{
    const char *argv[] = {"/bin/rm", "-rf", dir, NULL};
    if (g_str_has_prefix(dir, "/tmp/loa-pg."))
        g_spawn_sync("/", (char **)(void *)argv, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL);
}

void testpg_cluster_free(struct testpg_cluster *cluster)
{
    if (cluster == NULL)
        return;
    for (size_t i = 0; i < CLUSTERS_MAX; i++) {
        if (clusters[i] == cluster)
            clusters[i] = NULL;
    }
    testpg_cluster_stop(cluster, true);
    remove_folder(cluster->dir);
    g_free(cluster->dir);
    g_free(cluster->conninfo);
    g_free(cluster);
}

/* At exit, in the process that made them: a forked child has nothing to stop. */
static pid_t owner_pid;

static void stop_clusters(void)
{
    if (getpid() != owner_pid)
        return;
    for (size_t i = 0; i < CLUSTERS_MAX; i++)
        testpg_cluster_free(clusters[i]);
}

struct testpg_cluster *testpg_cluster_new_in(const char *data_dir, bool durable)
{
    size_t slot = 0;
    while (slot < CLUSTERS_MAX && clusters[slot] != NULL)
        slot++;
    if (slot == CLUSTERS_MAX)
        die("testpg_cluster_new_in", "too many clusters");
    if (owner_pid == 0) {
        owner_pid = getpid();
        atexit(stop_clusters);
    }
    struct testpg_cluster *cluster = g_new0(struct testpg_cluster, 1);
    cluster->dir = g_strdup("/tmp/loa-pg.XXXXXX");
    if (g_mkdtemp(cluster->dir) == NULL)
        die("mkdtemp", cluster->dir);
    if (data_dir != NULL) {
        g_autofree char *data = g_build_filename(cluster->dir, "data", NULL);
        if (symlink(data_dir, data) != 0)
            die("symlink", data);
    }
    cluster->conninfo = g_strdup_printf("host=%s user=loa dbname=postgres", cluster->dir);
    int status = 1;
    if (waitpid(spawn("init", cluster->dir, durable ? "on" : "off"), &status, 0) < 0 || status != 0)
        die("initdb failed in", cluster->dir);
    clusters[slot] = cluster;
    testpg_cluster_start(cluster);
    return cluster;
}

struct testpg_cluster *testpg_cluster_new(bool durable)
{
    return testpg_cluster_new_in(NULL, durable);
}

/* ---- databases ---- */

static struct db *open_or_die(const char *dbname)
{
    g_autofree char *conninfo = g_strdup_printf("%s dbname=%s", server, dbname);
    g_autoptr(GError) error = NULL;
    struct db *db = db_open(conninfo, &error);
    if (db == NULL)
        die(conninfo, error->message);
    return db;
}

static void script_or_die(struct db *db, const char *sql)
{
    g_autoptr(GError) error = NULL;
    if (!db_script(db, sql, &error))
        die(sql, error->message);
}

static void drop_databases(void)
{
    if (databases[0] == NULL || getpid() != owner_pid)
        return;
    loa_auto(db) db = open_or_die("postgres");
    for (size_t i = 0; i < DATABASES_MAX && databases[i] != NULL; i++) {
        g_autofree char *sql = g_strdup_printf("DROP DATABASE %s WITH (FORCE)", databases[i]);
        script_or_die(db, sql);
        g_clear_pointer(&databases[i], g_free);
        g_clear_pointer(&conninfos[i], g_free);
    }
}

/* Makes the template once per cluster; programs that start together take turns. */
static void template_make(void)
{
    loa_auto(db) db = open_or_die("postgres");
    script_or_die(db, "SELECT pg_advisory_lock(1)");
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res =
        db_query(db, "SELECT 1 FROM pg_database WHERE datname = 'loa_template'", NULL, &error);
    if (res == NULL)
        die("pg_database", error->message);
    if (PQntuples(res) == 1)
        return;
    script_or_die(db, "CREATE DATABASE loa_template_raw");
    struct db *raw = open_or_die("loa_template_raw");
    if (migrate_run(raw, LOA_SOURCE_DIR "/sql", &error) < 0)
        die("migrate_run", error->message);
    db_close(raw);
    script_or_die(db, "ALTER DATABASE loa_template_raw RENAME TO loa_template");
}

static void server_find(void)
{
    if (server != NULL)
        return;
    const char *file = getenv("LOA_TESTPG");
    if (file == NULL) {
        struct testpg_cluster *own = testpg_cluster_new(false);
        server = g_strdup_printf("host=%s user=loa", own->dir);
    } else if (g_file_get_contents(file, &server, NULL, NULL)) {
        g_strstrip(server);
        owner_pid = getpid();
        atexit(drop_databases);
    } else {
        die("the fixture is not running: no file", file);
    }
    template_make();
}

static const char *database_new(const char *name, const char *source)
{
    server_find();
    size_t n = 0;
    while (n < DATABASES_MAX && databases[n] != NULL)
        n++;
    if (n == DATABASES_MAX)
        die("testpg_database", "too many databases");
    char *database = g_strdup_printf("t_%.32s_%d_%zu", name, (int)getpid(), n);
    g_autofree char *sql = g_strdup_printf("CREATE DATABASE %s TEMPLATE %s", database, source);
    loa_auto(db) db = open_or_die("postgres");
    script_or_die(db, sql);
    databases[n] = database;
    conninfos[n] = g_strdup_printf("%s dbname=%s", server, database);
    return conninfos[n];
}

const char *testpg_database(const char *name)
{
    return database_new(name, "loa_template");
}

const char *testpg_empty_database(const char *name)
{
    return database_new(name, "template0");
}
