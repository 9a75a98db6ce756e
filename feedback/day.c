/* Dates by GLib's GDate, everything else by plain arithmetic: Viet Nam has had one offset since
 * 1975, so neither a time zone database nor the machine's zone has a say in a legal deadline. */
#include "feedback/day.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"

#define JULIAN_1970 719163 /* GDate's number of 1970-01-01 */

int32_t day_from_date(int year, int month, int day)
{
    GDate date;

    assert(g_date_valid_dmy((GDateDay)day, (GDateMonth)month, (GDateYear)year));
    g_date_clear(&date, 1);
    g_date_set_dmy(&date, (GDateDay)day, (GDateMonth)month, (GDateYear)year);
    return (int32_t)g_date_get_julian(&date) - JULIAN_1970;
}

void day_to_date(int32_t day, int *out_year, int *out_month, int *out_day)
{
    GDate date;

    assert(day > -JULIAN_1970);
    g_date_clear(&date, 1);
    g_date_set_julian(&date, (guint32)(day + JULIAN_1970));
    *out_year = g_date_get_year(&date);
    *out_month = g_date_get_month(&date);
    *out_day = g_date_get_day(&date);
}

int day_year(int32_t day)
{
    int year, month, day_of_month;

    day_to_date(day, &year, &month, &day_of_month);
    return year;
}

int day_weekday(int32_t day)
{
    return ((day + 3) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
}

const char *day_weekday_name(int32_t day)
{
    static const char *const names[] = {"thứ Hai", "thứ Ba",  "thứ Tư",  "thứ Năm",
                                        "thứ Sáu", "thứ Bảy", "Chủ nhật"};

    return names[day_weekday(day)];
}

/* The number of exactly n digits at *at, which moves behind them; -1 when they are none. */
static int take_digits(const char **at, int n)
{
    int value = 0;

    for (int i = 0; i < n; i++, (*at)++) {
        if (!g_ascii_isdigit(**at))
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool take_date(const char **at, int32_t *out_day)
{
    int year = take_digits(at, 4);
    int month = year >= 0 && take_char(at, '-') ? take_digits(at, 2) : -1;
    int day = month >= 0 && take_char(at, '-') ? take_digits(at, 2) : -1;

    if (day < 1 || month < 1 || year < DAY_YEAR_MIN || year > DAY_YEAR_MAX ||
        !g_date_valid_dmy((GDateDay)day, (GDateMonth)month, (GDateYear)year))
        return false;
    *out_day = day_from_date(year, month, day);
    return true;
}

bool day_parse(const char *text, int32_t *out_day)
{
    int32_t day;

    if (!take_date(&text, &day) || *text != '\0')
        return false;
    *out_day = day;
    return true;
}

char *day_format(int32_t day)
{
    int year, month, day_of_month;

    day_to_date(day, &year, &month, &day_of_month);
    return g_strdup_printf("%04d-%02d-%02d", year, month, day_of_month);
}

char *day_format_vi(int32_t day)
{
    int year, month, day_of_month;

    day_to_date(day, &year, &month, &day_of_month);
    return g_strdup_printf("%02d/%02d/%04d", day_of_month, month, year);
}

/* "16:30" or "16:30:05", as seconds of the day; -1 when it is none. */
static int take_time(const char **at)
{
    int hour = take_digits(at, 2);
    int minute = hour >= 0 && take_char(at, ':') ? take_digits(at, 2) : -1;
    int second = minute >= 0 && take_char(at, ':') ? take_digits(at, 2) : 0;

    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return -1;
    return hour * 3600 + minute * 60 + second;
}

/* "", "Z" or "+07:00", as seconds east of UTC. */
static bool take_zone(const char **at, int *out_offset_s)
{
    int sign = **at == '-' ? -1 : 1;
    int hour, minute;

    *out_offset_s = DAY_UTC_OFFSET_S;
    if (**at == '\0')
        return true;
    if (take_char(at, 'Z') || take_char(at, 'z')) {
        *out_offset_s = 0;
        return true;
    }
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    hour = take_digits(at, 2);
    minute = hour >= 0 && take_char(at, ':') ? take_digits(at, 2) : -1;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return false;
    *out_offset_s = sign * (hour * 3600 + minute * 60);
    return true;
}

bool instant_parse(const char *text, int64_t *out_utc_us, bool *out_date_only)
{
    const char *at = text;
    int32_t day;
    int second, offset_s;

    if (!take_date(&at, &day))
        return false;
    if (*at == '\0') {
        *out_utc_us = instant_of(day, 0);
        *out_date_only = true;
        return true;
    }
    if (!take_char(&at, 'T') && !take_char(&at, 't') && !take_char(&at, ' '))
        return false;
    second = take_time(&at);
    if (second < 0 || !take_zone(&at, &offset_s) || *at != '\0')
        return false;
    *out_utc_us = day * DAY_US + (second - offset_s) * USEC_PER_SEC;
    *out_date_only = false;
    return true;
}

char *instant_format(int64_t utc_us)
{
    int64_t us_of_day;
    g_autofree char *date = day_format(instant_day(utc_us, &us_of_day));
    int second = (int)(us_of_day / USEC_PER_SEC);

    return g_strdup_printf("%sT%02d:%02d:%02d+07:00", date, second / 3600, second / 60 % 60,
                           second % 60);
}

int32_t instant_day(int64_t utc_us, int64_t *out_us_of_day)
{
    int64_t local = utc_us + DAY_UTC_OFFSET_S * USEC_PER_SEC;
    int64_t us_of_day = (local % DAY_US + DAY_US) % DAY_US;

    if (out_us_of_day != NULL)
        *out_us_of_day = us_of_day;
    return (int32_t)((local - us_of_day) / DAY_US);
}

int64_t instant_of(int32_t day, int64_t us_of_day)
{
    return day * DAY_US + us_of_day - DAY_UTC_OFFSET_S * USEC_PER_SEC;
}
