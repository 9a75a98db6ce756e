/* Lines into fields. The version is that of the content: the rows as they were understood. */
#include "feedback/csv.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "base/crypto.h"
#include "base/error.h"

#define FAULTS_MAX 20

struct csv_reader {
    const char *header;
    guint columns;
    csv_row_fn row;
    void *user;
    GString *canonical; /* what the version is the hash of */
    GString *faults;
    unsigned fault_count, line, rows;
    bool header_seen;
};

void csv_fault(struct csv_reader *r, unsigned line, const char *format, ...)
{
    va_list args;

    if (++r->fault_count > FAULTS_MAX)
        return;
    g_string_append_printf(r->faults, "\nline %u: ", line);
    va_start(args, format);
    g_string_append_vprintf(r->faults, format, args);
    va_end(args);
}

unsigned csv_line(const struct csv_reader *r)
{
    return r->line;
}

static bool is_text(const char *text)
{
    if (strlen(text) > CSV_FIELD_BYTES_MAX || strchr(text, '"') != NULL ||
        !g_utf8_validate(text, -1, NULL))
        return false;
    for (const char *c = text; *c != '\0'; c = g_utf8_next_char(c))
        if (!g_unichar_isprint(g_utf8_get_char(c)))
            return false;
    return true;
}

static void take_row(struct csv_reader *r, const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, ",", (gint)r->columns + 1);
    g_autofree char *joined = NULL;

    if (g_strv_length(fields) != r->columns) {
        csv_fault(r, r->line, "must have the %u fields %s (no comma inside a field)", r->columns,
                  r->header);
        return;
    }
    for (char **field = fields; *field != NULL; field++) {
        char *plain = g_strstrip(*field);
        if (!is_text(plain)) {
            csv_fault(r, r->line, "a field must be at most %u bytes of printable UTF-8, no quote",
                      CSV_FIELD_BYTES_MAX);
            return;
        }
        char *composed = g_utf8_normalize(plain, -1, G_NORMALIZE_NFC);
        g_free(*field);
        *field = composed;
    }
    if (++r->rows > CSV_ROWS_MAX) {
        csv_fault(r, r->line, "too many rows (at most %u)", CSV_ROWS_MAX);
        return;
    }
    joined = g_strjoinv(",", fields);
    g_string_append_printf(r->canonical, "%s\n", joined);
    r->row(r, fields, r->user);
}

static void take_line(struct csv_reader *r, const char *line)
{
    if (line[0] == '\0' || line[0] == '#')
        return;
    if (r->header_seen) {
        take_row(r, line);
        return;
    }
    r->header_seen = true;
    if (strcmp(line, r->header) != 0)
        csv_fault(r, r->line, "the first row must be %s", r->header);
}

static void take_lines(struct csv_reader *r, const char *text, size_t len)
{
    const char *end = text + len;

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (text < end && r->fault_count <= FAULTS_MAX) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *next = stop == NULL ? end : stop + 1;
        g_autofree char *line = g_strndup(text, (size_t)((stop == NULL ? end : stop) - text));

        r->line++;
        take_line(r, g_strchomp(line));
        text = next;
    }
    if (r->rows == 0 && r->fault_count == 0)
        csv_fault(r, r->line, "the file has no rows");
}

static void write_version(const GString *canonical, char out[CSV_VERSION_LEN + 1])
{
    uint8_t hash[SHA256_LEN];

    crypto_sha256(canonical->str, canonical->len, hash);
    for (int i = 0; i < CSV_VERSION_LEN / 2; i++)
        g_snprintf(out + (ptrdiff_t)2 * i, 3, "%02x", hash[i]);
}

bool csv_read(const char *text, size_t len, const char *header, csv_row_fn row,
              void (*check)(struct csv_reader *reader, void *user), void *user,
              char out_version[CSV_VERSION_LEN + 1], GError **error)
{
    g_autoptr(GString) canonical = g_string_new(NULL);
    g_autoptr(GString) faults = g_string_new(NULL);
    g_auto(GStrv) columns = g_strsplit(header, ",", 0);
    struct csv_reader r = {.header = header,
                           .columns = g_strv_length(columns),
                           .row = row,
                           .user = user,
                           .canonical = canonical,
                           .faults = faults};

    if (len > CSV_FILE_BYTES_MAX || memchr(text, '\0', len) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "not a text of at most %u bytes",
                    CSV_FILE_BYTES_MAX);
        return false;
    }
    take_lines(&r, text, len);
    if (r.fault_count == 0 && check != NULL)
        check(&r, user);
    if (r.fault_count > 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%u faults, nothing was taken:%s",
                    r.fault_count, faults->str);
        return false;
    }
    write_version(canonical, out_version);
    return true;
}
