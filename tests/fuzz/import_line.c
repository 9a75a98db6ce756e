/* lib: loa_engine */
/* A file of an import: the first line names the columns of CSV, or all lines are NDJSON; every
 * accepted line becomes a row of COPY's text format with exactly its columns. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/device_import.h"
#include "engine/device_import_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(char *line, size_t len, char *const *columns, GHashTable *communes)
{
    g_autoptr(json_t) object = NULL;
    struct device_state device;
    const char *key = NULL;
    g_autofree char *why = device_import_line(line, len, columns, communes, &object, &device, &key);

    if (why != NULL)
        return;
    g_autoptr(GString) row = g_string_new(NULL);
    device_import_stage_row(row, 1, NULL, &device);
    size_t tabs = 0, ends = 0;
    for (size_t i = 0; i < row->len; i++) {
        tabs += row->str[i] == '\t';
        ends += row->str[i] == '\n' || row->str[i] == '\0';
    }
    assert(tabs == 11 && ends == 1 && row->str[row->len - 1] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GHashTable) communes = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) columns = NULL;
    char *rest = text;

    g_hash_table_add(communes, (gpointer) "01273");
    if (size == 0 || memchr(data, '\0', size) != NULL)
        return 0;
    if (text[0] != '{') {
        char *head = strsep(&rest, "\n");
        columns = device_import_columns(head, NULL);
        if (columns == NULL)
            return 0;
    }
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        one_line(line, strlen(line), columns, communes);
    return 0;
}
