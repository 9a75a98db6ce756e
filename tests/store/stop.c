/* lib: loa_engine loa_teststage */
/* Stop switches and the progress that people watch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/audit_store.h"
#include "engine/progress_store.h"
#include "engine/stop_store.h"
#include "tests/support/stage.h"

static struct stage *stage;

static int set_up(void **state)
{
    (void)state;
    stage = stage_new("stop");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_free(stage);
    return 0;
}

static void test_stop_and_resume(void **state)
{
    g_autoptr(GPtrArray) stops = NULL;
    g_autoptr(GPtrArray) history = NULL;
    bool changed = false;

    (void)state;
    assert_true(stop_store_stop(stage->db, stage->creator, "channel:fcm", "lỗi", &changed, NULL));
    assert_true(changed);
    assert_true(stop_store_stop(stage->db, stage->approver, "channel:fcm", "x", &changed, NULL));
    assert_false(changed); /* the first reason stands */
    stops = stop_store_list(stage->db, NULL);
    assert_int_equal(stops->len, 1);
    assert_string_equal(((struct stop *)stops->pdata[0])->reason, "lỗi");
    assert_string_equal(((struct stop *)stops->pdata[0])->by_name, "an");
    assert_true(
        stop_store_resume(stage->db, stage->approver, "channel:fcm", "xong", &changed, NULL));
    assert_true(changed);
    assert_true(stop_store_resume(stage->db, stage->approver, "channel:fcm", "y", &changed, NULL));
    assert_false(changed);
    history = audit_store_history(stage->db, "channel:fcm", NULL);
    assert_int_equal(history->len, 2);
    assert_string_equal(((struct audit_row *)history->pdata[0])->act, "sending_stopped");
    assert_string_equal(((struct audit_row *)history->pdata[1])->act, "sending_resumed");
}

static void test_scopes(void **state)
{
    g_autoptr(GError) error = NULL;
    bool changed;

    (void)state;
    assert_false(
        stop_store_stop(stage->db, stage->creator, "broadcast:999", "x", &changed, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
    g_clear_error(&error);
    assert_false(stop_store_stop(stage->db, stage->creator, "channel:sms", "x", &changed, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    g_clear_error(&error);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_stop"), 0);
    /* The failed act left no open transaction behind. */
    assert_true(stop_store_stop(stage->db, stage->creator, "all", "x", &changed, NULL));
    assert_true(stop_store_resume(stage->db, stage->creator, "all", "x", &changed, NULL));
}

static const struct progress_channel *channel(const struct progress *p, const char *name)
{
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        if (strcmp(p->channels[i].name, name) == 0)
            return &p->channels[i];
    fail_msg("no channel %s", name);
    return NULL;
}

static void exec_id(const char *template, int64_t id)
{
    g_autoptr(GString) sql = g_string_new(template);
    g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, id);

    g_string_replace(sql, "$1", number, 0);
    stage_exec(stage, sql->str);
}

static void test_progress_is_derived(void **state)
{
    int64_t id;
    loa_auto(progress) p = NULL;
    const struct progress_channel *c;
    bool changed;

    (void)state;
    stage_devices(stage, "fcm", 12, true);
    id = stage_release(stage, true);
    p = progress_new(id);
    assert_true(progress_store_read(stage->db, p, true, NULL));
    assert_false(p->planned || p->finished);
    assert_int_equal(channel(p, "fcm")->targeted, 0);
    /* A done chunk of 4, an open one of 8: 3 settled, 2 out, 3 not sent. */
    exec_id("INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority, members,"
            " member_count, next_position, state) VALUES"
            " ($1, 0, 'fcm', 0, 0, '\\x01010101', 4, 4, 'done'),"
            " ($1, 1, 'fcm', 0, 0, '\\x0501010101010101', 8, 5, 'open')",
            id);
    exec_id("INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch, codes) VALUES"
            " ($1, 0, 0, 4, 1, '\\x01010201'), ($1, 1, 0, 3, 1, '\\x012010'),"
            " ($1, 1, 3, 2, 1, NULL)",
            id);
    exec_id("INSERT INTO fanout_retry (broadcast_id, device_id, chunk_no, position, attempt,"
            " first_at, next_at, if_expired, reason) VALUES ($1, 6, 1, 1, 1, now(), now(), 6, 'x')",
            id);
    exec_id("INSERT INTO receipt (broadcast_id, device_id, shown_at, opened_at, channel) VALUES"
            " ($1, 1, now(), now(), 'fcm'), ($1, 2, now(), NULL, 'fcm')",
            id);
    assert_true(progress_store_read(stage->db, p, true, NULL));
    c = channel(p, "fcm");
    assert_int_equal(c->targeted, 12);
    assert_int_equal(c->not_sent, 3);
    assert_int_equal(c->sending, 2);
    assert_int_equal(outcome_tally_name(&c->tally, "ACCEPTED"), 4);
    assert_int_equal(outcome_tally_name(&c->tally, "DEAD_TOKEN"), 1);
    assert_int_equal(outcome_tally_name(&c->tally, "SUPPRESSED"), 1);
    assert_int_equal(c->tally.by_byte[OUTCOME_RETRY], 1);
    assert_int_equal(progress_unaccounted(c), 0);
    assert_int_equal(p->shown, 2);
    assert_int_equal(channel(p, "fcm")->shown, 2);
    assert_int_equal(channel(p, "fcm")->opened, 1);
    stage_assert_sums(stage);
    /* The done chunk is counted once, however often it is read; receipts are kept when skipped. */
    exec_id("UPDATE fanout_flight SET codes = '\\x0101' WHERE broadcast_id = $1 AND codes IS NULL",
            id);
    assert_true(stop_store_stop(stage->db, stage->creator, "all", "dừng", &changed, NULL));
    exec_id("INSERT INTO fanout_halt VALUES ($1, 'fcm', 'INVALID_ARGUMENT', now())", id);
    assert_true(progress_store_read(stage->db, p, false, NULL));
    c = channel(p, "fcm");
    assert_int_equal(c->targeted, 12);
    assert_int_equal(c->sending, 0);
    assert_int_equal(outcome_tally_name(&c->tally, "ACCEPTED"), 6);
    assert_int_equal(c->shown, 2);
    assert_string_equal(c->stopped, "dừng");
    assert_string_equal(c->halted, "INVALID_ARGUMENT");
    assert_string_equal(channel(p, "apns")->stopped, "dừng");
    assert_null(channel(p, "apns")->halted);
    assert_true(stop_store_resume(stage->db, stage->creator, "all", "x", &changed, NULL));
    /* A byte that is no outcome is not swallowed. */
    exec_id("UPDATE fanout_flight SET codes = '\\x0199' WHERE broadcast_id = $1 AND first = 3", id);
    assert_true(progress_store_read(stage->db, p, false, NULL));
    assert_int_equal(progress_unaccounted(channel(p, "fcm")), 1);
    assert_null(channel(p, "fcm")->stopped);
}

static void test_progress_of_nothing(void **state)
{
    loa_auto(progress) p = progress_new(999999);
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(progress_store_read(stage->db, p, true, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_and_resume),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_progress_is_derived),
        cmocka_unit_test(test_progress_of_nothing),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
