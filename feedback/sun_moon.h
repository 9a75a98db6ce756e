/* Where the sun stands and when the moon is new. Pure; good for 1968 … 2100. */
#ifndef LOA_FEEDBACK_SUN_MOON_H
#define LOA_FEEDBACK_SUN_MOON_H

#include <stdint.h>

/* New moon number 0 is that of 2000-01-06 (day 10962 since 1970). */
#define NEW_MOON_0_DAY 10962

/* The instant of new moon number k, within a minute. */
int64_t new_moon_utc_us(int k);

/* Apparent geocentric longitude of the sun, 0 ≤ degrees < 360, within 3 seconds of arc (a minute
 * of time). */
double sun_longitude(int64_t utc_us);

#endif
