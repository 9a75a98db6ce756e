/* See the header. */
#include "engine/quota.h"

#include <string.h>

#include <glib.h>

#include "base/clock.h"

#define ASK_AGAIN_US   (100 * USEC_PER_MSEC)
#define GATE_NOTICE_US (250 * USEC_PER_MSEC)
#define PERIOD_US      (250 * USEC_PER_MSEC)

void quota_init(struct quota *quota, int64_t per_minute, unsigned reserve_percent)
{
    memset(quota, 0, sizeof(*quota));
    quota->per_minute = per_minute;
    quota->reserve = per_minute * (int64_t)reserve_percent / 100;
}

static bool usable(const struct quota_lease *lease, bool emergency, int64_t mono_us)
{
    return lease->n > 0 && mono_us < lease->until_us && (emergency || !lease->emergency);
}

static int64_t in_hand(const struct quota *quota, bool emergency, int64_t mono_us)
{
    int64_t sum = 0;

    for (int i = 0; i < QUOTA_LEASES; i++)
        if (usable(&quota->leases[i], emergency, mono_us))
            sum += quota->leases[i].n;
    return sum;
}

int64_t quota_room(const struct quota *quota, bool emergency, int64_t mono_us)
{
    if (mono_us < quota->gate_until_us)
        return 0;
    return quota->per_minute == 0 ? INT64_MAX : in_hand(quota, emergency, mono_us);
}

static void advance_period(struct quota *quota, int64_t mono_us)
{
    if (mono_us - quota->period_us < PERIOD_US)
        return;
    quota->last_n = mono_us - quota->period_us < 2 * PERIOD_US ? quota->period_n : 0;
    quota->period_n = 0;
    quota->period_us = mono_us;
}

/* The usable lease that ends first. */
static struct quota_lease *next_lease(struct quota *quota, bool emergency, int64_t mono_us)
{
    struct quota_lease *next = NULL;

    for (int i = 0; i < QUOTA_LEASES; i++) {
        struct quota_lease *lease = &quota->leases[i];
        if (usable(lease, emergency, mono_us) && (next == NULL || lease->until_us < next->until_us))
            next = lease;
    }
    return next;
}

void quota_take(struct quota *quota, int64_t n, bool emergency, int64_t mono_us)
{
    struct quota_lease *lease;

    if (quota->per_minute == 0)
        return;
    advance_period(quota, mono_us);
    quota->period_n += n;
    while (n > 0 && (lease = next_lease(quota, emergency, mono_us)) != NULL) {
        int64_t part = MIN(n, lease->n);
        lease->n -= part;
        n -= part;
    }
}

int64_t quota_ask(struct quota *quota, int64_t n, bool emergency, int64_t mono_us)
{
    int64_t recent;

    if (quota->per_minute == 0 || quota->asking || n <= 0 || mono_us < quota->gate_until_us ||
        mono_us < quota->ask_again_us[emergency])
        return 0;
    advance_period(quota, mono_us);
    recent = CLAMP(MAX(quota->last_n, quota->period_n), QUOTA_ASK_MIN, QUOTA_ASK_MAX);
    if (2 * in_hand(quota, emergency, mono_us) >=
        recent) /* in time, so that the pipe never drains */
        return 0;
    quota->asking = true;
    return recent;
}

void quota_granted(struct quota *quota, int64_t granted, bool emergency, int64_t asked_mono_us,
                   int64_t mono_us)
{
    struct quota_lease *place = &quota->leases[0];

    quota->asking = false;
    if (granted <= 0) {
        quota->ask_again_us[emergency] = mono_us + ASK_AGAIN_US;
        return;
    }
    for (int i = 0; i < QUOTA_LEASES; i++) { /* a free place, else the one with least to lose */
        struct quota_lease *lease = &quota->leases[i];
        if (!usable(lease, true, mono_us)) {
            place = lease;
            break;
        }
        if (lease->n < place->n)
            place = lease;
    }
    *place = (struct quota_lease){granted, asked_mono_us + QUOTA_LEASE_US, emergency};
}

bool quota_gate(struct quota *quota, int64_t until_mono_us)
{
    bool news = until_mono_us > quota->gate_until_us + GATE_NOTICE_US;

    if (until_mono_us > quota->gate_until_us)
        quota->gate_until_us = until_mono_us;
    return news;
}
