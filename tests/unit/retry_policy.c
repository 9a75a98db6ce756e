/* lib: loa_engine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/retry_policy.h"

#define S    USEC_PER_SEC
#define HOUR (3600 * S)

struct row {
    const char *what;
    enum verdict_kind kind;
    int64_t retry_after_ms;
    bool emergency, tried, payload_proven;
    int attempts;
    int64_t age_us, life_us; /* since the first attempt; until expiry */
    enum retry_step step;
    uint8_t outcome;  /* SETTLE */
    int64_t delay_us; /* LATER, with random 0.5: the middle */
    uint8_t if_expired;
    bool stop, halt;
};

static const struct row rows[] = {
    {"accepted", VERDICT_ACCEPTED, 0, false, false, false, 1, 0, HOUR, RETRY_STEP_SETTLE,
     OUTCOME_ACCEPTED, 0, 0, false, false},
    {"dead", VERDICT_DEAD_TOKEN, 0, true, false, false, 1, 0, HOUR, RETRY_STEP_SETTLE,
     OUTCOME_DEAD_TOKEN, 0, 0, false, false},
    {"payload refused before any was accepted", VERDICT_REJECTED_PAYLOAD, 0, true, false, false, 1,
     0, HOUR, RETRY_STEP_SETTLE, OUTCOME_REJECTED_PAYLOAD, 0, 0, false, true},
    {"payload refused for one device only", VERDICT_REJECTED_PAYLOAD, 0, true, false, true, 1, 0,
     HOUR, RETRY_STEP_SETTLE, OUTCOME_REJECTED_PAYLOAD, 0, 0, false, false},
    {"config waits", VERDICT_REJECTED_CONFIG, 0, true, false, false, 1, 0, HOUR, RETRY_STEP_LATER,
     0, 60 * S, OUTCOME_REJECTED_CONFIG, true, false},
    {"config, expired meanwhile", VERDICT_REJECTED_CONFIG, 0, true, false, false, 1, 0, 30 * S,
     RETRY_STEP_SETTLE, OUTCOME_REJECTED_CONFIG, 0, 0, true, false},
    {"throttled, told how long", VERDICT_THROTTLED, 7000, true, false, false, 1, 0, HOUR,
     RETRY_STEP_LATER, 0, 7 * S, OUTCOME_EXPIRED, false, false},
    {"throttled, not told", VERDICT_THROTTLED, 0, false, false, false, 1, 0, HOUR, RETRY_STEP_LATER,
     0, 60 * S, OUTCOME_EXPIRED, false, false},
    {"transient, information", VERDICT_TRANSIENT, 0, false, false, false, 1, 0, HOUR,
     RETRY_STEP_LATER, 0, 10 * S, OUTCOME_EXPIRED, false, false},
    {"transient, third time", VERDICT_TRANSIENT, 0, false, false, false, 3, 60 * S, HOUR,
     RETRY_STEP_LATER, 0, 40 * S, OUTCOME_EXPIRED, false, false},
    {"back-off has a ceiling", VERDICT_TRANSIENT, 0, true, true, false, 30, HOUR, 2 * HOUR,
     RETRY_STEP_LATER, 0, 300 * S, OUTCOME_EXPIRED, false, false},
    {"information gives up after an hour", VERDICT_TRANSIENT, 0, false, false, false, 20,
     HOUR - 10 * S, 9 * HOUR, RETRY_STEP_SETTLE, OUTCOME_EXPIRED, 0, 0, false, false},
    {"an emergency does not", VERDICT_TRANSIENT, 0, true, true, false, 20, HOUR - 10 * S, 9 * HOUR,
     RETRY_STEP_LATER, 0, 300 * S, OUTCOME_EXPIRED, false, false},
    {"emergency, first failure", VERDICT_TRANSIENT, 900000, true, false, false, 1, 0, HOUR,
     RETRY_STEP_AT_ONCE, 0, 0, 0, false, false},
    {"emergency, second: the provider's rule", VERDICT_TRANSIENT, 900000, true, true, false, 2, S,
     HOUR, RETRY_STEP_LATER, 0, 900 * S, OUTCOME_EXPIRED, false, false},
    {"unknown, information", VERDICT_UNKNOWN, 0, false, false, false, 1, 0, HOUR, RETRY_STEP_SETTLE,
     OUTCOME_UNKNOWN_SENT, 0, 0, false, false},
    {"unknown, emergency", VERDICT_UNKNOWN, 0, true, false, false, 1, 0, HOUR, RETRY_STEP_AT_ONCE,
     0, 0, 0, false, false},
    {"unknown twice, emergency", VERDICT_UNKNOWN, 0, true, true, false, 2, 0, HOUR,
     RETRY_STEP_LATER, 0, 20 * S, OUTCOME_UNKNOWN_SENT, false, false},
    {"not sent goes at once, information too", VERDICT_NOT_SENT, 0, false, false, false, 0, 0, HOUR,
     RETRY_STEP_AT_ONCE, 0, 0, 0, false, false},
    {"not sent twice", VERDICT_NOT_SENT, 0, false, true, false, 0, 0, HOUR, RETRY_STEP_LATER, 0, S,
     OUTCOME_EXPIRED, false, false},
    {"transient, expired meanwhile", VERDICT_TRANSIENT, 0, true, true, false, 2, 0, 5 * S,
     RETRY_STEP_SETTLE, OUTCOME_EXPIRED, 0, 0, false, false},
};

static void test_rows(void **state)
{
    const int64_t now = INT64_C(1790000000) * S;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct retry_input in = {.verdict = {.kind = r->kind, .retry_after_ms = r->retry_after_ms},
                                 .emergency = r->emergency,
                                 .tried_at_once = r->tried,
                                 .attempts = r->attempts,
                                 .first_utc_us = now - r->age_us,
                                 .now_utc_us = now,
                                 .expires_utc_us = now + r->life_us,
                                 .payload_proven = r->payload_proven,
                                 .random01 = 0.5};
        struct retry_decision d;
        retry_decide(&in, &d);
        print_message("  %s\n", r->what);
        assert_int_equal(d.step, r->step);
        if (r->step == RETRY_STEP_SETTLE)
            assert_int_equal(d.outcome, r->outcome);
        if (r->step == RETRY_STEP_LATER) {
            assert_true(d.next_utc_us == now + r->delay_us);
            assert_int_equal(d.if_expired, r->if_expired);
        }
        assert_int_equal(d.stop_channel, r->stop);
        assert_int_equal(d.halt_broadcast, r->halt);
        assert_int_equal(d.gate_until_utc_us > 0, r->kind == VERDICT_THROTTLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
