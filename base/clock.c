/* The two clocks: the machine's and one that a test moves by hand. */
#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <glib.h>

/* A rehearsal may be off by a century, not by more: the sum stays far from overflow. */
#define OFFSET_MAX_S (INT64_C(100) * 366 * 86400)

static int64_t offset_us;
static pthread_once_t offset_once = PTHREAD_ONCE_INIT;

static void offset_read(void)
{
    const char *text = getenv("LOA_CLOCK_OFFSET_S");
    gint64 seconds = 0;
    if (text != NULL &&
        g_ascii_string_to_signed(text, 10, -OFFSET_MAX_S, OFFSET_MAX_S, &seconds, NULL))
        offset_us = seconds * USEC_PER_SEC;
}

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    assert(rc == 0);
    (void)rc;
    return (int64_t)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

static int64_t system_utc_us(const struct clock *clock)
{
    (void)clock;
    pthread_once(&offset_once, offset_read);
    return read_us(CLOCK_REALTIME) + offset_us;
}

static int64_t system_mono_us(const struct clock *clock)
{
    (void)clock;
    return read_us(CLOCK_MONOTONIC);
}

const struct clock *clock_system(void)
{
    static const struct clock machine = {.utc_us = system_utc_us, .mono_us = system_mono_us};
    return &machine;
}

static int64_t fake_utc_us(const struct clock *clock)
{
    return ((const struct clock_fake *)clock)->utc_us;
}

static int64_t fake_mono_us(const struct clock *clock)
{
    return ((const struct clock_fake *)clock)->mono_us;
}

void clock_fake_init(struct clock_fake *fake, int64_t utc_us)
{
    *fake = (struct clock_fake){
        .clock = {.utc_us = fake_utc_us, .mono_us = fake_mono_us},
        .utc_us = utc_us,
        .mono_us = USEC_PER_SEC, /* never 0, so that "0 = never" stays distinguishable */
    };
}

void clock_fake_advance(struct clock_fake *fake, int64_t delta_us)
{
    assert(delta_us >= 0);
    fake->utc_us += delta_us;
    fake->mono_us += delta_us;
}
