/* One line of an import becomes the JSON object that an app would have sent, and then the rules of
 * engine/device.c decide: there is no second set of rules. */
#include <string.h>

#include "base/error.h"
#include "engine/device_csv.h"
#include "engine/device_import.h"

static const char *const column_names[] = {
    "platform", "id_kind", "token",       "environment",        "mqtt", "os",
    "language", "commune", "app_version", "silent_information", "key",  NULL};

#define COLUMNS (G_N_ELEMENTS(column_names) - 1)

char **device_import_columns(char *line, GError **error)
{
    char *fields[COLUMNS + 1];
    const char *why = NULL;
    size_t n = device_csv_split(line, fields, COLUMNS, &why);
    char **columns;

    if (n == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "line 1 %s", why);
        return NULL;
    }
    fields[n] = NULL;
    for (size_t i = 0; i < n; i++) {
        g_autofree char *known = NULL;
        const char *const rest[] = {NULL};
        if (g_strv_contains(column_names, fields[i]) &&
            !g_strv_contains(i + 1 < n ? (const char *const *)fields + i + 1 : rest, fields[i]))
            continue;
        known = g_strjoinv(", ", (char **)column_names);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "line 1 must name each column once; \"%.40s\" is unknown or stands there twice "
                    "(known: %s)",
                    fields[i], known);
        return NULL;
    }
    columns = g_strdupv(fields);
    return columns;
}

/* CSV knows no types: two columns are flags, the rest is text. */
static json_t *csv_value(const char *column, const char *text)
{
    if (strcmp(column, "mqtt") == 0 || strcmp(column, "silent_information") == 0) {
        if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
            return json_true();
        if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            return json_false();
    }
    return json_string(text); /* NULL when it is not UTF-8 */
}

static json_t *csv_object(char *line, char *const *columns, char **out_why)
{
    g_autoptr(json_t) object = json_object();
    size_t n_columns = g_strv_length((char **)columns);
    char *fields[COLUMNS];
    const char *why = "has fewer fields than the first line names";
    size_t n = device_csv_split(line, fields, n_columns, &why);

    if (n != n_columns) {
        *out_why = g_strdup(why);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        if (fields[i][0] != '\0' &&
            json_object_set_new(object, columns[i], csv_value(columns[i], fields[i])) != 0) {
            *out_why = g_strdup_printf("%s: is not valid UTF-8", columns[i]);
            return NULL;
        }
    return g_steal_pointer(&object);
}

static char *complaints_text(const struct json_reader *reader)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        const char *name, *detail;
        json_reader_complaint(reader, i, &name, &detail);
        g_string_append_printf(text, "%s%s: %s", i > 0 ? "; " : "", name, detail);
    }
    return g_string_free(text, FALSE);
}

char *device_import_line(char *line, size_t len, char *const *columns, GHashTable *communes,
                         json_t **out_object, struct device_state *out, const char **out_key)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) object = NULL;
    loa_auto(json_reader) reader = NULL;
    struct device_told told;
    char *why = NULL;

    if (memchr(line, '\0', len) != NULL)
        return g_strdup("contains a NUL byte");
    object = columns != NULL ? csv_object(line, columns, &why)
                             : json_parse_object(line, len, DEVICE_IMPORT_LINE_MAX, &error);
    if (object == NULL)
        return why != NULL ? why : g_strdup(error->message);
    reader = json_reader_new(object);
    device_told_read(reader, true, &told);
    *out_key = json_read_string(reader, "key", DEVICE_KEY_MAX, false);
    if (*out_key != NULL && !device_key_valid(*out_key))
        json_reader_complain(reader, "key", "must be 16 to 200 printable ASCII characters");
    json_reader_end(reader);
    if (json_reader_complaints(reader) == 0)
        device_merge(NULL, &told, communes, reader, out);
    if (json_reader_complaints(reader) == 0 && out->push_token == NULL && *out_key == NULL)
        json_reader_complain(reader, "key",
                             "is needed for a device without a token, so that a repeated import "
                             "finds it again");
    if (json_reader_complaints(reader) > 0)
        return complaints_text(reader);
    *out_object = g_steal_pointer(&object);
    return NULL;
}
