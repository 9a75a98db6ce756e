/* loa.conf: one typed table makes the parser, `loa check-config`, the sample file and the docs
 * page. Unknown section or key = error with the line's name and the nearest known one. */
#ifndef LOA_BASE_SETTINGS_H
#define LOA_BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#include "base/settings_table.h"

/* One field per row: SECTION_KEY. Strings are owned by the struct, "" when unset. */
struct settings {
#define SETTINGS_FIELD_STRING(field) char *field;
#define SETTINGS_FIELD_FILE(field)   char *field;
#define SETTINGS_FIELD_LIST(field)   char **field;
#define SETTINGS_FIELD_INT(field)    int64_t field;
#define SETTINGS_FIELD_BOOL(field)   bool field;
#define SETTINGS_FIELD(section, key, type, deflt, min, max, unit, secret, help)                    \
    SETTINGS_FIELD_##type(section##_##key)
    SETTINGS_TABLE(SETTINGS_FIELD)
#undef SETTINGS_FIELD
};

/* Reads and checks the file; relative FILE paths are taken from the file's own folder. INVALID
 * names section, key, value and limits; all faults are listed, one per line. Owned. */
struct settings *settings_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same from memory; folder is where relative paths start. Owned. */
struct settings *settings_parse(const char *text, size_t len, const char *folder,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* All defaults, for tests. Owned. */
struct settings *settings_defaults(void);
void settings_free(struct settings *settings);
LOA_AUTO_DEFINE(settings, settings_free)
/* Sets one value with the file's checks: for tests and generated configurations. */
bool settings_set(struct settings *settings, const char *section, const char *key,
                  const char *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The sample file etc/loa.conf, every key commented out with its default, unit, limits and help. */
char *settings_sample(void);
/* The table of docs/settings.md. */
char *settings_markdown(void);

#endif
