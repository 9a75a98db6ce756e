/* See the header: one switch over verdicts, no state. */
#include "engine/retry_policy.h"

#include "base/clock.h"

#define BACKOFF_FIRST_US    (10 * USEC_PER_SEC)
#define BACKOFF_MAX_US      (300 * USEC_PER_SEC)
#define GIVE_UP_AFTER_US    (3600 * USEC_PER_SEC)
#define THROTTLE_DEFAULT_US (60 * USEC_PER_SEC)
#define CONFIG_RECHECK_US   (60 * USEC_PER_SEC)
#define NOT_SENT_DELAY_US   (1 * USEC_PER_SEC)

static int64_t backoff_us(const struct retry_input *in)
{
    int64_t delay = BACKOFF_FIRST_US;

    if (in->verdict.retry_after_ms > 0)
        return in->verdict.retry_after_ms * USEC_PER_MSEC;
    for (int i = 1; i < in->attempts && delay < BACKOFF_MAX_US; i++)
        delay *= 2;
    if (delay > BACKOFF_MAX_US)
        delay = BACKOFF_MAX_US;
    delay = (int64_t)((double)delay * (0.5 + in->random01));
    return delay > BACKOFF_FIRST_US ? delay : BACKOFF_FIRST_US;
}

static void settle(struct retry_decision *out, uint8_t outcome)
{
    out->step = RETRY_STEP_SETTLE;
    out->outcome = outcome;
}

/* Later, unless the time is up; if_expired is what the device ends as when it never succeeds. */
static void later(const struct retry_input *in, struct retry_decision *out, int64_t delay_us,
                  uint8_t if_expired)
{
    int64_t end = in->expires_utc_us;

    if (!in->emergency && in->first_utc_us + GIVE_UP_AFTER_US < end)
        end = in->first_utc_us + GIVE_UP_AFTER_US;
    out->step = RETRY_STEP_LATER;
    out->next_utc_us = in->now_utc_us + delay_us;
    out->if_expired = if_expired;
    if (out->next_utc_us >= end)
        settle(out, if_expired);
}

static void again(const struct retry_input *in, struct retry_decision *out, uint8_t if_expired)
{
    if (in->emergency && !in->tried_at_once)
        out->step = RETRY_STEP_AT_ONCE;
    else
        later(in, out, backoff_us(in), if_expired);
}

void retry_decide(const struct retry_input *in, struct retry_decision *out)
{
    *out = (struct retry_decision){.step = RETRY_STEP_SETTLE, .outcome = OUTCOME_ACCEPTED};
    switch (in->verdict.kind) {
    case VERDICT_ACCEPTED:
        break;
    case VERDICT_DEAD_TOKEN:
        settle(out, OUTCOME_DEAD_TOKEN);
        break;
    case VERDICT_REJECTED_PAYLOAD:
        settle(out, OUTCOME_REJECTED_PAYLOAD);
        out->halt_broadcast = !in->payload_proven;
        break;
    case VERDICT_REJECTED_CONFIG:
        out->stop_channel = true;
        later(in, out, CONFIG_RECHECK_US, OUTCOME_REJECTED_CONFIG);
        break;
    case VERDICT_THROTTLED: {
        int64_t wait = in->verdict.retry_after_ms > 0 ? in->verdict.retry_after_ms * USEC_PER_MSEC
                                                      : THROTTLE_DEFAULT_US;
        out->gate_until_utc_us = in->now_utc_us + wait;
        later(in, out, wait, OUTCOME_EXPIRED);
        break;
    }
    case VERDICT_TRANSIENT:
        again(in, out, OUTCOME_EXPIRED);
        break;
    case VERDICT_UNKNOWN:
        if (in->emergency)
            again(in, out, OUTCOME_UNKNOWN_SENT);
        else
            settle(out, OUTCOME_UNKNOWN_SENT);
        break;
    case VERDICT_NOT_SENT:
        if (!in->tried_at_once)
            out->step = RETRY_STEP_AT_ONCE;
        else
            later(in, out, NOT_SENT_DELAY_US, OUTCOME_EXPIRED);
        break;
    case VERDICT_KINDS:
        break;
    }
}
