/* lib: loa_engine loa_teststage */
/* Who goes first, against a real PostgreSQL: an emergency before everything, broadcasts of one
 * urgency in turns, heavy information one after the other, and the provider's quota and Retry-After
 * over all processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "engine/window.h"
#include "tests/support/noting.h"

#define ALL_FINISHED                                                                               \
    "SELECT (count(*) = 0)::int FROM broadcast WHERE released_at IS NOT NULL"                      \
    " AND finished_at IS NULL"

/* ---- judges ---- */

static bool judge_hold(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)push;
    (void)out;
    return false;
}

static bool judge_throttle(struct script_channel *self, const struct push *push,
                           struct verdict *out)
{
    (void)push;
    if (self->sent == 1)
        *out = (struct verdict){
            .kind = VERDICT_THROTTLED, .retry_after_ms = 1500, .reason = "QUOTA_EXCEEDED"};
    return true;
}

static bool has_sent(void *user)
{
    return ((struct script_channel *)user)->sent > 0;
}

static bool has_filled_the_window(void *user)
{
    return ((struct script_channel *)user)->sent == WINDOW_INITIAL;
}

/* ---- tests ---- */

/* On two processes: once the release is committed, information waits until the emergency is
 * through, then goes on to its exact end. */
static void test_an_emergency_overtakes(void **state)
{
    struct stage *stage = stage_new("overtake");
    struct script_channel *a = noting_channel_new("fcm"), *b = noting_channel_new("fcm");
    struct stage_loop *one, *two;
    int64_t info, emergency;

    (void)state;
    stage_devices(stage, "fcm", 20000, true);
    stage->settings->fcm_quota_per_minute = 100000000;
    stage->settings->deliver_chunks_per_lane = 1; /* there is work for both */
    a->room = b->room = 20;
    info = stage_release(stage, false);
    one = stage_loop_new(stage, "one", &a, 1);
    two = stage_loop_new(stage, "two", &b, 1);
    stage_until_true(noting_sent_some, a);
    stage_until_true(noting_sent_some, b);
    emergency = stage_release(stage, true);
    int sent_a = noting_count(a), sent_b = noting_count(b);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, info, OUTCOME_ACCEPTED), 20000);
    assert_int_equal(stage_outcomes(stage, emergency, OUTCOME_ACCEPTED), 20000);
    assert_int_equal(a->sent + b->sent, 40000);
    /* What left between commit and first frame: at most what one turn of the loop sends. */
    assert_in_range(noting_first(a, emergency) - sent_a, 0, stage->settings->deliver_flight_size);
    assert_in_range(noting_first(b, emergency) - sent_b, 0, stage->settings->deliver_flight_size);
    /* Between its first and last frame, nothing else. */
    for (int i = noting_first(a, emergency); i < noting_last(a, emergency); i++)
        assert_int_equal(g_array_index((GArray *)a->user, int64_t, i), emergency);
    stage_assert_sums(stage);
    stage_loop_kill(one);
    stage_loop_kill(two);
    noting_channel_free(a);
    noting_channel_free(b);
    stage_free(stage);
}

/* An emergency that only waits for retries holds up nobody. */
static void test_information_passes_what_waits(void **state)
{
    struct stage *stage = stage_new("overtake_waits");
    struct script_channel *script = noting_channel_new("fcm");
    struct stage_loop *loop;
    int64_t info;

    (void)state;
    stage_devices(stage, "fcm", 200, true);
    stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, ALL_FINISHED);
    /* As after a provider's trouble: its chunk waits for a retry in an hour. */
    stage_exec(stage, "WITH open AS (UPDATE fanout_chunk SET state = 'open',"
                      " due_at = now() + interval '1 hour')"
                      " UPDATE broadcast SET finished_at = NULL");
    info = stage_release(stage, false);
    stage_until(stage, "SELECT (count(*) = 1)::int FROM broadcast WHERE kind = 'THONG_TIN'"
                       " AND finished_at IS NOT NULL");
    assert_int_equal(stage_outcomes(stage, info, OUTCOME_ACCEPTED), 200);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM broadcast WHERE kind = 'CANH_BAO'"
                                      " AND finished_at IS NULL"),
                     1);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* A stopped emergency holds up nobody either. */
static void test_information_passes_a_stopped_emergency(void **state)
{
    struct stage *stage = stage_new("overtake_stop");
    struct script_channel *script = noting_channel_new("fcm");
    struct stage_loop *loop;
    int64_t info;

    (void)state;
    stage_devices(stage, "fcm", 300, true);
    stage_release(stage, true);
    stage_exec(stage, "INSERT INTO fanout_stop (scope, reason, by_name)"
                      " SELECT 'broadcast:' || id, 'x', 'an' FROM broadcast");
    info = stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT (count(*) = 1)::int FROM broadcast WHERE kind = 'THONG_TIN'"
                       " AND finished_at IS NOT NULL");
    assert_int_equal(stage_outcomes(stage, info, OUTCOME_ACCEPTED), 300);
    assert_int_equal(script->sent, 300);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* A notice for one commune, released while one for everybody runs, is through long before it. */
static void test_small_beside_large(void **state)
{
    struct stage *stage = stage_new("overtake_fair");
    struct script_channel *script = noting_channel_new("fcm");
    struct stage_loop *loop;
    int64_t large, small;

    (void)state;
    stage_devices(stage, "fcm", 60000, true);
    stage_exec(stage, "INSERT INTO commune (code, name) VALUES ('01273', 'Thục Phán')");
    stage_exec(stage, "UPDATE device SET commune = '01273' WHERE id % 60 = 0");
    stage->settings->fcm_quota_per_minute = 100000000;
    script->room = 20;
    large = stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until_true(noting_sent_some, script);
    small = stage_release_in(stage, false, "01273");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, large, OUTCOME_ACCEPTED), 60000);
    assert_int_equal(stage_outcomes(stage, small, OUTCOME_ACCEPTED), 1000);
    assert_in_range(noting_last(script, small), 0, 30000);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* Two heavy ones of information: the second begins when the first is through, also where the first
 * fills all places. */
static void test_one_heavy_at_a_time(void **state)
{
    struct stage *stage = stage_new("overtake_heavy");
    struct script_channel *script = noting_channel_new("fcm");
    struct stage_loop *loop;
    int64_t first, second;

    (void)state;
    stage_devices(stage, "fcm", 25000, true);
    stage->settings->fcm_quota_per_minute = 100000000;
    stage->settings->deliver_chunks_per_lane = 2;
    first = stage_release(stage, false);
    second = stage_release(stage, false);
    /* Their plans as those of 100,000 devices. */
    stage_exec(stage, "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('all', 'x', 'an')");
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT (count(*) = 2)::int FROM fanout_plan WHERE done");
    stage_exec(stage, "UPDATE fanout_plan SET next_chunk = 8");
    stage_exec(stage, "DELETE FROM fanout_stop");
    stage_until(stage, ALL_FINISHED);
    assert_true(noting_first(script, second) > noting_last(script, first));
    assert_int_equal(stage_outcomes(stage, second, OUTCOME_ACCEPTED), 25000);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* At most so many requests of information are out, however much room the provider gives. */
static void test_a_short_pipe_for_information(void **state)
{
    struct stage *stage = stage_new("overtake_pipe");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;

    (void)state;
    stage_devices(stage, "fcm", 1000, true);
    stage->settings->deliver_ordinary_in_flight = 10;
    script->judge = judge_hold;
    script->room = 1000;
    stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until_true(has_sent, script);
    noting_let_run(300);
    assert_int_equal(script->sent, 10);
    stage_release(stage, true);
    stage_until_true(has_filled_the_window, script); /* an emergency has all that is left */
    script->judge = NULL;
    script_answer_all(script, VERDICT_ACCEPTED);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(script->sent, 2000);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

/* What one process hears from the provider, the other obeys. */
static void test_retry_after_closes_the_channel_everywhere(void **state)
{
    struct stage *stage = stage_new("overtake_gate");
    struct script_channel *a = script_channel_new("fcm"), *b = script_channel_new("fcm");
    struct stage_loop *one, *two;
    uint64_t sent;

    (void)state;
    stage_devices(stage, "fcm", 40000, true);
    stage->settings->fcm_quota_per_minute = 100000000;
    stage->settings->deliver_chunks_per_lane = 1;
    a->room = b->room = 2;
    b->judge = judge_throttle;
    stage_release(stage, false);
    one = stage_loop_new(stage, "one", &a, 1);
    stage_until_true(noting_sent_some, a);
    two = stage_loop_new(stage, "two", &b, 1);
    stage_until(stage, "SELECT count(*) FROM provider_quota WHERE gate_until > now()");
    noting_let_run(100); /* the notification's way */
    sent = a->sent + b->sent;
    assert_true(b->sent <= 2);
    noting_let_run(500);
    assert_int_equal(a->sent + b->sent, sent);
    a->room = b->room = 100;
    stage_until(stage, ALL_FINISHED);
    stage_assert_sums(stage);
    stage_loop_kill(one);
    stage_loop_kill(two);
    a->channel.ops->free(&a->channel);
    b->channel.ops->free(&b->channel);
    stage_free(stage);
}

/* ---- the shared quota ---- */

static int64_t lease(struct stage *stage, int64_t second, int64_t want, bool emergency)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT quota_lease('fcm', to_timestamp(1000000000 + %" G_GINT64_FORMAT "), 600, 120,"
        " %" G_GINT64_FORMAT ", %s)",
        second, want, emergency ? "true" : "false");

    return stage_i64(stage, sql);
}

/* Used up to a second after its grant, at the worst instant, no 60 seconds hold more than the
 * quota: grants of any 62 seconds must sum to less. */
static void test_no_minute_holds_more_than_the_quota(void **state)
{
    struct stage *stage = stage_new("quota_minute");
    int64_t granted[300];

    (void)state;
    for (int64_t s = 0; s < 300; s++)
        granted[s] = lease(stage, s, 1000, s % 7 == 0) + lease(stage, s, 1000, s % 5 == 0);
    for (int from = 0; from + 62 <= 300; from++) {
        int64_t sum = 0;
        for (int s = from; s < from + 62; s++)
            sum += granted[s];
        assert_in_range(sum, 0, 600);
    }
    assert_int_equal(lease(stage, 1000, 1000, true), 600); /* an emergency: the minute at once */
    assert_int_equal(lease(stage, 1000, 1, true), 0);
    stage_free(stage);
}

static void test_reserve_and_spread(void **state)
{
    struct stage *stage = stage_new("quota_reserve");
    int64_t sum = 0;

    (void)state;
    assert_int_equal(lease(stage, 0, 5, false), 5);
    assert_int_equal(lease(stage, 0, 100, false), 3); /* (600 - 120) / 62, rounded up, is 8 */
    assert_int_equal(lease(stage, 0, 100, false), 0);
    for (int64_t s = 1; s < 62; s++)
        sum += lease(stage, s, 100, false);
    assert_int_equal(sum + 8, 480);
    assert_int_equal(lease(stage, 61, 1000, true), 120); /* the reserve is untouched */
    assert_int_equal(lease(stage, 30, 1000, true), 0);   /* a late question is no earlier */
    stage_exec(stage, "UPDATE provider_quota SET gate_until = to_timestamp(1000000900)");
    assert_int_equal(lease(stage, 899, 10, true), 0);
    assert_int_equal(lease(stage, 900, 10, true), 10);
    stage_free(stage);
}

/* Two processes with a small quota: together they use nearly all of it, and never more. */
static bool nearly_all(void *scripts)
{
    struct script_channel **pair = scripts;

    return pair[0]->sent + pair[1]->sent >= 5500;
}

static void test_two_processes_share_the_quota(void **state)
{
    struct stage *stage = stage_new("quota_two");
    struct script_channel *a = script_channel_new("fcm"), *b = script_channel_new("fcm");
    struct script_channel *both[] = {a, b};
    struct stage_loop *one, *two;

    (void)state;
    stage_devices(stage, "fcm", 30000, true);
    stage->settings->deliver_chunks_per_lane = 1;
    stage->settings->fcm_quota_per_minute = 6000;
    stage_release(stage, true);
    one = stage_loop_new(stage, "one", &a, 1);
    two = stage_loop_new(stage, "two", &b, 1);
    stage_until_true(nearly_all, both);
    noting_let_run(1500);
    assert_in_range(a->sent + b->sent, 5500, 6000);
    assert_in_range(stage_i64(stage, "SELECT sum(g)::bigint FROM provider_quota,"
                                     " unnest(granted) AS g WHERE channel = 'fcm'"),
                    (int64_t)(a->sent + b->sent), 6000);
    stage_loop_kill(one);
    stage_loop_kill(two);
    a->channel.ops->free(&a->channel);
    b->channel.ops->free(&b->channel);
    stage_free(stage);
}

/* A standby that takes over may be behind; one that was ahead may be set right. */
static void test_a_clock_that_goes_back(void **state)
{
    struct stage *stage = stage_new("quota_clock");

    (void)state;
    assert_int_equal(lease(stage, 10000, 1000, true), 600);
    assert_int_equal(lease(stage, 9400, 100, true), 100);
    assert_int_equal(lease(stage, 9399, 500, true), 500); /* a late question */
    assert_int_equal(lease(stage, 9400, 1, true), 0);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_emergency_overtakes),
        cmocka_unit_test(test_information_passes_what_waits),
        cmocka_unit_test(test_information_passes_a_stopped_emergency),
        cmocka_unit_test(test_small_beside_large),
        cmocka_unit_test(test_one_heavy_at_a_time),
        cmocka_unit_test(test_a_short_pipe_for_information),
        cmocka_unit_test(test_retry_after_closes_the_channel_everywhere),
        cmocka_unit_test(test_no_minute_holds_more_than_the_quota),
        cmocka_unit_test(test_reserve_and_spread),
        cmocka_unit_test(test_two_processes_share_the_quota),
        cmocka_unit_test(test_a_clock_that_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
