/* Reads line by line into one bounded buffer, checks each line, hands the good ones to COPY, then
 * merges. Everything is one transaction: a bad line (unless skipped), a lost connection or Ctrl-C
 * leaves the registry as it was. */
#include "engine/device_import.h"

#include <string.h>

#include "base/crypto.h"
#include "base/error.h"
#include "engine/device_import_store.h"
#include "engine/device_store.h"

#define COPY_BUFFER     65536
#define PROGRESS_LINES  5000
#define KEY_HASH_PREFIX "loa-import-v1:" /* an import key never opens a registration over HTTP */

struct import {
    struct db *db;
    FILE *in;
    const struct device_import_options *options;
    struct device_import_counts *counts;
    GHashTable *communes;
    char **columns; /* NULL: NDJSON */
    GString *rows;  /* for COPY, flushed beyond COPY_BUFFER */
    uint64_t line;  /* number of the line read last */
    uint64_t bytes;
    char text[DEVICE_IMPORT_LINE_MAX + 1];
    size_t len;
};

enum read { READ_LINE, READ_TOO_LONG, READ_END };

/* The next line without its end (LF or CRLF), NUL-terminated. */
static enum read read_line(struct import *import)
{
    bool too_long = false;
    int c;

    import->len = 0;
    for (c = getc_unlocked(import->in); c != EOF && c != '\n'; c = getc_unlocked(import->in)) {
        import->bytes++;
        if (import->len < DEVICE_IMPORT_LINE_MAX)
            import->text[import->len++] = (char)c;
        else
            too_long = true;
    }
    if (c == EOF && import->len == 0)
        return READ_END;
    import->bytes++;
    import->line++;
    if (import->len > 0 && import->text[import->len - 1] == '\r')
        import->len--;
    import->text[import->len] = '\0';
    return too_long ? READ_TOO_LONG : READ_LINE;
}

static bool flush_rows(struct import *import, size_t beyond, GError **error)
{
    if (import->rows->len <= beyond)
        return true;
    if (!db_copy_put(import->db, import->rows->str, import->rows->len, error))
        return false;
    g_string_truncate(import->rows, 0);
    return true;
}

static void hash_key(const char *key, uint8_t out[SHA256_LEN])
{
    char text[sizeof(KEY_HASH_PREFIX) + DEVICE_KEY_MAX];
    int len = g_snprintf(text, sizeof(text), KEY_HASH_PREFIX "%s", key);

    crypto_sha256(text, (size_t)len, out);
}

static void bad_line(struct import *import, const char *reason)
{
    import->counts->bad++;
    if (import->options->on_bad != NULL)
        import->options->on_bad(import->line, reason, import->options->user);
}

static void take_line(struct import *import)
{
    g_autoptr(json_t) object = NULL;
    struct device_state state;
    const char *key = NULL;
    uint8_t hash[SHA256_LEN];
    g_autofree char *why = device_import_line(import->text, import->len, import->columns,
                                              import->communes, &object, &state, &key);

    if (why != NULL) {
        bad_line(import, why);
        return;
    }
    if (key != NULL)
        hash_key(key, hash);
    device_import_stage_row(import->rows, import->line, key != NULL ? hash : NULL, &state);
}

static bool read_devices(struct import *import, GError **error)
{
    enum read read;

    while ((read = read_line(import)) != READ_END) {
        if (read == READ_LINE && import->len == 0)
            continue; /* an empty line at the end is no device */
        import->counts->lines++;
        if (read == READ_TOO_LONG)
            bad_line(import, "is longer than 8192 bytes");
        else
            take_line(import);
        if (!flush_rows(import, COPY_BUFFER, error))
            return false;
        if (import->options->on_progress != NULL && import->counts->lines % PROGRESS_LINES == 0)
            import->options->on_progress(import->counts->lines, import->bytes, NULL,
                                         import->options->user);
    }
    if (ferror(import->in)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "the file cannot be read to its end");
        return false;
    }
    return flush_rows(import, 0, error);
}

/* Settles the format and reads the CSV's first line. Skips a byte order mark. */
static bool read_head(struct import *import, GError **error)
{
    int first = getc_unlocked(import->in);

    if (first == 0xEF && getc_unlocked(import->in) == 0xBB && getc_unlocked(import->in) == 0xBF)
        first = getc_unlocked(import->in);
    if (first != EOF)
        ungetc(first, import->in);
    if (import->options->format == DEVICE_IMPORT_NDJSON ||
        (import->options->format == DEVICE_IMPORT_AUTO && first == '{'))
        return true;
    if (read_line(import) != READ_LINE) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "the file is empty, or its first line too long: it must name the columns");
        return false;
    }
    import->columns = device_import_columns(import->text, error);
    return import->columns != NULL;
}

static bool import_all(struct import *import, GError **error)
{
    struct device_import_counts *counts = import->counts;

    if (!device_import_stage_begin(import->db, error) || !read_devices(import, error) ||
        !db_copy_end(import->db, error))
        return false;
    if (counts->bad > 0 && !import->options->skip_bad) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " lines are bad; nothing was imported (--skip-bad imports the others)",
                    counts->bad, counts->lines);
        return false;
    }
    return device_import_merge(import->db, import->options, counts, error) &&
           (import->options->secrets_key == NULL ||
            device_import_secrets(import->db, import->options, error));
}

bool device_import(struct db *db, FILE *in, const struct device_import_options *options,
                   struct device_import_counts *out, GError **error)
{
    struct import *import = g_new0(struct import, 1);
    bool ok;

    memset(out, 0, sizeof(*out));
    import->db = db;
    import->in = in;
    import->options = options;
    import->counts = out;
    import->rows = g_string_sized_new(COPY_BUFFER + DEVICE_IMPORT_LINE_MAX);
    import->communes = device_communes_load(db, error);
    ok = import->communes != NULL && read_head(import, error) && db_begin(db, error);
    if (ok) {
        ok = import_all(import, error) && db_commit(db, error);
        if (!ok)
            db_rollback(db);
    }
    if (!ok)
        out->added = out->updated = out->moved = 0;
    if (import->communes != NULL)
        g_hash_table_unref(import->communes);
    g_strfreev(import->columns);
    g_string_free(import->rows, TRUE);
    g_free(import);
    return ok;
}
