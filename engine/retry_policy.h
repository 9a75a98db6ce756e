/* What happens to a device after one attempt: a pure function of the verdict and the rules of the
 * providers (Google "Send at scale"; Apple "Handling notification responses"). */
#ifndef LOA_ENGINE_RETRY_POLICY_H
#define LOA_ENGINE_RETRY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/channel.h"
#include "engine/outcome.h"

enum retry_step {
    RETRY_STEP_SETTLE,  /* final: outcome says how */
    RETRY_STEP_AT_ONCE, /* send again now, on another connection when there is one */
    RETRY_STEP_LATER,   /* to fanout_retry until next_utc_us */
};

struct retry_input {
    struct verdict verdict;
    bool emergency;
    bool tried_at_once;   /* the immediate second try was already used in this flight */
    int attempts;         /* attempts made so far, this one included; NOT_SENT does not count */
    int64_t first_utc_us; /* time of the first attempt */
    int64_t now_utc_us;
    int64_t expires_utc_us; /* of the broadcast */
    bool payload_proven; /* the same payload was accepted for another device: it is not the payload
                          */
    double random01;     /* jitter, 0 ≤ r < 1 */
};

struct retry_decision {
    enum retry_step step;
    uint8_t outcome;     /* SETTLE */
    int64_t next_utc_us; /* LATER */
    uint8_t if_expired;  /* LATER: outcome byte if the broadcast expires before success */
    bool
        stop_channel; /* REJECTED_CONFIG: nothing leaves on the channel until an operator resumes */
    bool halt_broadcast;       /* REJECTED_PAYLOAD: this broadcast ends on this channel */
    int64_t gate_until_utc_us; /* THROTTLED: the whole channel waits until then; 0 = no gate */
};

/* Rules: TRANSIENT waits min(300 s, 10 s × 2ⁿ) × U(0.5, 1.5), at least 10 s, or what the provider
 * asked for; tries end at the earlier of expiry and 60 minutes after the first (an emergency: at
 * expiry). UNKNOWN is final for information, tried again for an emergency (the app drops repeats).
 * REJECTED_CONFIG waits in fanout_retry, due again every minute, and counts only if it expires so.
 */
void retry_decide(const struct retry_input *input, struct retry_decision *out);

#endif
