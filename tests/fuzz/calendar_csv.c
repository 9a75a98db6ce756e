/* lib: loa_feedback */
/* The legal calendar: of a file that is taken, every day can be asked for and has one meaning. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "feedback/calendar.h"
#include "feedback/csv.h"
#include "feedback/day.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_day(const struct calendar *calendar, int32_t day)
{
    g_autoptr(GError) error = NULL;
    struct calendar_day info;

    if (!calendar_day_at(calendar, day, &info, &error)) {
        if (error == NULL)
            abort();
        return;
    }
    bool works = info.kind == CALENDAR_WORK || info.kind == CALENDAR_SWAP_WORK;
    bool ordinary = info.kind == CALENDAR_WORK || info.kind == CALENDAR_WEEKLY_REST;
    if (works != (info.n_spans > 0) || info.n_spans > CALENDAR_SPANS_MAX ||
        ordinary != (info.name == NULL) || (info.name == NULL) != (info.document == NULL))
        abort();
    for (size_t i = 0, before = 0; i < info.n_spans; i++) {
        if (info.spans[i].from_min < (int)before || info.spans[i].to_min <= info.spans[i].from_min)
            abort();
        before = (size_t)info.spans[i].to_min;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    loa_auto(calendar) calendar = calendar_parse((const char *)data, size, &error);

    if ((calendar == NULL) != (error != NULL))
        abort();
    if (calendar == NULL)
        return 0;
    if (strlen(calendar_version(calendar)) != CSV_VERSION_LEN)
        abort();
    for (int32_t day = day_from_date(2025, 1, 1); day <= day_from_date(2028, 12, 31); day++)
        check_day(calendar, day);
    g_free(calendar_missing_official(calendar, day_from_date(2026, 12, 2)));
    return 0;
}
