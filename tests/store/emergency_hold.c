/* lib: loa_engine loa_teststage */
/* How long an emergency keeps its place at APNs: whom it holds, and until when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/stage.h"

static struct stage *stage;

static int set_up(void **state)
{
    (void)state;
    stage = stage_new("emergency_hold");
    stage_exec(stage, "INSERT INTO commune VALUES ('01273', 'A'), ('01279', 'B')");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_free(stage);
    return 0;
}

/* Seconds from now until the hold of a commune (SQL text) can be over; -1 = no hold. */
static int64_t hold_s(const char *commune)
{
    g_autofree char *sql =
        g_strdup_printf("SELECT coalesce(ceil(extract(epoch FROM emergency_hold_until(%s)"
                        " - now()))::bigint, -1)",
                        commune);

    return stage_i64(stage, sql);
}

static void test_none(void **state)
{
    (void)state;
    assert_int_equal(hold_s("'01273'"), -1);
    stage_release(stage, false);
    assert_int_equal(hold_s("'01273'"), -1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM emergency_live()"), 0);
}

/* What makes a broadcast an emergency, and what ends it: each change alone ends the hold. */
static void test_only_emergencies(void **state)
{
    static const char *const changes[] = {
        "realm = 'exercise'",
        "realm = 'test'",
        "kind = 'THONG_TIN'",
        "level = 'uu_tien'",
        "state = 'draft', released_at = NULL",
        "expires_at = now()",
        "finished_at = now() - interval '60 minutes'",
        "refused_at = now()", /* forged: verified by nobody, so it has no chunk */
    };

    (void)state;
    stage_release(stage, true);
    assert_true(hold_s("'01273'") > 0);
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *sql = g_strdup_printf("UPDATE broadcast SET %s", changes[i]);
        assert_true(db_begin(stage->db, NULL));
        stage_exec(stage, sql);
        if (hold_s("'01273'") != -1)
            fail_msg("%s: still held", changes[i]);
        db_rollback(stage->db);
    }
}

/* One process without the key refuses what the others send: it is live. */
static void test_refused_by_one(void **state)
{
    int64_t id;
    g_autofree char *chunk = NULL;

    (void)state;
    id = stage_release(stage, true);
    chunk = g_strdup_printf("INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane,"
                            " priority, members, member_count)"
                            " VALUES (%" G_GINT64_FORMAT ", 0, 'apns', 0, 0, '\\x01', 1)",
                            id);
    stage_exec(stage, chunk);
    stage_exec(stage, "UPDATE broadcast SET refused_at = now()");
    assert_true(hold_s("NULL") > 0);
}

/* The earlier of its expiry and 60 minutes after its last send. */
static void test_until(void **state)
{
    (void)state;
    stage->life_s = 7200;
    stage_release(stage, true);
    assert_in_range(hold_s("'01273'"), 3599, 3600); /* still being sent */
    stage_exec(stage, "UPDATE broadcast SET finished_at = now() - interval '20 minutes'");
    assert_in_range(hold_s("'01273'"), 2395, 2400);
    stage_exec(stage, "UPDATE broadcast SET expires_at = now() + interval '10 minutes'");
    assert_in_range(hold_s("'01273'"), 595, 600);
    stage_exec(stage, "UPDATE broadcast SET finished_at = NULL");
    assert_in_range(hold_s("'01273'"), 595, 600);
}

/* Of several, the last to end. */
static void test_area(void **state)
{
    (void)state;
    stage->life_s = 7200;
    stage_release(stage, true);
    assert_true(hold_s("NULL") > 0);
    stage_exec(stage, "UPDATE broadcast SET area_scope = 'communes', communes = '{01273}',"
                      " finished_at = now()");
    assert_true(hold_s("'01273'") > 0);
    assert_int_equal(hold_s("'01279'"), -1);
    assert_int_equal(hold_s("NULL"), -1);
    stage_release(stage, true);
    stage_exec(stage, "UPDATE broadcast SET finished_at = now() - interval '30 minutes'"
                      " WHERE area_scope = 'toan_tinh'");
    assert_in_range(hold_s("'01273'"), 3595, 3600);
    assert_in_range(hold_s("'01279'"), 1795, 1800);
    assert_in_range(hold_s("NULL"), 1795, 1800);
}

/* The correction takes the alert's place on the phone and must not be displaced either. */
static void test_correction(void **state)
{
    int64_t id;

    (void)state;
    id = stage_release(stage, true);
    stage_cancel(stage, id);
    stage_exec(stage, "UPDATE broadcast SET finished_at = now() - interval '2 hours'"
                      " WHERE message_type = 'alert'");
    assert_true(hold_s("'01273'") > 0);
    stage_exec(stage, "UPDATE broadcast SET finished_at = now() - interval '2 hours'");
    assert_int_equal(hold_s("'01273'"), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_none), TEST(test_only_emergencies), TEST(test_refused_by_one), TEST(test_until),
        TEST(test_area), TEST(test_correction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
