/* The rows of SETTINGS_TABLE, for the parser (settings.c) and the generators (settings_text.c). */
#ifndef LOA_BASE_SETTINGS_INTERNAL_H
#define LOA_BASE_SETTINGS_INTERNAL_H

#include "base/settings.h"

enum setting_type { SETTING_STRING, SETTING_FILE, SETTING_LIST, SETTING_INT, SETTING_BOOL };

struct setting_row {
    const char *section;
    const char *key;
    enum setting_type type;
    const char *deflt;
    int64_t min;
    int64_t max;
    const char *unit;
    bool secret;
    const char *help;
    size_t offset; /* of its field in struct settings */
};

extern const struct setting_row setting_rows[];
extern const size_t setting_row_count;

#endif
