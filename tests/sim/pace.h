/* When the sequence number was how high: so that a measurement can tell what arrived after an
 * instant that it knows from elsewhere, such as a commit in Loa's database. */
#ifndef LOA_SIM_PACE_H
#define LOA_SIM_PACE_H

#include <stdint.h>

#include <glib.h>

#define PACE_STEP_US 200     /* resolution */
#define PACE_MAX     2000000 /* steps kept: the newest; 200 s of an unbroken rush and more */

struct pace {
    GArray *steps; /* struct pace_step, ascending */
};

void pace_init(struct pace *pace);
void pace_clear(struct pace *pace);
/* seq has arrived at now_us (UTC). */
void pace_note(struct pace *pace, int64_t now_us, uint64_t seq);
/* The last sequence number that had arrived by then, up to PACE_STEP_US too low; 0 = none. */
uint64_t pace_at(const struct pace *pace, int64_t utc_us);

#endif
