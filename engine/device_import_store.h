/* SQL of the import: a temporary table is filled by COPY and then merged in a few statements. All
 * inside the caller's transaction. */
#ifndef LOA_ENGINE_DEVICE_IMPORT_STORE_H
#define LOA_ENGINE_DEVICE_IMPORT_STORE_H

#include "base/db.h"
#include "engine/device_import.h"

/* Makes the table and starts the COPY. */
bool device_import_stage_begin(struct db *db, GError **error);
/* Appends one row in COPY's text format. key_hash may be NULL. */
void device_import_stage_row(GString *rows, uint64_t line, const uint8_t *key_hash,
                             const struct device_state *state);
/* After db_copy_end. CONFLICT when a token or key belongs to a device of another realm. */
bool device_import_merge(struct db *db, const struct device_import_options *options,
                         struct device_import_counts *out, GError **error);
/* Calls options->on_secret for each imported device that uses MQTT. */
bool device_import_secrets(struct db *db, const struct device_import_options *options,
                           GError **error);

#endif
