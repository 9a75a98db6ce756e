/* `loa device import`: devices from a file, streamed, all or nothing.
 *
 * CSV: the first line names the columns, in any order; NDJSON: one object per line. Fields are
 * those of a registration (engine/device.h): platform, id_kind, token, environment, mqtt, os,
 * language, commune, app_version, silent_information; and key, 16 to 200 printable ASCII characters
 * that name the install in the place where it comes from. An empty CSV field is "not told". A
 * device without a token needs a key: by token or key a repeated import finds the device again and
 * updates it. */
#ifndef LOA_ENGINE_DEVICE_IMPORT_H
#define LOA_ENGINE_DEVICE_IMPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <glib.h>

#include "base/db.h"
#include "engine/device.h"
#include "engine/device_secret.h"

#define DEVICE_IMPORT_LINE_MAX 8192 /* bytes */

enum device_import_format {
    DEVICE_IMPORT_AUTO, /* NDJSON when the first byte is '{' */
    DEVICE_IMPORT_CSV,
    DEVICE_IMPORT_NDJSON,
};

struct device_import_options {
    enum device_import_format format;
    const char *realm;
    bool proven;   /* the tokens are known to work */
    bool skip_bad; /* import the good lines although there are bad ones */
    /* Each bad line, from 1; reason is borrowed. */
    void (*on_bad)(uint64_t line, const char *reason, void *user);
    /* Every few thousand lines, with the bytes read, and at each step after reading (step names
     * what the database does now; NULL while reading). May be NULL. */
    void (*on_progress)(uint64_t lines, uint64_t bytes, const char *step, void *user);
    /* When secrets_key is set: each imported device that uses MQTT, by ascending id. false stops
     * the import with error. */
    const struct device_secret_key *secrets_key;
    bool (*on_secret)(int64_t id, const char *secret, const char *commune, const char *language,
                      void *user, GError **error);
    void *user;
};

struct device_import_counts {
    uint64_t lines;    /* without the line of column names */
    uint64_t bad;      /* refused */
    uint64_t repeated; /* lines whose device a later line tells again: the later one counts */
    uint64_t added;    /* new devices */
    uint64_t updated;  /* devices that were known */
    uint64_t moved;    /* devices that lost their token to another one of the file */
};

/* One transaction. INVALID when there are bad lines and skip_bad is not set, or the first line is
 * wrong: nothing was imported. *out is filled in that case, too. */
bool device_import(struct db *db, FILE *in, const struct device_import_options *options,
                   struct device_import_counts *out, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* For the parser's fuzz target and tests: the rules for one line.
 * columns: names of the first CSV line (NULL-terminated), NULL = NDJSON. The line is cut up in
 * place. Returns NULL and fills out and out_key (NULL or borrowed) with strings borrowed from
 * *out_object (owned), else what is wrong (owned). */
char *device_import_line(char *line, size_t len, char *const *columns, GHashTable *communes,
                         json_t **out_object, struct device_state *out, const char **out_key);
/* The column names of the first CSV line, owned strv; NULL with INVALID. */
char **device_import_columns(char *line, GError **error);

#endif
