/* The rules of the calendar; the astronomy is in sun_moon.c.
 *
 * A month begins on the day of the new moon. The month that holds the winter solstice is the
 * eleventh. When thirteen months begin between two eleventh months, the first of them without a
 * major solar term (a multiple of 30° of the sun's longitude) repeats the number before it. */
#include "feedback/lunar.h"

#include <assert.h>
#include <math.h>

#include "feedback/sun_moon.h"

#define WINTER_SOLSTICE_SECTOR 9 /* 270° / 30° */
#define MONTH_DAYS             29.530588861

/* The sector of 30° in which the sun is when the day begins in Viet Nam. */
static int sector_at(int32_t day)
{
    return (int)(sun_longitude(instant_of(day, 0)) / 30.0) % 12;
}

/* The day in Viet Nam of the new moon number k. */
static int32_t new_moon_day(int k)
{
    return instant_day(new_moon_utc_us(k), NULL);
}

/* The number of the last new moon that falls on this day or before. */
static int new_moon_until(int32_t day)
{
    int k = (int)floor((day - NEW_MOON_0_DAY) / MONTH_DAYS) + 1;

    while (new_moon_day(k) > day)
        k--;
    return k;
}

/* The day on which the sun reaches 270°. */
static int32_t winter_solstice(int year)
{
    int32_t day = day_from_date(year, 12, 19);

    while (sector_at(day + 1) != WINTER_SOLSTICE_SECTOR)
        day++;
    return day;
}

/* No solar term falls into the month that begins with new moon k. */
static bool has_no_term(int k)
{
    return sector_at(new_moon_day(k)) == sector_at(new_moon_day(k + 1));
}

int32_t lunar_month_start(int year, int month)
{
    int eleventh = new_moon_until(winter_solstice(year - 1));
    int months = new_moon_until(winter_solstice(year)) - eleventh;
    int k = eleventh + month + 1; /* as if the year had no leap month */

    assert(month >= 1 && month <= 10 && year >= LUNAR_YEAR_MIN && year <= LUNAR_YEAR_MAX);
    for (int leap = eleventh + 1; months == 13 && leap <= k; leap++) {
        if (has_no_term(leap)) {
            k++;
            break;
        }
    }
    return new_moon_day(k);
}
