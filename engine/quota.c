/* See the header. */
#include "engine/quota.h"

#include <string.h>

#include <glib.h>

#include "base/clock.h"

#define ASK_AGAIN_US   (100 * USEC_PER_MSEC)
#define GATE_NOTICE_US (250 * USEC_PER_MSEC)

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

    for (int i = 0; i < 2; i++)
        if (usable(&quota->hand[i], emergency, mono_us))
            sum += quota->hand[i].n;
    return sum;
}

int64_t quota_room(const struct quota *quota, bool emergency, int64_t mono_us)
{
    if (mono_us < quota->gate_until_us)
        return 0;
    return quota->per_minute == 0 ? INT64_MAX : in_hand(quota, emergency, mono_us);
}

void quota_take(struct quota *quota, int64_t n, bool emergency, int64_t mono_us)
{
    for (int i = 0; i < 2 && quota->per_minute > 0; i++) {
        struct quota_lease *lease = &quota->hand[i];
        int64_t part = usable(lease, emergency, mono_us) ? MIN(n, lease->n) : 0;
        lease->n -= part;
        n -= part;
    }
}

int64_t quota_ask(struct quota *quota, int64_t n, bool emergency, int64_t mono_us)
{
    int64_t most = emergency ? QUOTA_ASK_URGENT : QUOTA_ASK_MAX;

    if (quota->per_minute == 0 || quota->asking || n <= 0 || mono_us < quota->gate_until_us ||
        mono_us < quota->ask_again_us)
        return 0;
    if (n > most)
        n = most;
    if (2 * in_hand(quota, emergency, mono_us) >=
        n) /* asks in time, so that the pipe never drains */
        return 0;
    quota->asking = true;
    return n < QUOTA_ASK_MIN ? QUOTA_ASK_MIN : n;
}

void quota_granted(struct quota *quota, int64_t granted, bool emergency, int64_t asked_mono_us,
                   int64_t mono_us)
{
    quota->asking = false;
    if (granted <= 0) {
        quota->ask_again_us = mono_us + ASK_AGAIN_US;
        return;
    }
    if (!usable(&quota->hand[0], true, mono_us)) {
        quota->hand[0] = quota->hand[1];
        quota->hand[1].n = 0;
    }
    quota->hand[usable(&quota->hand[0], true, mono_us) ? 1 : 0] =
        (struct quota_lease){granted, asked_mono_us + QUOTA_LEASE_US, emergency};
}

bool quota_gate(struct quota *quota, int64_t until_mono_us)
{
    bool news = until_mono_us > quota->gate_until_us + GATE_NOTICE_US;

    if (until_mono_us > quota->gate_until_us)
        quota->gate_until_us = until_mono_us;
    return news;
}
