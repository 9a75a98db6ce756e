/* Runs the checks of sql/checks. */
#include "engine/checks.h"

#include <string.h>

#define CHECK_FILE_MAX 65536

static bool run_file(struct db *db, const char *dir, const char *name, GPtrArray *faults,
                     GError **error)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *sql = NULL;
    g_autoptr(GError) cause = NULL;
    g_autoptr(PGresult) res = NULL;
    gsize len;

    if (!g_file_get_contents(path, &sql, &len, &cause) || len > CHECK_FILE_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "%s: %s", path,
                    cause != NULL ? cause->message : "too long for a check");
        return false;
    }
    res = db_query(db, sql, NULL, error);
    if (res == NULL) {
        g_prefix_error(error, "%s: ", name);
        return false;
    }
    for (int row = 0; row < PQntuples(res); row++)
        g_ptr_array_add(faults, g_strdup_printf("%.*s: %s", (int)strlen(name) - 4, name,
                                                db_get_text(res, row, 0)));
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool checks_run(struct db *db, const char *dir, GPtrArray *faults, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) cause = NULL;
    GDir *files = g_dir_open(dir, 0, &cause);
    const char *name;

    if (files == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "%s: %s", dir, cause->message);
        return false;
    }
    while ((name = g_dir_read_name(files)) != NULL)
        if (g_str_has_suffix(name, ".sql"))
            g_ptr_array_add(names, g_strdup(name));
    g_dir_close(files);
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++)
        if (!run_file(db, dir, names->pdata[i], faults, error))
            return false;
    return true;
}
