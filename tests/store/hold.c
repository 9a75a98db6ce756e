/* lib: loa_engine loa_teststage */
/* APNs stores one notification per app and device: while an emergency is live for an iOS device,
 * information to it waits, and is not lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/support/stage.h"

#define INFO_SETTLED                                                                               \
    "SELECT (bool_and(p.done) AND count(c) = 0)::int FROM broadcast b"                             \
    " JOIN fanout_plan p ON p.broadcast_id = b.id LEFT JOIN fanout_chunk c"                        \
    " ON c.broadcast_id = b.id AND (c.next_position < c.member_count OR c.lease_until IS NOT "     \
    "NULL) WHERE b.kind = 'THONG_TIN'"
#define HELD "SELECT count(*) FROM fanout_retry WHERE reason = 'emergency_live' AND attempt = 0"

struct set {
    struct stage *stage;
    struct script_channel *scripts[2];
    struct stage_loop *loop;
};

/* 100 Android and 100 iOS devices at FCM, 100 at APNs; half of each in commune 01273. */
static void set_begin(struct set *set, const char *name)
{
    set->stage = stage_new(name);
    set->scripts[0] = script_channel_new("fcm");
    set->scripts[1] = script_channel_new("apns");
    stage_devices(set->stage, "fcm", 200, true);
    stage_devices(set->stage, "apns", 100, true);
    stage_exec(set->stage, "INSERT INTO commune (code, name) VALUES ('01273', 'Thục Phán')");
    stage_exec(set->stage,
               "UPDATE device SET os = CASE WHEN id > 100 THEN 'iOS 18.1' ELSE 'Android 14' END,"
               " commune = CASE WHEN id % 2 = 0 THEN '01273' END");
}

static void set_run(struct set *set)
{
    set->loop = stage_loop_new(set->stage, "one", set->scripts, 2);
}

static void set_end(struct set *set)
{
    stage_assert_sums(set->stage);
    stage_loop_kill(set->loop);
    for (int i = 0; i < 2; i++)
        set->scripts[i]->channel.ops->free(&set->scripts[i]->channel);
    stage_free(set->stage);
}

static void finish(struct set *set)
{
    stage_until(set->stage, "SELECT (count(*) = 0)::int FROM broadcast"
                            " WHERE released_at IS NOT NULL AND finished_at IS NULL");
}

/* As if the last send of the emergency were 61 minutes ago, and the held ones due. */
static void an_hour_later(struct set *set)
{
    stage_exec(set->stage, "UPDATE broadcast SET first_pass_at = now() - interval '61 min'"
                           " WHERE level = 'khan_cap'");
    stage_exec(set->stage, "UPDATE fanout_retry SET first_at = now() - interval '61 min',"
                           " next_at = now()");
    stage_exec(set->stage, "UPDATE fanout_chunk SET due_at = now() WHERE state = 'open'");
}

static void test_information_waits_for_ios_only(void **state)
{
    struct set set;
    int64_t info;

    (void)state;
    set_begin(&set, "hold_ios");
    stage_release(set.stage, true);
    set_run(&set);
    finish(&set);
    info = stage_release(set.stage, false);
    stage_until(set.stage, INFO_SETTLED);
    assert_int_equal(stage_outcomes(set.stage, info, OUTCOME_ACCEPTED), 100);
    assert_int_equal(stage_i64(set.stage, HELD), 200);
    assert_in_range(stage_i64(set.stage, "SELECT extract(epoch FROM max(next_at) - now())::int"
                                         " FROM fanout_retry"),
                    3500, 3600);
    stage_assert_sums(set.stage);
    an_hour_later(&set);
    finish(&set);
    assert_int_equal(stage_outcomes(set.stage, info, OUTCOME_ACCEPTED), 300);
    set_end(&set);
}

static void test_other_communes_do_not_wait(void **state)
{
    struct set set;
    int64_t info;

    (void)state;
    set_begin(&set, "hold_commune");
    stage_release_in(set.stage, true, "01273");
    set_run(&set);
    finish(&set);
    info = stage_release(set.stage, false);
    stage_until(set.stage, INFO_SETTLED);
    assert_int_equal(stage_outcomes(set.stage, info, OUTCOME_ACCEPTED), 200);
    assert_int_equal(stage_i64(set.stage, HELD), 100);
    set_end(&set);
}

/* What waits is held again when there is a new emergency, and ends by name when it expires. */
static void test_held_again_and_expired(void **state)
{
    struct set set;
    int64_t info;

    (void)state;
    set_begin(&set, "hold_again");
    stage_release(set.stage, true);
    set_run(&set);
    finish(&set);
    info = stage_release(set.stage, false);
    stage_until(set.stage, INFO_SETTLED);
    an_hour_later(&set);
    stage_exec(set.stage, "UPDATE fanout_retry SET next_at = now() + interval '1 hour'");
    stage_release(set.stage, true);
    stage_until(set.stage, "SELECT (count(*) = 2)::int FROM broadcast WHERE level = 'khan_cap'"
                           " AND finished_at IS NOT NULL");
    stage_exec(set.stage, "UPDATE fanout_retry SET next_at = now(), reason = 'before'");
    stage_exec(set.stage, "UPDATE fanout_chunk SET due_at = now() WHERE state = 'open'");
    stage_until(set.stage, "SELECT (count(*) = 200)::int FROM fanout_retry"
                           " WHERE reason = 'emergency_live' AND flying_epoch IS NULL");
    stage_assert_sums(set.stage);
    stage_exec(set.stage, "UPDATE broadcast SET expires_at = now() WHERE kind = 'THONG_TIN'");
    finish(&set);
    assert_int_equal(stage_outcomes(set.stage, info, OUTCOME_EXPIRED), 200);
    set_end(&set);
}

static bool judge_transient(struct script_channel *self, const struct push *push,
                            struct verdict *out)
{
    (void)self;
    (void)push;
    *out = (struct verdict){.kind = VERDICT_TRANSIENT, .reason = "UNAVAILABLE"};
    return true;
}

/* The hour of tries begins with the first try, not with the waiting. */
static void test_waiting_is_no_try(void **state)
{
    struct set set;

    (void)state;
    set_begin(&set, "hold_try");
    stage_release(set.stage, true);
    set_run(&set);
    finish(&set);
    stage_release(set.stage, false);
    stage_until(set.stage, INFO_SETTLED);
    set.scripts[1]->judge = judge_transient;
    an_hour_later(&set);
    stage_until(set.stage, "SELECT (count(*) = 100)::int FROM fanout_retry WHERE attempt = 1"
                           " AND reason = 'UNAVAILABLE' AND next_at > now()"
                           " AND first_at > now() - interval '1 min' AND flying_epoch IS NULL");
    set_end(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_information_waits_for_ios_only),
        cmocka_unit_test(test_other_communes_do_not_wait),
        cmocka_unit_test(test_held_again_and_expired),
        cmocka_unit_test(test_waiting_is_no_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
