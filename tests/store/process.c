/* lib: loa_engine loa_teststage */
/* The table of living processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/process_store.h"
#include "tests/support/stage.h"

static void test_beat_and_leave(void **state)
{
    static const char *const channels[] = {"fcm", "apns", NULL};
    struct stage *stage = *state;
    struct process_self self, other;
    g_autoptr(GError) error = NULL;

    process_self_init(&self, "deliver", channels);
    process_self_init(&other, "api", NULL);
    assert_string_not_equal(self.id, other.id);
    assert_true(process_beat(stage->db, &self, &error));
    assert_true(process_beat(stage->db, &other, &error));
    stage_exec(stage, "UPDATE process SET seen_at = now() - interval '1 minute'");
    assert_true(process_beat(stage->db, &self, &error));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM process"), 2);
    assert_int_equal(stage_i64(stage,
                               "SELECT count(*) FROM process WHERE role = 'deliver' AND "
                               "channels = '{fcm,apns}' AND seen_at > now() - interval '9 s'"),
                     1);
    /* Rows silent for an hour are swept by whoever beats. */
    stage_exec(stage, "UPDATE process SET seen_at = now() - interval '2 hours' WHERE role = 'api'");
    assert_true(process_beat(stage->db, &self, &error));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM process"), 1);
    assert_true(process_leave(stage->db, &self, &error));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM process"), 0);
}

static void count_answer(PGresult *res, const GError *error, void *user)
{
    (void)res;
    assert_null(error);
    (*(int *)user)++;
}

static bool answered(void *user)
{
    return *(int *)user == 1;
}

static void test_async(void **state)
{
    struct stage *stage = *state;
    loa_auto(db_async) db = db_async_new(stage->conninfo, 10, clock_system());
    struct process_self self;
    int answers = 0;

    process_self_init(&self, "mqtt", NULL);
    process_beat_async(db, &self, count_answer, &answers);
    stage_until_true(answered, &answers);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM process WHERE role = 'mqtt'"), 1);
    answers = 0;
    process_leave_async(db, &self, count_answer, &answers);
    stage_until_true(answered, &answers);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM process"), 0);
}

static int setup(void **state)
{
    *state = stage_new("process");
    return 0;
}

static int teardown(void **state)
{
    stage_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beat_and_leave),
        cmocka_unit_test(test_async),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
