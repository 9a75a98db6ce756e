/* A strict reader of small tables that people keep in a text editor or a spreadsheet: a header
 * line, fields between commas without quoting, lines that begin with '#' and empty lines are
 * skipped. */
#ifndef LOA_FEEDBACK_CSV_H
#define LOA_FEEDBACK_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#define CSV_FILE_BYTES_MAX  (1u << 18)
#define CSV_ROWS_MAX        1000
#define CSV_FIELD_BYTES_MAX 200
#define CSV_VERSION_LEN     16

struct csv_reader;

/* One row: as many fields as the header has, trimmed, printable UTF-8 in NFC, none with a comma or
 * a quote in it. Borrowed for the call. The callback reports what is wrong with csv_fault. */
typedef void (*csv_row_fn)(struct csv_reader *reader, char **fields, void *user);

/* A fault of the line being read, or, in a check after reading, of the line named. */
void csv_fault(struct csv_reader *reader, unsigned line, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* The number of the line being read. */
unsigned csv_line(const struct csv_reader *reader);

/* Calls row for each row and then, when there was no fault, check (may be NULL) once. header: the
 * first line, exactly. INVALID lists the faults (at most 20) with their lines. out_version: the
 * first 16 hexadecimal digits of the SHA-256 of the rows, so that a comment or a blank changes no
 * version. A byte-order mark and CRLF are let pass. */
bool csv_read(const char *text, size_t len, const char *header, csv_row_fn row,
              void (*check)(struct csv_reader *reader, void *user), void *user,
              char out_version[CSV_VERSION_LEN + 1], GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
