/* The provider's quota as this process's share of a sliding minute: whatever the provider's own
 * minute is aligned to, no 60 seconds ever hold more than the quota. A reserve is kept that only an
 * emergency may use; everything else is spread evenly over the minute. */
#ifndef LOA_ENGINE_QUOTA_H
#define LOA_ENGINE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#define QUOTA_SLOTS 60

struct quota {
    int64_t per_minute;        /* 0 = no limit */
    int64_t reserve;           /* part of per_minute for emergencies */
    int64_t used[QUOTA_SLOTS]; /* per second of the last minute */
    int64_t used_sum;
    int64_t second;        /* the monotonic second of the newest slot */
    int64_t gate_until_us; /* monotonic; the provider said Retry-After */
};

void quota_init(struct quota *quota, int64_t per_minute, unsigned reserve_percent);
/* A new share of the quota (processes came or went); what was used stays used. */
void quota_share(struct quota *quota, int64_t per_minute, unsigned reserve_percent);
/* How many sends are allowed now. */
int64_t quota_room(struct quota *quota, bool emergency, int64_t mono_us);
void quota_take(struct quota *quota, int64_t n);
/* Nothing may leave before mono_us + wait_us. */
void quota_gate(struct quota *quota, int64_t until_mono_us);

#endif
