/* A strict reader: three plain fields a line, no quoting, because no name of a commune needs it. */
#include "engine/area_csv.h"

#include <stdbool.h>
#include <string.h>

#include "base/error.h"

#define HEADER         "code,name,kind"
#define NAME_BYTES_MAX 100
#define FAULTS_MAX     20

struct reading {
    struct area_list *list;
    GHashTable *seen; /* codes, borrowed from the list */
    GString *faults;
    unsigned fault_count;
    unsigned line;
};

void area_list_free(struct area_list *list)
{
    if (list == NULL)
        return;
    g_ptr_array_unref(list->codes);
    g_ptr_array_unref(list->names);
    g_free(list);
}

static void fault(struct reading *r, const char *reason)
{
    if (++r->fault_count <= FAULTS_MAX)
        g_string_append_printf(r->faults, "\nline %u: %s", r->line, reason);
}

static bool is_code(const char *text)
{
    for (int i = 0; i < 5; i++) {
        if (!g_ascii_isdigit(text[i]))
            return false;
    }
    return text[5] == '\0';
}

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len > NAME_BYTES_MAX || !g_utf8_validate(text, -1, NULL))
        return false;
    for (const char *c = text; *c != '\0'; c = g_utf8_next_char(c)) {
        if (!g_unichar_isprint(g_utf8_get_char(c)))
            return false;
    }
    return true;
}

static void read_line(struct reading *r, const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, ",", 4);
    if (g_strv_length(fields) != 3) {
        fault(r, "must be code,name,kind");
        return;
    }
    for (char **field = fields; *field != NULL; field++)
        g_strstrip(*field);
    if (!is_code(fields[0]))
        fault(r, "the code must be five digits");
    else if (g_hash_table_contains(r->seen, fields[0]))
        fault(r, "the code stands there twice");
    else if (!is_name(fields[1]))
        fault(r, "the name must have 1 to 100 bytes of printable UTF-8");
    else if (strcmp(fields[2], "xa") != 0 && strcmp(fields[2], "phuong") != 0 &&
             strcmp(fields[2], "dac_khu") != 0)
        fault(r, "the kind must be xa, phuong or dac_khu");
    else if (r->list->codes->len == AREA_ROWS_MAX)
        fault(r, "too many lines");
    else {
        char *code = g_strdup(fields[0]);
        g_ptr_array_add(r->list->codes, code);
        g_ptr_array_add(r->list->names, g_utf8_normalize(fields[1], -1, G_NORMALIZE_NFC));
        g_hash_table_add(r->seen, code);
    }
}

static void read_lines(struct reading *r, const char *text, size_t len)
{
    const char *end = text + len;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *next = stop == NULL ? end : stop + 1;
        g_autofree char *line = g_strndup(text, (size_t)((stop == NULL ? end : stop) - text));
        size_t line_len = strlen(line);
        if (line_len > 0 && line[line_len - 1] == '\r')
            line[line_len - 1] = '\0';
        text = next;
        r->line++;
        if (r->line > 1)
            read_line(r, line);
        else if (strcmp(line, HEADER) != 0)
            fault(r, "the first line must be " HEADER);
    }
    if (r->list->codes->len == 0 && r->fault_count == 0)
        fault(r, "the file has no communes");
}

struct area_list *area_csv_parse(const char *text, size_t len, GError **error)
{
    if (len > AREA_FILE_BYTES_MAX || memchr(text, '\0', len) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "not a text of at most %u bytes",
                    AREA_FILE_BYTES_MAX);
        return NULL;
    }
    loa_auto(area_list) list = g_new0(struct area_list, 1);
    list->codes = g_ptr_array_new_with_free_func(g_free);
    list->names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GString) faults = g_string_new(NULL);
    struct reading r = {.list = list, .seen = seen, .faults = faults};
    read_lines(&r, text, len);
    if (r.fault_count == 0)
        return g_steal_pointer(&list);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%u bad lines, nothing was taken:%s",
                r.fault_count, faults->str);
    return NULL;
}
