/* lib: loa_engine loa_teststage */
/* The delivery loop against a real PostgreSQL and a scripted provider: every member ends in one
 * named outcome, whatever the provider answers and whoever dies. */
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

/* ---- judges ---- */

static bool judge_mixed(struct script_channel *self, const struct push *push, struct verdict *out)
{
    static const enum verdict_kind by_id[10] = {[3] = VERDICT_DEAD_TOKEN, [7] = VERDICT_UNKNOWN};

    (void)self;
    out->kind = by_id[push->device_id % 10];
    return true;
}

static bool judge_hold(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)push;
    (void)out;
    return false;
}

static bool judge_transient_once(struct script_channel *self, const struct push *push,
                                 struct verdict *out)
{
    if (script_sends(self, push->device_id) == 1) {
        out->kind = VERDICT_TRANSIENT;
        out->retry_after_ms = 200;
    }
    return true;
}

static bool judge_payload(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    (void)push;
    out->kind = VERDICT_REJECTED_PAYLOAD;
    return true;
}

static bool judge_config(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)push;
    if (self->user == NULL)
        out->kind = VERDICT_REJECTED_CONFIG;
    return true;
}

static bool has_held(void *user)
{
    return ((struct script_channel *)user)->held->len > 0;
}

static bool has_lost_its_lease(void *user)
{
    (void)user;
    return metric_get(METRIC_LEASES_LOST, "fcm") > 0;
}

/* ---- tests ---- */

static void test_everybody_once(void **state)
{
    struct stage *stage = stage_new("fanout_once");
    struct script_channel *scripts[] = {script_channel_new("fcm"), script_channel_new("apns")};
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 3000, true);
    stage_devices(stage, "apns", 1500, false);
    stage_exec(stage, "UPDATE device SET apns_environment = 'sandbox'"
                      " WHERE channel = 'apns' AND id % 10 = 0");
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", scripts, 2);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 4500);
    assert_int_equal(scripts[0]->sent + scripts[1]->sent, 4500);
    assert_int_equal(g_hash_table_size(scripts[0]->sends), 3000);
    /* Three lanes of APNs: unproven, sandbox; what was accepted is proven now. */
    assert_int_equal(stage_i64(stage, "SELECT count(DISTINCT lane) FROM fanout_chunk"), 3);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE proven_at IS NULL"), 0);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    scripts[0]->channel.ops->free(&scripts[0]->channel);
    scripts[1]->channel.ops->free(&scripts[1]->channel);
    stage_free(stage);
}

static void test_outcomes_by_verdict(void **state)
{
    struct stage *stage = stage_new("fanout_verdicts");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 1000, true);
    stage_exec(stage, "UPDATE device SET last_seen_at = now() - interval '300 days' WHERE id = 1");
    script->judge = judge_mixed;
    id = stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 799);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_DEAD_TOKEN), 100);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_UNKNOWN_SENT), 100);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_SUPPRESSED_STALE), 1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'none'"
                                      " AND retired_reason = 'dead_token'"),
                     100);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

static void test_retry_then_accepted(void **state)
{
    struct stage *stage = stage_new("fanout_retry");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 500, true);
    script->judge = judge_transient_once;
    id = stage_release(stage, false);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_retry");
    stage_assert_sums(stage);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 500);
    assert_int_equal(script->sent, 1000);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_retry"), 0);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

/* A process dies with two flights per chunk out; another takes over after the lease. */
static void takeover(bool emergency)
{
    struct stage *stage = stage_new(emergency ? "fanout_take_e" : "fanout_take_i");
    struct script_channel *dead = script_channel_new("fcm"), *heir = script_channel_new("fcm");
    struct stage_loop *first, *second;
    int64_t id, uncertain, repeats = 0;

    stage_devices(stage, "fcm", 1000, true);
    dead->judge = judge_hold;
    id = stage_release(stage, emergency);
    first = stage_loop_new(stage, "first", &dead, 1);
    stage_until_true(has_held, dead);
    stage_loop_kill(first);
    second = stage_loop_new(stage, "second", &heir, 1);
    stage_until(stage, ALL_FINISHED);
    uncertain =
        stage_i64(stage, "SELECT coalesce(sum(size), 0) FROM fanout_flight WHERE uncertain > 0");
    assert_in_range(uncertain, 1, 200);
    for (int64_t device = 1; device <= 1000; device++)
        repeats += script_sends(dead, device) + script_sends(heir, device) > 1;
    if (emergency) { /* sent again: nobody is left unwarned */
        assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 1000);
        assert_in_range(repeats, 1, uncertain);
    } else { /* never twice */
        assert_int_equal(stage_outcomes(stage, id, OUTCOME_UNKNOWN_SENT), uncertain);
        assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 1000 - uncertain);
        assert_int_equal(repeats, 0);
    }
    stage_assert_sums(stage);
    stage_loop_kill(second);
    dead->channel.ops->free(&dead->channel);
    heir->channel.ops->free(&heir->channel);
    stage_free(stage);
}

static void test_takeover_emergency(void **state)
{
    (void)state;
    takeover(true);
}

static void test_takeover_information(void **state)
{
    (void)state;
    takeover(false);
}

/* A claimer that was frozen past its lease: what it writes afterwards is refused. */
static void test_late_writes_are_refused(void **state)
{
    struct stage *stage = stage_new("fanout_late");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 300, true);
    script->judge = judge_hold;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "frozen", &script, 1);
    stage_until_true(has_held, script);
    /* Somebody else has claimed every chunk meanwhile. */
    stage_exec(stage, "UPDATE fanout_chunk SET epoch = epoch + 1, lease_owner = 'other',"
                      " lease_until = now() + interval '1 hour'");
    script->judge = NULL;
    script_answer_all(script, VERDICT_ACCEPTED);
    stage_until_true(has_lost_its_lease, NULL);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 0);
    stage_exec(stage, "UPDATE fanout_chunk SET lease_until = now()");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 300);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

static void test_payload_refused_ends_the_broadcast_there(void **state)
{
    struct stage *stage = stage_new("fanout_payload");
    struct script_channel *scripts[] = {script_channel_new("fcm"), script_channel_new("apns")};
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 2000, true);
    stage_devices(stage, "apns", 300, true);
    scripts[0]->judge = judge_payload;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", scripts, 2);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_REJECTED_PAYLOAD), 2000);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 300);
    assert_in_range(scripts[0]->sent, 1, 200); /* stopped early */
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_halt"), 1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'none'"), 0);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    scripts[0]->channel.ops->free(&scripts[0]->channel);
    scripts[1]->channel.ops->free(&scripts[1]->channel);
    stage_free(stage);
}

/* Refused credentials stop the channel; nobody is lost: after the operator's resume all are sent.
 */
static void test_config_refused_stops_the_channel(void **state)
{
    struct stage *stage = stage_new("fanout_config");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 1000, true);
    script->judge = judge_config;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_stop WHERE scope = 'channel:fcm'");
    stage_until(stage,
                "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE lease_owner IS NOT NULL");
    assert_in_range(script->sent, 1, 300);
    stage_assert_sums(stage);
    script->user = script; /* mended */
    stage_exec(stage, "UPDATE fanout_retry SET next_at = now()");
    stage_exec(stage, "UPDATE fanout_chunk SET due_at = now()");
    stage_exec(stage, "DELETE FROM fanout_stop");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 1000);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

static void test_stop_and_resume(void **state)
{
    struct stage *stage = stage_new("fanout_stop");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    uint64_t sent;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 2000, true);
    script->judge = judge_hold;
    id = stage_release(stage, false);
    stage_exec(stage, "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('all', 'x', 'an')");
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_plan WHERE done");
    assert_int_equal(script->sent, 0);
    stage_exec(stage, "DELETE FROM fanout_stop");
    stage_until_true(has_held, script);
    stage_exec(stage, "INSERT INTO fanout_stop (scope, reason, by_name)"
                      " SELECT 'broadcast:' || id, 'x', 'an' FROM broadcast");
    script->judge = NULL;
    script_answer_all(script, VERDICT_ACCEPTED);
    stage_until(stage,
                "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE lease_owner IS NOT NULL");
    sent = script->sent;
    assert_in_range(sent, 1, 1999);
    stage_assert_sums(stage);
    stage_exec(stage, "DELETE FROM fanout_stop");
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 2000);
    assert_int_equal(script->sent, 2000);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

/* The correction goes to exactly the frozen members, after each chunk's flights have settled. */
static void test_cancel(void **state)
{
    struct stage *stage = stage_new("fanout_cancel");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id, correction;

    (void)state;
    stage_devices(stage, "fcm", 1500, true);
    script->judge = judge_hold;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, "SELECT count(*) FROM fanout_plan WHERE done");
    stage_until_true(has_held, script);
    correction = stage_cancel(stage, id);
    stage_devices(stage, "fcm", 10, true); /* came later: not corrected */
    stage_until(stage, "SELECT count(*) FROM broadcast WHERE state = 'cancelled'");
    assert_int_equal(stage_i64(stage, "SELECT coalesce(sum(next_position), 0) FROM fanout_chunk c"
                                      " JOIN broadcast b ON b.id = c.broadcast_id"
                                      " WHERE b.message_type = 'cancel'"),
                     0); /* waits: a flight of the original is out */
    script->judge = NULL;
    script_answer_all(script, VERDICT_ACCEPTED);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED) +
                         stage_outcomes(stage, id, OUTCOME_CANCELLED),
                     1500);
    assert_true(stage_outcomes(stage, id, OUTCOME_CANCELLED) > 0);
    assert_int_equal(stage_outcomes(stage, correction, OUTCOME_ACCEPTED), 1500);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

/* The provider cannot be reached until the alert is over. */
static void test_expiry(void **state)
{
    struct stage *stage = stage_new("fanout_expiry");
    struct script_channel *script = script_channel_new("fcm");
    struct stage_loop *loop;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 700, true);
    stage->life_s = 3;
    script->busy = true;
    id = stage_release(stage, true);
    loop = stage_loop_new(stage, "one", &script, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(script->sent, 0);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_EXPIRED), 700);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    script->channel.ops->free(&script->channel);
    stage_free(stage);
}

/* A row that somebody inserted or changed warns nobody, and raises an alarm. */
static void test_forged_row_sends_nothing(void **state)
{
    static const char *const forgeries[] = {
        "UPDATE broadcast_text SET body = 'Di dời sang tỉnh khác'",
        "UPDATE broadcast SET expires_at = expires_at + interval '1 day'",
        "UPDATE broadcast SET area_scope = 'communes', communes = '{01273}'",
        "UPDATE broadcast SET release_signature = decode(repeat('00', 64), 'hex')",
        "UPDATE broadcast SET release_signature = NULL",
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(forgeries); i++) {
        g_autofree char *name = g_strdup_printf("fanout_forged_%zu", i);
        struct stage *stage = stage_new(name);
        struct script_channel *script = script_channel_new("fcm");
        struct stage_loop *loop;

        stage_devices(stage, "fcm", 100, true);
        stage_release(stage, true);
        stage_exec(stage, forgeries[i]);
        loop = stage_loop_new(stage, "one", &script, 1);
        stage_until(stage, "SELECT count(*) FROM audit WHERE act = 'broadcast_refused'");
        assert_int_equal(stage_i64(stage, "SELECT count(*) FROM broadcast"
                                          " WHERE refused_at IS NOT NULL"),
                         1);
        assert_int_equal(script->sent, 0);
        assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_chunk"), 0);
        stage_loop_kill(loop);
        script->channel.ops->free(&script->channel);
        stage_free(stage);
    }
}

/* A process without the right public key refuses alone: it does not silence the others. */
static void test_one_process_without_the_key(void **state)
{
    struct stage *stage = stage_new("fanout_keyless");
    struct script_channel *a = script_channel_new("fcm"), *b = script_channel_new("fcm");
    struct release_keys *right = stage->keys, *wrong;
    uint8_t other[1][ED25519_KEY_LEN] = {{1}};
    struct stage_loop *keyless, *good;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 3000, true);
    wrong = release_keys_new((const uint8_t(*)[ED25519_KEY_LEN])other, 1);
    stage->keys = wrong;
    keyless = stage_loop_new(stage, "keyless", &a, 1);
    stage->keys = right;
    id = stage_release(stage, true);
    stage_until(stage, "SELECT count(*) FROM audit WHERE act = 'broadcast_refused'");
    good = stage_loop_new(stage, "good", &b, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(a->sent, 0);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 3000);
    stage_assert_sums(stage);
    stage_loop_kill(keyless);
    stage_loop_kill(good);
    release_keys_free(wrong);
    a->channel.ops->free(&a->channel);
    b->channel.ops->free(&b->channel);
    stage_free(stage);
}

/* Two processes share one broadcast; nobody gets it twice. */
static void test_two_processes(void **state)
{
    struct stage *stage = stage_new("fanout_two");
    struct script_channel *a = script_channel_new("fcm"), *b = script_channel_new("fcm");
    struct stage_loop *one, *two;
    int64_t id;

    (void)state;
    stage_devices(stage, "fcm", 60000, true);
    stage->settings->deliver_chunks_per_lane = 1;
    stage->settings->deliver_flight_size = 1000;
    id = stage_release(stage, false);
    stage->settings->fcm_quota_per_minute = 100000000;
    one = stage_loop_new(stage, "one", &a, 1);
    two = stage_loop_new(stage, "two", &b, 1);
    stage_until(stage, ALL_FINISHED);
    assert_int_equal(stage_outcomes(stage, id, OUTCOME_ACCEPTED), 60000);
    assert_int_equal(a->sent + b->sent, 60000);
    assert_true(a->sent > 0 && b->sent > 0);
    for (int64_t device = 1; device <= 60000; device++)
        assert_int_equal(script_sends(a, device) + script_sends(b, device), 1);
    stage_assert_sums(stage);
    stage_loop_kill(one);
    stage_loop_kill(two);
    a->channel.ops->free(&a->channel);
    b->channel.ops->free(&b->channel);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_once),
        cmocka_unit_test(test_outcomes_by_verdict),
        cmocka_unit_test(test_retry_then_accepted),
        cmocka_unit_test(test_takeover_emergency),
        cmocka_unit_test(test_takeover_information),
        cmocka_unit_test(test_late_writes_are_refused),
        cmocka_unit_test(test_payload_refused_ends_the_broadcast_there),
        cmocka_unit_test(test_config_refused_stops_the_channel),
        cmocka_unit_test(test_stop_and_resume),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_forged_row_sends_nothing),
        cmocka_unit_test(test_one_process_without_the_key),
        cmocka_unit_test(test_two_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
