/* Fields are written back over the line they come from: they only get shorter. */
#include "engine/device_csv.h"

/* Reads one quoted field; *at stands behind its first quote. NULL: no closing quote. */
static char *quoted(char **at)
{
    char *start = *at;
    char *out = start;

    for (char *in = start; *in != '\0'; in++) {
        if (*in != '"') {
            *out++ = *in;
        } else if (in[1] == '"') {
            *out++ = *in++;
        } else {
            *at = in + 1; /* before *out = NUL, which may overwrite it */
            if (out != *at)
                *out = '\0';
            return start;
        }
    }
    return NULL;
}

size_t device_csv_split(char *line, char **out_fields, size_t max, const char **out_why)
{
    char *at = line;
    size_t n = 0;

    for (;;) {
        char *field = at;
        if (n == max) {
            *out_why = "has more fields than the first line names";
            return 0;
        }
        if (*at == '"') {
            at++;
            field = quoted(&at);
            if (field == NULL || (*at != ',' && *at != '\0')) {
                *out_why = "has a quote that is not closed, or text after the closing one";
                return 0;
            }
        } else {
            while (*at != ',' && *at != '\0' && *at != '"')
                at++;
            if (*at == '"') {
                *out_why = "has a quote inside a field that does not begin with one";
                return 0;
            }
        }
        out_fields[n++] = field;
        if (*at == '\0')
            return n;
        *at++ = '\0';
    }
}
