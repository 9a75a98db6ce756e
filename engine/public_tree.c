/* nginx takes NAME.gz for a client that can read it and NAME for any other. Between the two renames
 * there is no NAME.gz for a moment: then everybody gets NAME, and it is the new one. */
#include "engine/public_tree.h"

#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/gzip.h"

struct public_tree {
    char *folder;
    char *api;    /* FOLDER/api */
    char *root;   /* FOLDER/api/v1 */
    char *alerts; /* FOLDER/api/v1/alerts */
};

/* Also before each use: somebody may have taken them away. */
static bool make_folders(const struct public_tree *tree, GError **error)
{
    return file_make_folder(tree->folder, error) && file_make_folder(tree->api, error) &&
           file_make_folder(tree->root, error) && file_make_folder(tree->alerts, error);
}

struct public_tree *public_tree_new(const char *folder, GError **error)
{
    loa_auto(public_tree) tree = g_new0(struct public_tree, 1);

    tree->folder = g_strdup(folder);
    tree->api = g_build_filename(folder, "api", NULL);
    tree->root = g_build_filename(tree->api, "v1", NULL);
    tree->alerts = g_build_filename(tree->root, "alerts", NULL);
    return make_folders(tree, error) ? g_steal_pointer(&tree) : NULL;
}

void public_tree_free(struct public_tree *tree)
{
    if (tree == NULL)
        return;
    g_free(tree->folder);
    g_free(tree->api);
    g_free(tree->root);
    g_free(tree->alerts);
    g_free(tree);
}

/* Makes the names beside path durable. */
static bool sync_beside(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return file_sync_folder(folder, error);
}

static bool replace(const char *path, const char *gz_path, const char *text, const GByteArray *gz,
                    int64_t mtime_s, GError **error)
{
    g_autofree char *staged = file_stage(path, text, strlen(text), mtime_s, error);
    g_autofree char *staged_gz = NULL;

    if (staged == NULL)
        return false;
    staged_gz = file_stage(gz_path, gz->data, gz->len, mtime_s, error);
    if (staged_gz == NULL || !file_remove(gz_path, error)) {
        (void)!file_remove(staged, NULL);
        if (staged_gz != NULL)
            (void)!file_remove(staged_gz, NULL);
        return false;
    }
    if (!file_commit(staged, path, error)) {
        (void)!file_remove(staged_gz, NULL);
        return false;
    }
    return file_commit(staged_gz, gz_path, error) && sync_beside(path, error);
}

bool public_tree_put(struct public_tree *tree, const char *name, const char *text, int64_t mtime_s,
                     bool *out_written, GError **error)
{
    g_autofree char *path = g_build_filename(tree->root, name, NULL);
    g_autofree char *gz_path = g_strconcat(path, ".gz", NULL);
    g_autoptr(GByteArray) gz = gzip_compress(text, strlen(text));

    *out_written = !file_is(path, text, strlen(text), mtime_s) ||
                   !file_is(gz_path, gz->data, gz->len, mtime_s);
    return !*out_written ||
           (make_folders(tree, error) && replace(path, gz_path, text, gz, mtime_s, error));
}

bool public_tree_drop(struct public_tree *tree, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(tree->root, name, NULL);
    g_autofree char *gz_path = g_strconcat(path, ".gz", NULL);

    return make_folders(tree, error) && file_remove(gz_path, error) && file_remove(path, error) &&
           sync_beside(path, error);
}

/* The id in "ID.json" and "ID.json.gz"; NULL for any other name. Owned. */
static char *alert_of(const char *name)
{
    size_t len = strlen(name);

    if (g_str_has_suffix(name, ".gz"))
        len -= strlen(".gz");
    if (len <= strlen(".json") || strncmp(name + len - strlen(".json"), ".json", 5) != 0)
        return NULL;
    return g_strndup(name, len - strlen(".json"));
}

/* Names in a folder, owned: removing while reading would skip some. */
static GPtrArray *names_in(const char *folder, GError **error)
{
    GDir *dir = g_dir_open(folder, 0, error);
    GPtrArray *names;
    const char *name;

    if (dir == NULL)
        return NULL;
    names = g_ptr_array_new_with_free_func(g_free);
    while ((name = g_dir_read_name(dir)) != NULL)
        g_ptr_array_add(names, g_strdup(name));
    g_dir_close(dir);
    return names;
}

static bool sweep_folder(const char *folder, bool strict, bool (*keep)(const char *, void *),
                         void *user, unsigned *out_removed, GError **error)
{
    g_autoptr(GPtrArray) names = names_in(folder, error);

    for (guint i = 0; names != NULL && i < names->len; i++) {
        const char *name = names->pdata[i];
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_autofree char *id = alert_of(name);
        if (g_str_has_prefix(name, FILE_STAGED_PREFIX) ||
            (strict && (id == NULL || !keep(id, user)))) {
            if (!file_remove(path, error))
                return false;
            (*out_removed)++;
        }
    }
    return names != NULL && file_sync_folder(folder, error);
}

bool public_tree_sweep(struct public_tree *tree, bool (*keep)(const char *alert_id, void *user),
                       void *user, unsigned *out_removed, GError **error)
{
    *out_removed = 0;
    return make_folders(tree, error) &&
           sweep_folder(tree->root, false, keep, user, out_removed, error) &&
           sweep_folder(tree->alerts, true, keep, user, out_removed, error);
}
