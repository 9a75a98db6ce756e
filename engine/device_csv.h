/* One line of CSV (RFC 4180, but a field may not hold a line break). */
#ifndef LOA_ENGINE_DEVICE_CSV_H
#define LOA_ENGINE_DEVICE_CSV_H

#include <stddef.h>

/* Splits a NUL-terminated line in place into at most max fields; quotes are removed. Returns the
 * number of fields, or 0 with *out_why (static) when the quoting is wrong or there are too many. */
size_t device_csv_split(char *line, char **out_fields, size_t max, const char **out_why);

#endif
