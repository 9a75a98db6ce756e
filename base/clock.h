/* Time as an argument: every module reads the clock it was given, so a test can hold it still. */
#ifndef LOA_BASE_CLOCK_H
#define LOA_BASE_CLOCK_H

#include <stdint.h>

#define USEC_PER_SEC  INT64_C(1000000)
#define USEC_PER_MSEC INT64_C(1000)

struct clock {
    int64_t (*utc_us)(const struct clock *clock); /* microseconds since 1970-01-01 UTC */
    int64_t (*mono_us)(
        const struct clock *clock); /* monotonic microseconds, for waits and leases */
};

/* The machine's clock; static, thread safe. The environment variable LOA_CLOCK_OFFSET_S shifts
 * its UTC (never its monotonic part): for rehearsing a wrong clock. */
const struct clock *clock_system(void);

/* A clock that stands still until told. Embed, init, pass &fake.clock. */
struct clock_fake {
    struct clock clock;
    int64_t utc_us;
    int64_t mono_us;
};
void clock_fake_init(struct clock_fake *fake, int64_t utc_us);
void clock_fake_advance(struct clock_fake *fake, int64_t delta_us);

#endif
