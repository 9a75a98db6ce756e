/* lib: loa_feedback */
/* Times as people type them: what is understood is written back as the same instant. */
#include <stdint.h>
#include <stdlib.h>

#include "feedback/day.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    int64_t utc_us, again_us;
    bool date_only;

    if (!instant_parse(text, &utc_us, &date_only))
        return 0;
    g_autofree char *formatted = instant_format(utc_us);
    int32_t day = instant_day(utc_us, NULL);
    if (day < day_from_date(DAY_YEAR_MIN, 1, 1) || day > day_from_date(DAY_YEAR_MAX, 12, 31))
        return 0; /* another zone's edge of the range */
    if (!instant_parse(formatted, &again_us, &date_only) || again_us != utc_us || date_only)
        abort();
    return 0;
}
