/* lib: loa_engine loa_teststage */
/* Overtaking when something is out of reach, is read too early or goes away: nothing waits for
 * ever, and no stored emergency loses its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/support/noting.h"

/* Information that was read before the emergency was released waits, too. */
static void test_read_before_the_emergency(void **state)
{
    struct stage *stage = stage_new("trouble_read");
    struct script_channel *script = noting_channel_new("apns");
    struct stage_loop *loop;
    int64_t info, emergency;

    (void)state;
    stage_devices(stage, "apns", 4000, true);
    stage->settings->deliver_flight_size = 1000;
    script->room = 5;
    info = stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until_true(noting_sent_some, script);
    emergency = stage_release(stage, true);
    stage_until(stage, "SELECT count(*) FROM broadcast WHERE level = 'khan_cap'"
                       " AND finished_at IS NOT NULL");
    g_autofree char *all_held = g_strdup_printf(
        "SELECT (count(*) = %d)::int FROM fanout_retry WHERE reason = 'emergency_live'"
        " AND flying_epoch IS NULL",
        4000 - noting_since(script, info, 0));
    stage_until(stage, all_held);
    assert_int_equal(noting_since(script, emergency, 0), 4000);
    assert_int_equal(noting_since(script, info, noting_last(script, emergency)), 0);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

static void on_drained(void *user)
{
    *(bool *)user = true;
}

static bool is_set(void *flag)
{
    return *(bool *)flag;
}

/* A process that drains claims nothing new, though another broadcast waits. */
static void test_drain_ends(void **state)
{
    struct stage *stage = stage_new("trouble_drain");
    struct script_channel *script = noting_channel_new("fcm");
    struct stage_loop *loop;
    bool drained = false;
    int64_t claims;

    (void)state;
    stage_devices(stage, "fcm", 40000, true);
    stage->settings->fcm_quota_per_minute = 100000000;
    stage->settings->deliver_chunks_per_lane = 1;
    stage->settings->deliver_poll_ms = 1000;
    script->room = 3;
    stage_release(stage, false);
    stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT (count(*) = 2)::int FROM fanout_plan WHERE done");
    stage_until_true(noting_sent_some, script);
    fanout_drain(loop->fanout, on_drained, &drained);
    claims = stage_i64(stage, "SELECT sum(epoch)::bigint FROM fanout_chunk");
    stage_until_true(is_set, &drained);
    /* Giving a chunk back counts its epoch up once; claiming it would again. */
    assert_in_range(stage_i64(stage, "SELECT sum(epoch)::bigint FROM fanout_chunk") - claims, 0, 2);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* A lane that never connects, here the sandbox's, holds up nobody for long. */
static void test_a_lane_out_of_reach(void **state)
{
    struct stage *stage = stage_new("trouble_lane");
    struct script_channel *script = noting_channel_new("apns");
    struct stage_loop *loop;
    int64_t emergency, warning;

    (void)state;
    stage_devices(stage, "apns", 201, true);
    stage_exec(stage, "UPDATE device SET apns_environment = 'sandbox' WHERE id = 201");
    script->unreachable[LANE_SANDBOX] = true;
    emergency = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT (count(*) = 1)::int FROM fanout_chunk WHERE state = 'done'");
    assert_int_equal(stage_outcomes(stage, emergency, OUTCOME_ACCEPTED), 200);
    assert_true(fanout_emergency_waiting(loop->fanout, &script->channel));
    /* As half a minute later. */
    stage_exec(stage, "UPDATE fanout_chunk SET due_at = now() - interval '31 s'");
    stage_exec(stage, "UPDATE device SET os = 'x', commune = NULL");
    stage_exec(stage, "UPDATE broadcast SET first_pass_at = now() - interval '61 min'");
    warning = stage_release(stage, false);
    stage_until(stage, "SELECT (count(*) = 1)::int FROM fanout_chunk c JOIN broadcast b"
                       " ON b.id = c.broadcast_id WHERE b.kind = 'THONG_TIN' AND c.state = 'done'");
    assert_int_equal(stage_outcomes(stage, warning, OUTCOME_ACCEPTED), 200);
    assert_false(fanout_emergency_waiting(loop->fanout, &script->channel));
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* A process without a connection leaves the chunks to one that has some, and uses no quota. */
static void test_a_process_out_of_reach(void **state)
{
    struct stage *stage = stage_new("trouble_process");
    struct script_channel *well = noting_channel_new("fcm"), *ill = noting_channel_new("fcm");
    struct stage_loop *one, *two;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 5000, true);
    ill->unreachable[LANE_PROVEN] = true;
    id = stage_release(stage, true);
    two = stage_loop_new(stage, "ill", &ill, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_plan WHERE done");
    noting_let_run(300);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_chunk"
                                      " WHERE lease_owner IS NOT NULL"),
                     0);
    assert_int_equal(stage_i64(stage, "SELECT sum(g)::bigint FROM provider_quota,"
                                      " unnest(granted) AS g"),
                     0);
    one = stage_loop_new(stage, "well", &well, 1);
    stage_until(stage, "SELECT count(*) FROM broadcast WHERE finished_at IS NOT NULL");
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 5000);
    assert_int_equal(well->sent, 5000);
    stage_loop_kill(one);
    stage_loop_kill(two);
    noting_channel_free(well);
    noting_channel_free(ill);
    stage_free(stage);
}

/* A connection that is lost while chunks are held: after some seconds another process has them. */
static void test_a_lost_connection_gives_back(void **state)
{
    struct stage *stage = stage_new("trouble_lost");
    struct script_channel *script = noting_channel_new("fcm");
    struct stage_loop *loop;

    (void)state;
    stage_devices(stage, "fcm", 5000, true);
    script->room = 1;
    stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until_true(noting_sent_some, script);
    script->unreachable[LANE_PROVEN] = true;
    stage_until(stage, "SELECT (count(*) = 0)::int FROM fanout_chunk"
                       " WHERE lease_owner IS NOT NULL");
    stage_assert_sums(stage);
    script->unreachable[LANE_PROVEN] = false;
    script->room = 100;
    stage_until(stage, "SELECT count(*) FROM broadcast WHERE finished_at IS NOT NULL");
    assert_int_equal(script->sent, 5000);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

/* The hour of the hold begins when everybody was tried, though one phone is tried for days. */
static void test_first_pass(void **state)
{
    struct stage *stage = stage_new("trouble_pass");
    struct script_channel *script = noting_channel_new("apns");
    struct stage_loop *loop;

    (void)state;
    stage_devices(stage, "apns", 200, true);
    stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_chunk WHERE state = 'done'");
    stage_exec(stage, "WITH open AS (UPDATE fanout_chunk SET state = 'open',"
                      " due_at = now() + interval '1 hour')"
                      " UPDATE broadcast SET finished_at = NULL, first_pass_at = NULL");
    stage_until(stage, "SELECT count(*) FROM broadcast WHERE first_pass_at IS NOT NULL");
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM emergency_live()"), 1);
    stage_exec(stage, "UPDATE broadcast SET first_pass_at = now() - interval '61 min'");
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM emergency_live()"), 0);
    stage_loop_kill(loop);
    noting_channel_free(script);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_before_the_emergency),
        cmocka_unit_test(test_drain_ends),
        cmocka_unit_test(test_a_lane_out_of_reach),
        cmocka_unit_test(test_a_process_out_of_reach),
        cmocka_unit_test(test_a_lost_connection_gives_back),
        cmocka_unit_test(test_first_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
