/* lib: loa_engine loa_teststage */
/* The delivery loop where two things meet: a lease lost while a flight is being loaded, a stop or
 * an end that the mark of the next flight learns first, statements that ran although their answer
 * was lost, a takeover during a cancel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "engine/outcome.h"
#include "tests/support/stage.h"

#define ALL_FINISHED                                                                               \
    "SELECT count(*)::int FROM (SELECT 1 WHERE NOT EXISTS (SELECT FROM broadcast"                  \
    " WHERE released_at IS NOT NULL AND finished_at IS NULL)) x"
#define PLANNED      "SELECT (NOT EXISTS (SELECT FROM fanout_plan WHERE NOT done))::int"
#define NOBODY_HOLDS "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE lease_owner IS NOT NULL"

static bool judge_hold(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)push;
    (void)out;
    return false;
}

/* Both tries of the first flight fail; the retry is never answered. */
static bool judge_retry_hangs(struct script_channel *self, const struct push *push,
                              struct verdict *out)
{
    out->kind = VERDICT_TRANSIENT;
    out->retry_after_ms = 100;
    return script_sends(self, push->device_id) <= 2;
}

static bool has_held(void *user)
{
    return ((struct script_channel *)user)->held->len > 0;
}

static void script_end(struct script_channel *script)
{
    script->channel.ops->free(&script->channel);
}

static struct db *other_session(struct stage *stage)
{
    g_autoptr(GError) error = NULL;
    struct db *db = db_open(stage->conninfo, &error);

    assert_non_null(db);
    return db;
}

static void run(struct db *db, const char *sql)
{
    g_autoptr(GError) error = NULL;

    if (!db_exec(db, sql, NULL, &error))
        fail_msg("%s", error->message);
}

/* Runs what when the first flight of a chunk is marked or settled. */
static void trigger_on_first_flight(struct stage *stage, const char *event, const char *what)
{
    g_autofree char *function =
        g_strdup_printf("CREATE FUNCTION on_first() RETURNS trigger LANGUAGE plpgsql AS"
                        " $$ BEGIN %s; RETURN NULL; END $$",
                        what);
    g_autofree char *trigger =
        g_strdup_printf("CREATE TRIGGER on_first AFTER %s ON fanout_flight FOR EACH ROW"
                        " WHEN (NEW.first = 0) EXECUTE FUNCTION on_first()",
                        event);

    stage_exec(stage, function);
    stage_exec(stage, trigger);
}

/* Releases and plans, and leaves the chunks for the test's own loop. */
static int64_t release_planned(struct stage *stage, bool emergency)
{
    struct script_channel *scripts[] = {script_channel_new("fcm"), script_channel_new("apns")};
    struct stage_loop *planner;
    int64_t id = stage_release(stage, emergency);

    stage_exec(stage, "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('all', 'x', 'an')");
    planner = stage_loop_new(stage, "planner", scripts, 2);
    stage_until(stage, PLANNED);
    stage_loop_kill(planner);
    stage_exec(stage, "DELETE FROM fanout_stop");
    script_end(scripts[0]);
    script_end(scripts[1]);
    return id;
}

/* The lease is lost while the next flight is being loaded and marked. */
static void test_lost_while_loading(void **state)
{
    struct stage *stage = stage_new("more_lost");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    script->judge = judge_hold;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until_true(has_held, script);
    stage_until(stage, "SELECT (count(*) = 2)::int FROM fanout_flight");
    /* Both flights are settled in one turn: the first is, after which the claim is another's. */
    trigger_on_first_flight(stage, "UPDATE OF codes", "UPDATE fanout_chunk SET epoch = epoch + 1");
    script->judge = NULL;
    script_answer_all(script, VERDICT_ACCEPTED);
    stage_until(stage, "SELECT count(*) FROM fanout_flight WHERE first = 0 AND codes IS NOT NULL");
    stage_exec(stage, "DROP TRIGGER on_first ON fanout_flight");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 500);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

/* The mark of the second flight learns that the broadcast is over on the channel, while the first
 * one has no connection to leave on. */
static void test_mark_learns_the_end(void **state)
{
    struct stage *stage = stage_new("more_end");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    script->busy = true;
    id = stage_release(stage, false);
    trigger_on_first_flight(stage, "INSERT",
                            "INSERT INTO fanout_halt (broadcast_id, channel, reason)"
                            " VALUES (NEW.broadcast_id, 'fcm', 'x')");
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_REJECTED_PAYLOAD), 500);
    assert_int_equal(script->sent, 0);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

/* The same with a stop: the chunk is given back, and goes on after the resume. */
static void test_mark_learns_the_stop(void **state)
{
    struct stage *stage = stage_new("more_stop");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    script->busy = true;
    id = stage_release(stage, false);
    trigger_on_first_flight(stage, "INSERT",
                            "INSERT INTO fanout_stop (scope, reason, by_name)"
                            " VALUES ('broadcast:' || NEW.broadcast_id, 'x', 'an')");
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_stop");
    stage_until(stage, NOBODY_HOLDS);
    assert_int_equal(script->sent, 0);
    stage_assert_sums(stage);
    stage_exec(stage, "DROP TRIGGER on_first ON fanout_flight");
    script->busy = false;
    stage_exec(stage, "DELETE FROM fanout_stop");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 500);
    assert_int_equal(script->sent, 500);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

/* A mark whose answer was lost commits while its repeat waits for the row: the repeat is refused,
 * although the flight behind it is marked. Nobody gets information twice. */
static void test_mark_meets_its_earlier_run(void **state)
{
    struct stage *stage = stage_new("more_mark");
    struct script_channel *script = script_channel_new("fcm");
    struct db *text, *early;
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    id = release_planned(stage, false);
    text = other_session(stage);
    early = other_session(stage);
    run(text, "BEGIN");
    run(text, "LOCK TABLE broadcast_text IN ACCESS EXCLUSIVE MODE");
    loop = stage_loop_new(stage, "one", &script, 1); /* claims, and waits for the text */
    stage_until(stage, "SELECT count(*) FROM fanout_chunk WHERE lease_owner = 'one'");
    run(early, "BEGIN");
    run(early, "UPDATE fanout_chunk SET next_position = 100");
    run(early, "INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch)"
               " SELECT broadcast_id, chunk_no, 0, 100, epoch FROM fanout_chunk");
    run(text, "COMMIT");
    stage_until(stage,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO fanout_flight%'");
    run(early, "COMMIT");
    stage_until(stage, ALL_FINISHED);
    for (int64_t device = 1; device <= 500; device++)
        assert_int_equal(script_sends(script, device), 1);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 500);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    db_close(text);
    db_close(early);
    script_end(script);
    stage_free(stage);
}

/* The refusal of a forged broadcast cannot be written at first: it is written again, and its chunks
 * are not claimed over and over meanwhile. */
static void test_refusal_is_written_at_last(void **state)
{
    struct stage *stage = stage_new("more_refused");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;

    (void)state;
    stage_devices(stage, "fcm", 100, true);
    release_planned(stage, true);
    stage_exec(stage, "UPDATE broadcast_text SET body = 'Di dời sang tỉnh khác'");
    stage_exec(stage, "CREATE SEQUENCE refusals");
    stage_exec(stage, "CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS"
                      " $$ BEGIN IF nextval('refusals') < 4 THEN RAISE EXCEPTION 'not yet';"
                      " END IF; RETURN NEW; END $$");
    stage_exec(stage, "CREATE TRIGGER refuse_late BEFORE UPDATE OF refused_at ON broadcast"
                      " FOR EACH ROW EXECUTE FUNCTION refuse_late()");
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM broadcast WHERE refused_at IS NOT NULL");
    assert_in_range(stage_i64(stage, "SELECT max(epoch) FROM fanout_chunk"), 1, 4);
    assert_int_equal(script->sent, 0);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

/* A chunk that cannot be read is tried once per lease, not without a pause. */
static void test_broken_chunk_does_not_spin(void **state)
{
    struct stage *stage = stage_new("more_broken");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t since_us;

    (void)state;
    stage_devices(stage, "fcm", 100, true);
    release_planned(stage, true);
    stage_exec(stage, "UPDATE fanout_chunk SET members = '\\x00'");
    since_us = g_get_monotonic_time();
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT (max(epoch) >= 3)::int FROM fanout_chunk");
    assert_true(g_get_monotonic_time() - since_us > 3 * USEC_PER_SEC / 2);
    assert_int_equal(script->sent, 0);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

/* Time does not stand still under a stop: what is over gets its outcome. */
static void test_expiry_under_a_stop(void **state)
{
    struct stage *stage = stage_new("more_stop_expiry");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 300, true);
    stage->life_s = 3;
    stage_exec(stage, "INSERT INTO fanout_stop (scope, reason, by_name)"
                      " VALUES ('channel:fcm', 'x', 'an')");
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_EXPIRED), 300);
    assert_int_equal(script->sent, 0);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

/* No process serves MQTT: its devices end EXPIRED all the same, and the broadcast finishes. */
static void test_expiry_of_a_channel_without_process(void **state)
{
    struct stage *stage = stage_new("more_orphan");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage->settings->deliver_lease_ms = 500;
    stage_devices(stage, "fcm", 100, true);
    stage_devices(stage, "mqtt", 200, false);
    stage->life_s = 3;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 100);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_EXPIRED), 200);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

static bool polled_cancel(void *user)
{
    return metric_get(METRIC_DB_QUERIES, NULL) > *(const double *)user + 20;
}

/* The broadcast is cancelled while the heir asks what the dead process left: its uncertain flights
 * are settled at once, and the correction need not wait for another lease. */
static void test_cancel_during_takeover(void **state)
{
    struct stage *stage = stage_new("more_take_cancel");
    struct script_channel *dead = script_channel_new("fcm"), *heir = script_channel_new("fcm");
    struct stage_loop *first, *second;
    struct db *lock;
    double lost, queries;
    int64_t id, correction;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    dead->judge = judge_hold;
    id = stage_release(stage, true);
    first = stage_loop_new(stage, "first", &dead, 1);
    stage_until_true(has_held, dead);
    stage_until(stage, "SELECT (count(*) = 2)::int FROM fanout_flight");
    stage_loop_kill(first);
    lost = metric_get(METRIC_LEASES_LOST, "fcm");
    lock = other_session(stage);
    run(lock, "BEGIN");
    run(lock, "SELECT FROM fanout_flight FOR UPDATE");
    second = stage_loop_new(stage, "second", &heir, 1);
    stage_until(stage, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                       " AND wait_event_type = 'Lock' AND query LIKE '%uncertain = uncertain%'");
    correction = stage_cancel(stage, id);
    queries = metric_get(METRIC_DB_QUERIES, NULL);
    stage_until_true(polled_cancel, &queries);
    run(lock, "COMMIT");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_UNKNOWN_SENT), 200);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_CANCELLED), 300);
    assert_int_equal(stage_outcomes(stage, correction, OUTCOME_ACCEPTED), 500);
    assert_true(metric_get(METRIC_LEASES_LOST, "fcm") == lost);
    stage_assert_sums(stage);
    stage_loop_kill(second);
    db_close(lock);
    script_end(dead);
    script_end(heir);
    stage_free(stage);
}

/* A retry of an emergency was out when its process died: whatever ends the wait, it may have
 * arrived. */
static void test_retry_of_the_dead_may_have_arrived(void **state)
{
    struct stage *stage = stage_new("more_take_retry");
    struct script_channel *dead = script_channel_new("fcm"), *heir = script_channel_new("fcm");
    struct stage_loop *first, *second;
    int64_t id, out;

    (void)state;
    stage_devices(stage, "fcm", 50, true);
    dead->judge = judge_retry_hangs;
    id = stage_release(stage, true);
    first = stage_loop_new(stage, "first", &dead, 1);
    stage_until_true(has_held, dead);
    out = stage_i64(stage, "SELECT count(*) FROM fanout_retry WHERE flying_epoch IS NOT NULL");
    assert_true(out > 0);
    stage_loop_kill(first);
    heir->busy = true;
    second = stage_loop_new(stage, "second", &heir, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_chunk WHERE lease_owner = 'second'");
    stage_until(stage, "SELECT count(*) FROM fanout_flight WHERE uncertain > 0");
    stage_cancel(stage, id);
    stage_until(stage, "SELECT count(*) FROM broadcast"
                       " WHERE state = 'cancelled' AND finished_at IS NOT NULL");
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_UNKNOWN_SENT), out);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_CANCELLED), 50 - out);
    stage_assert_sums(stage);
    stage_loop_kill(second);
    script_end(dead);
    script_end(heir);
    stage_free(stage);
}

static void drained(void *user)
{
    *(bool *)user = true;
}

static bool is_set(void *user)
{
    return *(const bool *)user;
}

/* Drained while statements of every kind are out: the rest goes to another process. */
static void test_drain_hands_over(void **state)
{
    struct stage *stage = stage_new("more_drain");
    struct script_channel *one = script_channel_new("fcm"), *two = script_channel_new("fcm");
    struct stage_loop *first, *second;
    bool done = false;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 3000, true);
    one->judge = judge_hold;
    id = stage_release(stage, false);
    first = stage_loop_new(stage, "first", &one, 1);
    stage_until_true(has_held, one);
    fanout_drain(first->fanout, drained, &done);
    one->judge = NULL;
    script_answer_all(one, VERDICT_ACCEPTED);
    stage_until_true(is_set, &done);
    assert_int_equal(stage_i64(stage, NOBODY_HOLDS), 1);
    stage_assert_sums(stage);
    stage_loop_kill(first);
    second = stage_loop_new(stage, "second", &two, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 3000);
    assert_int_equal(one->sent + two->sent, 3000);
    stage_assert_sums(stage);
    stage_loop_kill(second);
    script_end(one);
    script_end(two);
    stage_free(stage);
}

/* As the real channels do: what is out is answered while the channel is freed. */
static void free_and_answer(struct channel *channel)
{
    static const struct verdict lost = {.kind = VERDICT_UNKNOWN, .reason = "connection_freed"};
    struct script_channel *script = (struct script_channel *)channel;
    const struct channel_ops *ops = script->user;

    for (guint i = 0; i < script->held->len; i++) {
        struct push *push = script->held->pdata[i];
        push->done(push, &lost);
    }
    ops->free(channel);
}

/* A second signal: the process ends with requests out, in the order of loa deliver. */
static void test_channels_are_freed_first(void **state)
{
    struct stage *stage = stage_new("more_free");
    struct script_channel *script = script_channel_new("fcm"), *heir = script_channel_new("fcm");
    struct channel_ops ops = *script->channel.ops;
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    script->user = (void *)(uintptr_t)script->channel.ops;
    ops.free = free_and_answer;
    script->channel.ops = &ops;
    script->judge = judge_hold;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until_true(has_held, script);
    stage_until(stage, "SELECT (count(*) = 2)::int FROM fanout_flight");
    script_end(script);
    stage_loop_kill(loop);
    loop = stage_loop_new(stage, "two", &heir, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 500);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(heir);
    stage_free(stage);
}

/* The connections to the database are cut again and again: statements of unknown fate are repeated,
 * and nobody gets information twice. */
static void test_cut_connections(void **state)
{
    struct stage *stage = stage_new("more_cut");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id, cut = 0;

    (void)state;
    stage_devices(stage, "fcm", 3000, true);
    script->room = 20;
    stage->settings->fcm_quota_per_minute = 60000;
    id = stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    while (stage_i64(stage, ALL_FINISHED) == 0 && cut < 12) {
        uint64_t sent = script->sent;
        for (int i = 0; i < 400 && script->sent == sent; i++)
            g_main_context_iteration(NULL, false);
        stage_exec(stage, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                          " WHERE datname = current_database() AND pid <> pg_backend_pid()");
        cut++;
        stage_assert_sums(stage);
    }
    stage_until(stage, ALL_FINISHED);
    assert_in_range(cut, 3, 12);
    for (int64_t device = 1; device <= 3000; device++)
        assert_in_range(script_sends(script, device), 0, 1);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED) +
                         stage_outcomes(stage, id, OUTCOME_UNKNOWN_SENT),
                     3000);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script_end(script);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_while_loading),
        cmocka_unit_test(test_mark_learns_the_end),
        cmocka_unit_test(test_mark_learns_the_stop),
        cmocka_unit_test(test_mark_meets_its_earlier_run),
        cmocka_unit_test(test_refusal_is_written_at_last),
        cmocka_unit_test(test_broken_chunk_does_not_spin),
        cmocka_unit_test(test_expiry_under_a_stop),
        cmocka_unit_test(test_expiry_of_a_channel_without_process),
        cmocka_unit_test(test_cancel_during_takeover),
        cmocka_unit_test(test_retry_of_the_dead_may_have_arrived),
        cmocka_unit_test(test_drain_hands_over),
        cmocka_unit_test(test_channels_are_freed_first),
        cmocka_unit_test(test_cut_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
