/* One statement writes the whole file, so it is whole or not at all. */
#include "engine/area_store.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

#include "engine/area_csv.h"

static struct area_list *file_read(const char *path, GError **error)
{
    struct stat st;
    g_autofree char *text = NULL;
    gsize len = 0;
    g_autoptr(GError) cause = NULL;
    /* The size first: a mistaken path must not be read into memory. */
    if (stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > AREA_FILE_BYTES_MAX)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s is no file of at most %u bytes", path,
                    AREA_FILE_BYTES_MAX);
        return NULL;
    }
    if (!g_file_get_contents(path, &text, &len, &cause)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "%s", cause->message);
        return NULL;
    }
    struct area_list *list = area_csv_parse(text, len, error);
    if (list == NULL)
        g_prefix_error(error, "%s: ", path);
    return list;
}

int area_load_csv(struct db *db, const char *path, GError **error)
{
    loa_auto(area_list) list = file_read(path, error);
    if (list == NULL)
        return -1;
    struct db_params *params = db_params_new();
    db_param_text_array(params, (const char *const *)list->codes->pdata, list->codes->len);
    db_param_text_array(params, (const char *const *)list->names->pdata, list->names->len);
    if (!db_exec(db,
                 "INSERT INTO commune (code, name)"
                 " SELECT * FROM unnest($1, $2)"
                 " ON CONFLICT (code) DO UPDATE SET name = excluded.name"
                 " WHERE commune.name <> excluded.name",
                 params, error))
        return -1;
    return (int)list->codes->len;
}

bool area_is_known(struct db *db, const char *code, bool *out_known, GError **error)
{
    struct db_params *params = db_params_new();
    db_param_text(params, code);
    g_autoptr(PGresult) res =
        db_query(db, "SELECT EXISTS (SELECT FROM commune WHERE code = $1)", params, error);
    if (res == NULL)
        return false;
    *out_known = db_get_bool(res, 0, 0);
    return true;
}

GHashTable *area_names(struct db *db, GError **error)
{
    g_autoptr(PGresult) res = db_query(db, "SELECT code, name FROM commune", NULL, error);
    GHashTable *names;

    if (res == NULL)
        return NULL;
    names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (int row = 0; row < PQntuples(res); row++)
        g_hash_table_insert(names, g_strdup(db_get_text(res, row, 0)),
                            g_strdup(db_get_text(res, row, 1)));
    return names;
}
