/* The sample file and the docs page, written from the same rows that the parser checks with. */
#include <string.h>

#include "base/settings_internal.h"

static const char *const type_names[] = {
    [SETTING_STRING] = "text", [SETTING_FILE] = "file",    [SETTING_LIST] = "list",
    [SETTING_INT] = "number",  [SETTING_BOOL] = "boolean",
};

/* "number, 1 to 64 threads" */
static void append_limits(GString *out, const struct setting_row *row)
{
    g_string_append(out, type_names[row->type]);
    if (row->type == SETTING_BOOL)
        return;
    g_string_append_printf(out, ", %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, (gint64)row->min,
                           (gint64)row->max);
    const char *unit = row->type == SETTING_INT ? row->unit : "bytes long";
    if (unit[0] != '\0')
        g_string_append_printf(out, " %s", unit);
}

char *settings_sample(void)
{
    GString *out = g_string_new("# Configuration of Loa. Every setting stands here with its default"
                                " and commented out.\n# Check a changed file with: loa"
                                " check-config\n");
    const char *section = "";
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        if (strcmp(section, row->section) != 0)
            g_string_append_printf(out, "\n[%s]\n", row->section);
        section = row->section;
        g_string_append_printf(out, "\n# %s.\n# (", row->help);
        append_limits(out, row);
        g_string_append_printf(out, "%s)\n#%s =%s%s\n",
                               row->secret ? "; others must not be able to read it" : "", row->key,
                               row->deflt[0] != '\0' ? " " : "", row->deflt);
    }
    return g_string_free(out, FALSE);
}

char *settings_markdown(void)
{
    GString *out = g_string_new(NULL);
    const char *section = "";
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        if (strcmp(section, row->section) != 0)
            g_string_append_printf(out,
                                   "%s## [%s]\n\n| setting | default | type and limits | what it "
                                   "does |\n|---|---|---|---|\n",
                                   out->len > 0 ? "\n" : "", row->section);
        section = row->section;
        g_string_append_printf(out, "| `%s` | ", row->key);
        if (row->deflt[0] != '\0')
            g_string_append_printf(out, "`%s`", row->deflt);
        else
            g_string_append(out, "empty");
        g_string_append(out, " | ");
        append_limits(out, row);
        g_string_append_printf(out, " | %s%s |\n", row->help, row->secret ? " (secret file)" : "");
    }
    return g_string_free(out, FALSE);
}
