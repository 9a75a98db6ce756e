/* The list of communes as a file: etc/areas.csv. */
#ifndef LOA_ENGINE_AREA_CSV_H
#define LOA_ENGINE_AREA_CSV_H

#include <stddef.h>

#include <glib.h>

#include "base/auto.h"

#define AREA_FILE_BYTES_MAX (1u << 20)
#define AREA_ROWS_MAX       20000 /* the whole country has about 3,300 */

struct area_list {
    GPtrArray *codes; /* char *, five digits, each once */
    GPtrArray *names; /* char *, in NFC */
};

/* Reads "code,name,kind" lines (kind: xa, phuong or dac_khu) under that header; a byte-order mark
 * and CRLF are let pass, because spreadsheets write them. INVALID lists the bad lines with their
 * numbers and reasons; nothing is taken of a file with one. Owned. */
struct area_list *area_csv_parse(const char *text, size_t len, GError **error);
void area_list_free(struct area_list *list);
LOA_AUTO_DEFINE(area_list, area_list_free)

#endif
