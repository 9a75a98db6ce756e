/* Every step takes the lock, looks again at what is applied and applies the next file, all in one
 * transaction: two programs that migrate at once take turns, and a crash leaves a whole number of
 * migrations. Transaction locks, because a session lock would not survive PgBouncer. */
#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/migrate.h"

#define FILE_BYTES_MAX (4u << 20)
#define FILES_MAX      9999
#define LOCK_SQL       "SELECT pg_advisory_xact_lock(20261123)"

struct migration {
    int version;
    char *name; /* "0001_core" */
    char *sql;
    char *sha256; /* hex */
};

static void migration_free(void *p)
{
    struct migration *m = p;
    g_free(m->name);
    g_free(m->sql);
    g_free(m->sha256);
    g_free(m);
}

const char *migrate_default_dir(void)
{
    char path[16] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 && g_str_has_prefix(path, "/usr/") ? "/usr/share/loa/sql" : LOA_SOURCE_DIR "/sql";
}

/* NNNN_name.sql; 0 when it is not of that form. */
static int version_of(const char *file)
{
    if (strlen(file) < 10 || file[4] != '_' || !g_str_has_suffix(file, ".sql"))
        return 0;
    int version = 0;
    for (int i = 0; i < 4; i++) {
        if (!g_ascii_isdigit(file[i]))
            return 0;
        version = version * 10 + (file[i] - '0');
    }
    return version;
}

static struct migration *migration_read(const char *folder, const char *file, GError **error)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    g_autofree char *sql = NULL;
    gsize len = 0;
    g_autoptr(GError) cause = NULL;
    if (!g_file_get_contents(path, &sql, &len, &cause)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s", cause->message);
        return NULL;
    }
    if (len == 0 || len > FILE_BYTES_MAX || memchr(sql, '\0', len) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s is empty, too large or not text",
                    path);
        return NULL;
    }
    struct migration *m = g_new0(struct migration, 1);
    m->version = version_of(file);
    m->name = g_strndup(file, strlen(file) - strlen(".sql"));
    m->sha256 = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)sql, len);
    m->sql = g_steal_pointer(&sql);
    return m;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in DIR/migrations, sorted; every other file there is a mistake. */
static GPtrArray *list_files(const char *folder, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &cause);
    if (dir == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s", cause->message);
        return NULL;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (const char *name; (name = g_dir_read_name(dir)) != NULL && names->len < FILES_MAX;)
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        if (version_of(names->pdata[i]) != (int)i + 1) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                        "%s/%s: expected a migration %04u_….sql", folder,
                        (const char *)names->pdata[i], i + 1);
            return NULL;
        }
    }
    return g_steal_pointer(&names);
}

/* The series of struct migration; item i has version i + 1. */
static GPtrArray *series_read(const char *dir, GError **error)
{
    g_autofree char *folder = g_build_filename(dir, "migrations", NULL);
    g_autoptr(GPtrArray) names = list_files(folder, error);
    if (names == NULL)
        return NULL;
    g_autoptr(GPtrArray) series = g_ptr_array_new_with_free_func(migration_free);
    for (guint i = 0; i < names->len; i++) {
        struct migration *m = migration_read(folder, names->pdata[i], error);
        if (m == NULL)
            return NULL;
        g_ptr_array_add(series, m);
    }
    return g_steal_pointer(&series);
}

/* Compares what is applied with the series; returns how many are, -1 when they differ. */
static int count_applied(struct db *db, const GPtrArray *series, GError **error)
{
    g_autoptr(PGresult) res = db_query(
        db, "SELECT version, name, sha256 FROM schema_migration ORDER BY version", NULL, error);
    if (res == NULL)
        return -1;
    for (int i = 0; i < PQntuples(res); i++) {
        const char *name = db_get_text(res, i, 1);
        if ((guint)i >= series->len || db_get_i64(res, i, 0) != i + 1) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                        "the database has migration %s, which this program does not know: "
                        "install a newer Loa",
                        name);
            return -1;
        }
        const struct migration *m = series->pdata[i];
        if (strcmp(m->name, name) != 0 || strcmp(m->sha256, db_get_text(res, i, 2)) != 0) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                        "migration %s differs from the one that was applied as %s", m->name, name);
            return -1;
        }
    }
    return PQntuples(res);
}

/* A script that commits would tear the migration apart. */
static bool still_in_transaction(struct db *db, const struct migration *m, GError **error)
{
    if (PQtransactionStatus(db_conn(db)) == PQTRANS_INTRANS)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "migration %s ends its transaction", m->name);
    return false;
}

static bool apply(struct db *db, const struct migration *m, GError **error)
{
    /* A table that a live process holds is waited for a while, not until everything queues. */
    if (!db_script(db, "SET LOCAL lock_timeout = '30s'", error))
        return false;
    if (!db_script(db, m->sql, error)) {
        g_prefix_error(error, "migration %s: ", m->name);
        return false;
    }
    if (!still_in_transaction(db, m, error))
        return false;
    struct db_params *params = db_params_new();
    db_param_i32(params, m->version);
    db_param_text(params, m->name);
    db_param_text(params, m->sha256);
    return db_exec(db, "INSERT INTO schema_migration (version, name, sha256) VALUES ($1, $2, $3)",
                   params, error);
}

/* One transaction: 1 = applied one, 0 = nothing left, -1 = error (rolled back by the caller). */
static int step(struct db *db, const GPtrArray *series, GError **error)
{
    if (!db_begin(db, error))
        return -1;
    if (!db_script(db, "SET LOCAL statement_timeout = '1h';" LOCK_SQL, error) ||
        !db_script(db,
                   "CREATE TABLE IF NOT EXISTS schema_migration ("
                   " version integer PRIMARY KEY,"
                   " name text NOT NULL,"
                   " sha256 text NOT NULL,"
                   " applied_at timestamptz NOT NULL DEFAULT now())",
                   error))
        return -1;
    int applied = count_applied(db, series, error);
    if (applied < 0)
        return -1;
    bool more = (guint)applied < series->len;
    if (more && !apply(db, series->pdata[applied], error))
        return -1;
    if (!db_commit(db, error))
        return -1;
    if (more)
        log_event(LOG_LEVEL_INFO, "migration_applied", LOG_INT("version", applied + 1),
                  LOG_STR("name", ((const struct migration *)series->pdata[applied])->name));
    return more ? 1 : 0;
}

int migrate_run(struct db *db, const char *dir, GError **error)
{
    g_autoptr(GPtrArray) series = series_read(dir, error);
    if (series == NULL)
        return -1;
    int done = 0;
    for (;;) {
        int rc = step(db, series, error);
        db_rollback(db);
        if (rc <= 0)
            return rc < 0 ? -1 : done;
        done++;
    }
}

int migrate_pending(struct db *db, const char *dir, GError **error)
{
    g_autoptr(GPtrArray) series = series_read(dir, error);
    if (series == NULL)
        return -1;
    g_autoptr(PGresult) res =
        db_query(db, "SELECT to_regclass('schema_migration') IS NOT NULL", NULL, error);
    if (res == NULL)
        return -1;
    int applied = db_get_bool(res, 0, 0) ? count_applied(db, series, error) : 0;
    return applied < 0 ? -1 : (int)series->len - applied;
}
