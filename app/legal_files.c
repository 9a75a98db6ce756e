/* Finds and reads the legal files. An update replaces /usr/share/loa, never what the operator keeps
 * in /etc/loa. */
#include "app/legal_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/migrate.h"

#define OPERATORS_DIR "/etc/loa"

char *legal_file_default(const char *name)
{
    g_autofree char *parent = g_path_get_dirname(migrate_default_dir()); /* sql/ lies there, too */
    g_autofree char *own = g_build_filename(OPERATORS_DIR, name, NULL);

    if (!g_str_has_prefix(parent, "/usr/"))
        return g_build_filename(parent, "etc", name, NULL);
    return access(own, F_OK) == 0 ? g_steal_pointer(&own) : g_build_filename(parent, name, NULL);
}

/* Owned. */
static char *read_file(const char *path, gsize *out_len, GError **error)
{
    g_autoptr(GError) cause = NULL;
    struct stat st;
    char *text;

    /* The size first: a mistaken path must not be read into memory. */
    if (stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > CSV_FILE_BYTES_MAX)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s is no file of at most %u bytes", path,
                    CSV_FILE_BYTES_MAX);
        return NULL;
    }
    if (!g_file_get_contents(path, &text, out_len, &cause)) {
        g_set_error(error, LOA_ERROR,
                    g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_ACCES) ? LOA_ERROR_DENIED
                                                                             : LOA_ERROR_NOT_FOUND,
                    "%s", cause->message);
        return NULL;
    }
    return text;
}

struct calendar *legal_calendar_load(const char *path, GError **error)
{
    g_autofree char *file = path != NULL ? g_strdup(path) : legal_file_default(LEGAL_CALENDAR_FILE);
    gsize len = 0;
    g_autofree char *text = read_file(file, &len, error);
    struct calendar *calendar = text != NULL ? calendar_parse(text, len, error) : NULL;

    if (text != NULL && calendar == NULL)
        g_prefix_error(error, "%s: ", file);
    return calendar;
}

struct policy *legal_policy_load(const char *path, GError **error)
{
    g_autofree char *file = path != NULL ? g_strdup(path) : legal_file_default(LEGAL_POLICY_FILE);
    gsize len = 0;
    g_autofree char *text = read_file(file, &len, error);
    struct policy *policy = text != NULL ? policy_parse(text, len, error) : NULL;

    if (text != NULL && policy == NULL)
        g_prefix_error(error, "%s: ", file);
    return policy;
}
