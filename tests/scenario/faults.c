/* What providers and credentials do wrong, with the real programs. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/scenario/rig.h"

#define QUICK "[fcm]\nquota_per_minute=100000000\n"

static const struct rig_options small = {
    .fcm = 3000, .apns = 1500, .deliver = 1, .extra_conf = QUICK};

static void all_accepted(struct rig *rig, int64_t id)
{
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), rig->options.fcm);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED), rig->options.apns);
    rig_assert_checks(rig);
}

/* FCM answers 503 for a while: nobody is lost, nobody is reached twice. */
static void test_unavailable_for_a_while(void **state)
{
    struct rig *rig = rig_new(&small);
    int64_t id;

    (void)state;
    json_decref(
        rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{},\"do\":{\"status\":503,"
                     "\"reason\":\"UNAVAILABLE\"},\"for_ms\":20000}"));
    id = rig_release(rig, true, "2h");
    rig_until(rig, "SELECT count(*) FROM fanout_retry", 20, true);
    rig_until(rig, RIG_FINISHED, 120, true);
    all_accepted(rig, id);
    assert_int_equal(rig_assert_tokens(rig, id, "fcm"), 0);
    assert_int_equal(rig_assert_tokens(rig, id, "apns"), 0);
    rig_free(rig);
}

/* 429 with Retry-After: the whole channel waits as long as it was told. */
static void test_retry_after(void **state)
{
    struct rig *rig = rig_new(&small);
    g_autoptr(json_t) stats = NULL;
    int64_t id, began;

    (void)state;
    json_decref(
        rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{},\"do\":{\"status\":429,"
                     "\"reason\":\"QUOTA_EXCEEDED\",\"retry_after\":4},\"count\":1}"));
    began = g_get_monotonic_time();
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_FINISHED, 60, true);
    all_accepted(rig, id);
    assert_true(g_get_monotonic_time() - began >= 4 * G_USEC_PER_SEC);
    assert_int_equal(rig_assert_tokens(rig, id, "fcm"), 0);
    rig_free(rig);
}

/* GOAWAY every 1,000 requests: what was above its last stream goes again, once. */
static void test_goaway(void **state)
{
    struct rig *rig = rig_new(&small);
    int64_t id;

    (void)state;
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{\"every\":1000},"
                             "\"do\":{\"goaway\":true}}"));
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"apns\",\"match\":{\"every\":500},"
                             "\"do\":{\"goaway\":true}}"));
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_FINISHED, 60, true);
    all_accepted(rig, id);
    assert_int_equal(rig_assert_tokens(rig, id, "fcm"), 0);
    assert_int_equal(rig_assert_tokens(rig, id, "apns"), 0);
    rig_free(rig);
}

/* Half of the tokens are dead: they are retired, the others are reached, and the next broadcast
 * does not try them again. */
static void test_half_dead(void **state)
{
    struct rig_options options = small;
    struct rig *rig;
    int64_t id;

    (void)state;
    options.dead_percent = 50;
    rig = rig_new(&options);
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_FINISHED, 60, true);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_DEAD_TOKEN), options.fcm / 2);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), options.fcm / 2);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_DEAD_TOKEN), options.apns / 2);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM device WHERE channel = 'none'"
                                  " AND retired_reason = 'dead_token'"),
                     (options.fcm + options.apns) / 2);
    rig_assert_tokens(rig, id, "fcm");
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_FINISHED, 60, true);
    assert_int_equal(rig_i64(rig, "SELECT sum(member_count) FROM fanout_chunk WHERE broadcast_id ="
                                  " (SELECT max(id) FROM broadcast)"),
                     (options.fcm + options.apns) / 2);
    rig_assert_checks(rig);
    rig_free(rig);
}

/* A certificate from an authority that we do not trust: nothing is sent, the channel stops with a
 * clear reason, the other channel is not disturbed, and nobody is lost. */
static void test_untrusted_certificate(void **state)
{
    struct rig_options options = small;
    struct rig *rig;
    int64_t id;

    (void)state;
    options.untrusted_fcm = true;
    rig = rig_new(&options);
    id = rig_release(rig, true, "2h");
    rig_until(rig,
              "SELECT count(*) FROM fanout_stop WHERE scope = 'channel:fcm'"
              " AND reason LIKE '%certificate%'",
              30, true);
    rig_until(rig, RIG_PLANNED, 30, true);
    rig_until(rig,
              "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE channel = 'apns'"
              " AND state = 'open'",
              30, true);
    assert_true(rig_logged(rig, "deliver0", "channel_stopped"));
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), 0);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED), options.apns);
    rig_assert_checks(rig);
    rig_free(rig);
}

/* The OAuth endpoint is down when the alert is released, and comes back. */
static void test_oauth_down(void **state)
{
    struct rig *rig;
    int64_t id;
    struct rig_process *deliver;

    (void)state;
    rig = rig_new(&small);
    deliver = rig_role(rig, "deliver0");
    rig_kill(deliver); /* so that no token is there yet */
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"oauth\",\"match\":{},"
                             "\"do\":{\"status\":503},\"for_ms\":8000}"));
    rig_start(rig, deliver);
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_PLANNED, 30, true);
    rig_until(rig,
              "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE channel = 'apns'"
              " AND state = 'open'",
              30, true);
    rig_until(rig, RIG_FINISHED, 120, true);
    all_accepted(rig, id);
    assert_int_equal(rig_assert_tokens(rig, id, "fcm"), 0);
    rig_free(rig);
}

/* No answer and closed connections: an emergency is tried again, and everybody is reached. */
static void test_lost_answers(void **state)
{
    struct rig *rig = rig_new(&small);
    int64_t id;

    (void)state;
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{},"
                             "\"do\":{\"no_answer\":true},\"count\":20}"));
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"apns\",\"match\":{\"every\":400},"
                             "\"do\":{\"close\":true},\"count\":3}"));
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_FINISHED, 120, true);
    all_accepted(rig, id);
    rig_free(rig);
}

/* The deliver machine's clock is an hour wrong: tokens are minted and alerts expire by the
 * database's time. */
static void test_wrong_clock(void **state)
{
    static const int offsets[] = {3600, -3600};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++) {
        struct rig_options options = small;
        struct rig *rig;
        int64_t id;

        options.deliver_clock_offset_s = offsets[i];
        rig = rig_new(&options);
        id = rig_release(rig, true, "30m");
        rig_until(rig, RIG_FINISHED, 60, true);
        all_accepted(rig, id);
        assert_true(rig_logged(rig, "deliver0", "clock_skewed"));
        rig_free(rig);
    }
}

/* A claimer is frozen past its lease and thawed: another took its chunks, its late writes are
 * refused, and the sums are right. */
static void test_frozen_claimer(void **state)
{
    struct rig_options options = small;
    struct rig *rig;
    struct rig_process *first;
    int64_t id;

    (void)state;
    options.deliver = 2;
    rig = rig_new(&options);
    rig_stop(rig_role(rig, "deliver1"));
    first = rig_role(rig, "deliver0");
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{},"
                             "\"do\":{\"delay_ms\":1500},\"for_ms\":3000}"));
    id = rig_release(rig, true, "2h");
    rig_until(rig, "SELECT count(*) FROM fanout_flight WHERE codes IS NULL", 30, true);
    kill(first->pid, SIGSTOP);
    rig_start(rig, rig_role(rig, "deliver1"));
    rig_until(rig, RIG_FINISHED, 60, true);
    kill(first->pid, SIGCONT);
    rig_until(rig,
              "SELECT (seen_at > now() - interval '1 s')::int FROM process"
              " WHERE role = 'deliver' ORDER BY started_at LIMIT 1",
              20, true);
    all_accepted(rig, id);
    rig_assert_tokens(rig, id, "fcm");
    assert_true(rig_i64(rig, "SELECT count(*) FROM fanout_flight WHERE uncertain > 0") > 0);
    assert_int_equal(rig_stop(first), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unavailable_for_a_while),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_half_dead),
        cmocka_unit_test(test_untrusted_certificate),
        cmocka_unit_test(test_oauth_down),
        cmocka_unit_test(test_lost_answers),
        cmocka_unit_test(test_wrong_clock),
        cmocka_unit_test(test_frozen_claimer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
