/* The Vietnamese lunisolar calendar, as far as public holidays need it: on which day a lunar month
 * begins. It is the calendar of new moons and solar terms by the clock of Viet Nam (UTC+7), which
 * is why Tết may fall a day, or a month, before the Chinese New Year (2007, 2030; 1985). Pure. */
#ifndef LOA_FEEDBACK_LUNAR_H
#define LOA_FEEDBACK_LUNAR_H

#include <stdint.h>

#include "feedback/day.h"

/* Since Viet Nam's calendar has followed UTC+7; until ΔT is a guess. */
#define LUNAR_YEAR_MIN 1968
#define LUNAR_YEAR_MAX 2100

/* The first day of a lunar month (1 … 10; never the leap month of the same number) of the lunar
 * year that begins in the given year. */
int32_t lunar_month_start(int year, int month);

#endif
