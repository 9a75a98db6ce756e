/* A ring of 60 one-second counters and their sum. */
#include "engine/quota.h"

#include <string.h>

#include "base/clock.h"

void quota_init(struct quota *quota, int64_t per_minute, unsigned reserve_percent)
{
    memset(quota, 0, sizeof(*quota));
    quota_share(quota, per_minute, reserve_percent);
}

void quota_share(struct quota *quota, int64_t per_minute, unsigned reserve_percent)
{
    quota->per_minute = per_minute;
    quota->reserve = per_minute * (int64_t)reserve_percent / 100;
}

static void advance(struct quota *quota, int64_t second)
{
    if (second - quota->second >= QUOTA_SLOTS) {
        memset(quota->used, 0, sizeof(quota->used));
        quota->used_sum = 0;
        quota->second = second;
    }
    while (quota->second < second) {
        quota->second++;
        int64_t *slot = &quota->used[quota->second % QUOTA_SLOTS];
        quota->used_sum -= *slot;
        *slot = 0;
    }
}

int64_t quota_room(struct quota *quota, bool emergency, int64_t mono_us)
{
    int64_t room;

    if (mono_us < quota->gate_until_us)
        return 0;
    if (quota->per_minute == 0)
        return INT64_MAX;
    advance(quota, mono_us / USEC_PER_SEC);
    if (emergency)
        return quota->used_sum < quota->per_minute ? quota->per_minute - quota->used_sum : 0;
    room = quota->per_minute - quota->reserve - quota->used_sum;
    /* Spread: a second gets its sixtieth, rounded up. */
    int64_t second_room = (quota->per_minute - quota->reserve + QUOTA_SLOTS - 1) / QUOTA_SLOTS -
                          quota->used[quota->second % QUOTA_SLOTS];
    if (second_room < room)
        room = second_room;
    return room > 0 ? room : 0;
}

void quota_take(struct quota *quota, int64_t n)
{
    quota->used[quota->second % QUOTA_SLOTS] += n;
    quota->used_sum += n;
}

void quota_gate(struct quota *quota, int64_t until_mono_us)
{
    if (until_mono_us > quota->gate_until_us)
        quota->gate_until_us = until_mono_us;
}
