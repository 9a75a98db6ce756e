/* Days and instants of Viet Nam (UTC+7 all year), as numbers: a day counts from 1970-01-01, a
 * weekday from Monday = 0. Pure; no time zone data is read. */
#ifndef LOA_FEEDBACK_DAY_H
#define LOA_FEEDBACK_DAY_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define DAY_UTC_OFFSET_S 25200
#define DAY_US           INT64_C(86400000000)
/* What the calendar knows: lunar dates are sure in these years. */
#define DAY_YEAR_MIN 2000
#define DAY_YEAR_MAX 2099
#define DAY_SATURDAY 5
#define DAY_SUNDAY   6

/* A date that exists (asserted). */
int32_t day_from_date(int year, int month, int day);
void day_to_date(int32_t day, int *out_year, int *out_month, int *out_day);
int day_year(int32_t day);
/* 0 Monday … 6 Sunday. */
int day_weekday(int32_t day);
/* "thứ Hai" … "Chủ nhật"; static. */
const char *day_weekday_name(int32_t day);

/* "2026-02-17", a date that exists in DAY_YEAR_MIN … DAY_YEAR_MAX; nothing else. */
bool day_parse(const char *text, int32_t *out_day);
/* "2026-02-17". Owned. */
char *day_format(int32_t day);
/* "17/02/2026", as people in Viet Nam write it. Owned. */
char *day_format_vi(int32_t day);

/* RFC 3339, the seconds may be missing, and the zone, which then is Viet Nam's:
 * "2025-10-03T16:30+07:00", "2025-10-03T09:30:00Z", "2025-10-03T16:30". A date alone is 00:00 in
 * Viet Nam and sets out_date_only. The years are those of day_parse. */
bool instant_parse(const char *text, int64_t *out_utc_us, bool *out_date_only);
/* "2025-10-06T16:30:00+07:00". Owned. */
char *instant_format(int64_t utc_us);

/* The day in Viet Nam on which an instant falls, and the microseconds since its 00:00. */
int32_t instant_day(int64_t utc_us, int64_t *out_us_of_day);
/* us_of_day may be a whole day: 24:00 is 00:00 of the next. */
int64_t instant_of(int32_t day, int64_t us_of_day);

#endif
