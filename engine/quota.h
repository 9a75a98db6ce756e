/* What this process may still send on a channel: sends leased from the provider's quota, which all
 * processes share (quota_lease in sql/), and the gate that a provider's Retry-After closes for all.
 * A lease lapses after a second, used or not: sql/ counts on that. What lapses unused is lost to
 * the others for a minute, so no more is asked for than was really sent a moment ago. */
#ifndef LOA_ENGINE_QUOTA_H
#define LOA_ENGINE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#define QUOTA_LEASE_US (1000 * 1000)
#define QUOTA_ASK_MIN  64   /* sends asked for at least: fewer would be a statement per push */
#define QUOTA_ASK_MAX  5000 /* at most */
#define QUOTA_LEASES   4    /* held at once */

struct quota_lease {
    int64_t n; /* sends not yet used */
    int64_t until_us;
    bool emergency; /* leased for an emergency: for nothing else */
};

struct quota {
    int64_t per_minute; /* 0 = no limit */
    int64_t reserve;    /* part of per_minute for emergencies */
    struct quota_lease leases[QUOTA_LEASES];
    bool asking;              /* a lease is asked for */
    int64_t ask_again_us[2];  /* by emergency: after an answer of 0, not before */
    int64_t gate_until_us;    /* nothing leaves before */
    int64_t period_us;        /* when the present quarter of a second began */
    int64_t period_n, last_n; /* sends in it, and in the one before */
};

void quota_init(struct quota *quota, int64_t per_minute, unsigned reserve_percent);
/* How many sends are allowed now; times are monotonic. */
int64_t quota_room(const struct quota *quota, bool emergency, int64_t mono_us);
/* Uses n of what quota_room has just allowed. */
void quota_take(struct quota *quota, int64_t n, bool emergency, int64_t mono_us);
/* How many to lease now for who could send n more at once; 0 = nothing to ask: enough is in hand,
 * an answer is on its way, or the last one was 0 a moment ago. Marks it as asking. */
int64_t quota_ask(struct quota *quota, int64_t n, bool emergency, int64_t mono_us);
/* The answer to quota_ask, asked at asked_mono_us: granted ≥ 0, or -1 when it failed. */
void quota_granted(struct quota *quota, int64_t granted, bool emergency, int64_t asked_mono_us,
                   int64_t mono_us);
/* Nothing may leave before until_mono_us; an earlier end than the known one changes nothing.
 * Returns whether the others should hear of it: it ends noticeably later than was known. */
bool quota_gate(struct quota *quota, int64_t until_mono_us);

#endif
