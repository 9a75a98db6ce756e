/* Reads loa.conf with GKeyFile and checks every value against its row of SETTINGS_TABLE. All faults
 * are collected, because an operator corrects a file, not a line. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/settings_internal.h"

#define FILE_BYTES_MAX (256u << 10)
#define FAULTS_MAX     50
#define SHOWN_MAX      80 /* bytes of a wrong name or value in a message */
#define NAME_MAX_BYTES 64 /* of a section or key worth comparing with the known ones */

const struct setting_row setting_rows[] = {
#define ROW(section, key, type, deflt, min, max, unit, secret, help)                               \
    {#section, #key, SETTING_##type, deflt, min,                                                   \
     max,      unit, secret,         help,  offsetof(struct settings, section##_##key)},
    SETTINGS_TABLE(ROW)
#undef ROW
};
const size_t setting_row_count = G_N_ELEMENTS(setting_rows);

/* Where the row's value lies: char * (STRING, FILE), char ** (LIST), int64_t or bool. */
static void *field_of(struct settings *settings, const struct setting_row *row)
{
    return (char *)settings + row->offset;
}

static const struct setting_row *row_find(const char *section, const char *key)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        if (strcmp(setting_rows[i].section, section) == 0 && strcmp(setting_rows[i].key, key) == 0)
            return &setting_rows[i];
    }
    return NULL;
}

static bool section_exists(const char *section)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        if (strcmp(setting_rows[i].section, section) == 0)
            return true;
    }
    return false;
}

/* Levenshtein distance of two short names. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[NAME_MAX_BYTES + 1];
    size_t len = strlen(b);
    assert(len <= NAME_MAX_BYTES);
    for (size_t j = 0; j <= len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < len; j++) {
            unsigned above = row[j + 1];
            unsigned change = diagonal + (a[i] == b[j] ? 0 : 1);
            row[j + 1] = MIN(change, MIN(above, row[j]) + 1);
            diagonal = above;
        }
    }
    return row[len];
}

/* The known key of the section (or the known section, for section NULL) that looks most alike. */
static const char *nearest(const char *section, const char *name)
{
    const char *best = NULL;
    unsigned best_distance = UINT_MAX;
    if (strlen(name) > NAME_MAX_BYTES)
        name = "";
    for (size_t i = 0; i < setting_row_count; i++) {
        const char *known = section == NULL ? setting_rows[i].section : setting_rows[i].key;
        if (section != NULL && strcmp(setting_rows[i].section, section) != 0)
            continue;
        unsigned d = distance(name, known);
        if (d < best_distance) {
            best = known;
            best_distance = d;
        }
    }
    return best;
}

/* The beginning of what stands in the file, fit for a message. Owned. */
static char *shown(const char *text)
{
    return g_utf8_make_valid(text, (gssize)strnlen(text, SHOWN_MAX));
}

static bool refuse(const struct setting_row *row, const char *value, GError **error,
                   const char *format, ...) G_GNUC_PRINTF(4, 5);

static bool refuse(const struct setting_row *row, const char *value, GError **error,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *start = shown(value);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "[%s] %s = %s: %s", row->section, row->key,
                start, what);
    return false;
}

static bool set_list(struct settings *settings, const struct setting_row *row, const char *value,
                     GError **error)
{
    g_auto(GStrv) items = g_strsplit(value, ",", -1);
    for (char **item = items; *item != NULL; item++) {
        g_strstrip(*item);
        if (**item == '\0')
            return refuse(row, value, error, "an item of the list is empty");
    }
    char ***field = field_of(settings, row);
    g_strfreev(*field);
    *field = g_steal_pointer(&items);
    return true;
}

static bool set_text(struct settings *settings, const struct setting_row *row, const char *value,
                     GError **error)
{
    size_t len = strlen(value);
    if ((int64_t)len < row->min || (int64_t)len > row->max)
        return refuse(row, value, error,
                      "must have %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " bytes",
                      (gint64)row->min, (gint64)row->max);
    if (!g_utf8_validate(value, -1, NULL))
        return refuse(row, value, error, "is not valid UTF-8");
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return refuse(row, value, error, "has a control character");
    }
    if (row->type == SETTING_LIST)
        return set_list(settings, row, value, error);
    char **field = field_of(settings, row);
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

static bool set_int(struct settings *settings, const struct setting_row *row, const char *value,
                    GError **error)
{
    gint64 number = 0;
    if (!g_ascii_string_to_signed(value, 10, row->min, row->max, &number, NULL))
        return refuse(
            row, value, error,
            "must be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT "%s%s",
            (gint64)row->min, (gint64)row->max, row->unit[0] != '\0' ? " " : "", row->unit);
    int64_t *field = field_of(settings, row);
    *field = number;
    return true;
}

static bool set_bool(struct settings *settings, const struct setting_row *row, const char *value,
                     GError **error)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return refuse(row, value, error, "must be true or false");
    bool *field = field_of(settings, row);
    *field = value[0] == 't';
    return true;
}

static bool set_row(struct settings *settings, const struct setting_row *row, const char *value,
                    GError **error)
{
    switch (row->type) {
    case SETTING_STRING:
    case SETTING_FILE:
    case SETTING_LIST:
        return set_text(settings, row, value, error);
    case SETTING_INT:
        return set_int(settings, row, value, error);
    case SETTING_BOOL:
        return set_bool(settings, row, value, error);
    }
    return false;
}

bool settings_set(struct settings *settings, const char *section, const char *key,
                  const char *value, GError **error)
{
    if (!section_exists(section)) {
        g_autofree char *name = shown(section);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "[%s] is not a section; the nearest is [%s]", name, nearest(NULL, section));
        return false;
    }
    const struct setting_row *row = row_find(section, key);
    if (row == NULL) {
        g_autofree char *name = shown(key);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "[%s] %s is not a setting; the nearest is %s", section, name,
                    nearest(section, key));
        return false;
    }
    return set_row(settings, row, value, error);
}

/* An empty default stands for "unset", whatever the limits of a set value are. */
static void set_default(struct settings *settings, const struct setting_row *row)
{
    void *field = field_of(settings, row);
    g_autoptr(GError) error = NULL;
    if (row->deflt[0] == '\0' && row->type == SETTING_LIST)
        *(char ***)field = g_new0(char *, 1);
    else if (row->deflt[0] == '\0')
        *(char **)field = g_strdup("");
    else if (!set_row(settings, row, row->deflt, &error))
        g_error("default of a setting: %s", error->message); /* aborts: a mistake in the table */
}

struct settings *settings_defaults(void)
{
    struct settings *settings = g_new0(struct settings, 1);
    for (size_t i = 0; i < setting_row_count; i++)
        set_default(settings, &setting_rows[i]);
    return settings;
}

void settings_free(struct settings *settings)
{
    if (settings == NULL)
        return;
    for (size_t i = 0; i < setting_row_count; i++) {
        void *field = field_of(settings, &setting_rows[i]);
        if (setting_rows[i].type == SETTING_LIST)
            g_strfreev(*(char ***)field);
        else if (setting_rows[i].type == SETTING_STRING || setting_rows[i].type == SETTING_FILE)
            g_free(*(char **)field);
    }
    g_free(settings);
}

static void fault_add(GString *faults, unsigned *n, const char *message)
{
    if (++*n <= FAULTS_MAX)
        g_string_append_printf(faults, "%s%s", faults->len > 0 ? "\n" : "", message);
}

static void read_group(struct settings *settings, GKeyFile *file, const char *group,
                       GString *faults, unsigned *n)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, NULL);
    g_autoptr(GError) unknown = NULL;
    if (!section_exists(group) && !settings_set(settings, group, "", "", &unknown)) {
        fault_add(faults, n, unknown->message);
        return;
    }
    for (char **key = keys; key != NULL && *key != NULL; key++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *value = g_key_file_get_value(file, group, *key, NULL);
        if (!settings_set(settings, group, *key, value != NULL ? value : "", &error))
            fault_add(faults, n, error->message);
        else if (!g_hash_table_add(seen, *key)) {
            g_autofree char *twice = g_strdup_printf("[%s] %s stands there twice", group, *key);
            fault_add(faults, n, twice);
        }
    }
}

/* Relative paths become absolute, and a secret that everybody may read is refused. */
static void check_files(struct settings *settings, const char *folder, GString *faults, unsigned *n)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        char **field = field_of(settings, row);
        if (row->type != SETTING_FILE || **field == '\0')
            continue;
        char *path = g_canonicalize_filename(*field, folder);
        g_free(*field);
        *field = path;
        struct stat st;
        if (row->secret && stat(path, &st) == 0 && (st.st_mode & S_IRWXO) != 0) {
            g_autoptr(GError) error = NULL;
            (void)refuse(row, path, &error, "others may read this secret; chmod o-rwx it");
            fault_add(faults, n, error->message);
        }
    }
}

struct settings *settings_parse(const char *text, size_t len, const char *folder, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) cause = NULL;
    if (len > FILE_BYTES_MAX || memchr(text, '\0', len) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "the configuration is no text of at most %u bytes", FILE_BYTES_MAX);
        return NULL;
    }
    if (!g_key_file_load_from_data(file, text, len, G_KEY_FILE_NONE, &cause)) {
        g_autofree char *message = g_utf8_make_valid(cause->message, -1);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s", message);
        return NULL;
    }
    loa_auto(settings) settings = settings_defaults();
    g_autoptr(GString) faults = g_string_new(NULL);
    unsigned n = 0;
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group != NULL; group++)
        read_group(settings, file, *group, faults, &n);
    check_files(settings, folder, faults, &n);
    if (n == 0)
        return g_steal_pointer(&settings);
    if (n > FAULTS_MAX)
        g_string_append_printf(faults, "\n… and %u more", n - FAULTS_MAX);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s", faults->str);
    return NULL;
}

/* The whole file, at most one byte more than is allowed. */
static GString *file_read(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(GString) text = g_string_new(NULL);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && text->len <= FILE_BYTES_MAX) {
        char part[4096];
        n = read(fd, part, sizeof part);
        if (n > 0)
            g_string_append_len(text, part, n);
    }
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (n >= 0)
        return g_steal_pointer(&text);
    g_set_error(error, LOA_ERROR, saved == ENOENT ? LOA_ERROR_NOT_FOUND : LOA_ERROR_INVALID,
                "cannot read %s: %s", path, g_strerror(saved));
    return NULL;
}

struct settings *settings_load(const char *path, GError **error)
{
    g_autoptr(GString) text = file_read(path, error);
    if (text == NULL)
        return NULL;
    g_autofree char *absolute = g_canonicalize_filename(path, NULL);
    g_autofree char *folder = g_path_get_dirname(absolute);
    struct settings *settings = settings_parse(text->str, text->len, folder, error);
    if (settings == NULL)
        g_prefix_error(error, "%s:\n", path);
    return settings;
}
