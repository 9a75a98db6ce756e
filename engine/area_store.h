/* The communes of the province, in the table commune. */
#ifndef LOA_ENGINE_AREA_STORE_H
#define LOA_ENGINE_AREA_STORE_H

#include <stdbool.h>

#include "base/db.h"

/* Loads a file as area_csv.h describes it: new communes are added, known ones renamed, none is
 * deleted (devices and old broadcasts name them); all of the file or nothing. Returns how many
 * communes it has, -1 on error. */
int area_load_csv(struct db *db, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether there is a commune of this code. */
bool area_is_known(struct db *db, const char *code, bool *out_known,
                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Names by code: owned strings in an owned table. */
GHashTable *area_names(struct db *db, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
