/* lib: loa_engine loa_teststage */
/* Each invariant of sql/checks notices what it is for, and is silent otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/checks.h"
#include "engine/outcome.h"
#include "tests/support/stage.h"

#define CHECKS LOA_SOURCE_DIR "/sql/checks"

static struct stage *stage;
static int64_t original, correction;

/* One broadcast with a done and an open chunk, a correction of another one, receipts, outbox. */
static int set_up(void **state)
{
    (void)state;
    stage = stage_new("checks");
    stage_devices(stage, "fcm", 12, true);
    original = stage_release(stage, true);
    stage_exec(
        stage,
        "INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority, members,"
        " member_count, next_position, state) SELECT id, 0, 'fcm', 0, 0, '\\x01010101'::bytea,"
        " 4, 4, 'done' FROM broadcast UNION ALL SELECT id, 1, 'fcm', 1, 0,"
        " '\\x0501010101010101', 8, 5, 'open' FROM broadcast");
    stage_exec(stage,
               "INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch, codes)"
               " SELECT id, 0, 0, 4, 1, '\\x01010201'::bytea FROM broadcast"
               " UNION ALL SELECT id, 1, 0, 3, 1, '\\x012010' FROM broadcast"
               " UNION ALL SELECT id, 1, 3, 2, 1, NULL FROM broadcast");
    stage_exec(stage, "INSERT INTO fanout_retry (broadcast_id, device_id, chunk_no, position,"
                      " attempt, first_at, next_at, if_expired, reason)"
                      " SELECT id, 6, 1, 1, 1, now(), now(), 6, 'x' FROM broadcast");
    stage_exec(stage, "INSERT INTO receipt SELECT id, 1, now(), NULL FROM broadcast");
    stage_exec(stage, "INSERT INTO notification (dedupe_key, device_id, title, body, expires_at)"
                      " VALUES ('a', 1, 't', 'b', now() + interval '1 h')");
    stage_exec(stage, "INSERT INTO notification_push (notification_id, device_id, channel, state,"
                      " priority, expires_at)"
                      " SELECT id, 1, 'fcm', 'ACCEPTED', 5, expires_at FROM notification");
    stage_exec(stage, "INSERT INTO notification_end SELECT id, 'done' FROM notification");
    correction = stage_cancel(stage, original);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_free(stage);
    return 0;
}

static GPtrArray *run(void)
{
    GPtrArray *faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    if (!checks_run(stage->db, CHECKS, faults, &error))
        fail_msg("%s", error->message);
    return faults;
}

static void test_silent_when_all_is_well(void **state)
{
    g_autoptr(GPtrArray) faults = run();

    (void)state;
    for (guint i = 0; i < faults->len; i++)
        print_message("%s\n", (char *)faults->pdata[i]);
    assert_int_equal(faults->len, 0);
    assert_true(correction > original);
}

/* Runs a statement with $1 and $2 replaced by the two ids. */
static void damage(const char *template)
{
    g_autoptr(GString) sql = g_string_new(template);
    g_autofree char *first = g_strdup_printf("%" G_GINT64_FORMAT, original);
    g_autofree char *second = g_strdup_printf("%" G_GINT64_FORMAT, correction);

    g_string_replace(sql, "$1", first, 0);
    g_string_replace(sql, "$2", second, 0);
    stage_exec(stage, sql->str);
}

/* One broken thing each; $1 = the broadcast with a correction, $2 = the correction. */
static void test_each_notices(void **state)
{
    static const struct {
        const char *damage;
        const char *check; /* prefix of the complaint */
    } cases[] = {
        {"DELETE FROM fanout_flight WHERE broadcast_id = $1 AND chunk_no = 1 AND first = 3",
         "010_flights_cover"},
        {"UPDATE fanout_chunk SET next_position = 6 WHERE broadcast_id = $1 AND chunk_no = 1",
         "010_flights_cover"},
        {"UPDATE fanout_flight SET first = 4 WHERE broadcast_id = $1 AND first = 3",
         "010_flights_cover"},
        {"UPDATE fanout_flight SET codes = '\\x0163' WHERE broadcast_id = $1 AND codes IS NULL",
         "020_codes_known"},
        {"UPDATE fanout_flight SET codes = '\\x0100' WHERE broadcast_id = $1 AND codes IS NULL",
         "020_codes_known"},
        {"DELETE FROM fanout_retry WHERE broadcast_id = $1", "030_retries_match"},
        {"UPDATE fanout_retry SET position = 0 WHERE broadcast_id = $1", "030_retries_match"},
        {"INSERT INTO fanout_retry SELECT broadcast_id, 7, chunk_no, 2, attempt, first_at, next_at,"
         " if_expired, reason, NULL FROM fanout_retry WHERE broadcast_id = $1",
         "030_retries_match"},
        {"UPDATE fanout_chunk SET state = 'done' WHERE broadcast_id = $1", "040_done_chunks"},
        {"UPDATE broadcast SET approved_by = NULL WHERE id = $1", "050_two_people"},
        {"UPDATE broadcast SET release_signature = NULL WHERE id = $2", "050_two_people"},
        {"UPDATE broadcast_text SET signature = NULL WHERE broadcast_id = $1", "050_two_people"},
        {"UPDATE fanout_chunk SET members = '\\x01010102' WHERE broadcast_id = $2 AND chunk_no = 0",
         "060_corrections"},
        {"DELETE FROM fanout_chunk WHERE broadcast_id = $2 AND chunk_no = 0", "060_corrections"},
        {"UPDATE broadcast SET state = 'released' WHERE id = $1", "060_corrections"},
        {"UPDATE fanout_plan SET done = false WHERE broadcast_id = $1", "060_corrections"},
        {"UPDATE broadcast SET finished_at = now() WHERE id = $1", "070_finished"},
        {"INSERT INTO receipt VALUES ($1, 99999, now(), NULL)", "080_receipts"},
        {"UPDATE receipt SET shown_at = NULL WHERE broadcast_id = $1", "080_receipts"},
        {"INSERT INTO receipt VALUES (999999, 1, now(), NULL)", "080_receipts"},
        {"UPDATE fanout_chunk SET communes = '{\"\"}', member_commune = '\\x00000000'"
         " WHERE broadcast_id = $2 AND chunk_no = 0",
         "060_corrections"},
        {"UPDATE fanout_chunk SET communes = '{\"\"}', member_commune = '\\x00000001'"
         " WHERE chunk_no = 0",
         "100_reach"},
        {"UPDATE fanout_chunk SET communes = '{\"\",\"\"}', member_commune = '\\x00000001'"
         " WHERE chunk_no = 0",
         "100_reach"},
        {"UPDATE fanout_chunk SET communes = '{99999}', member_commune = '\\x00000000'"
         " WHERE chunk_no = 0",
         "100_reach"},
        {"UPDATE fanout_chunk SET communes = (SELECT array_agg('c' || i)"
         " FROM generate_series(1, 256) i), member_commune = '\\x0000000000000100'"
         " WHERE chunk_no = 0",
         "100_reach"},
        {"DELETE FROM notification_end", "090_outbox"},
        {"INSERT INTO notification_due SELECT id, 5, now() FROM notification", "090_outbox"},
        {"INSERT INTO notification_end VALUES (999, 'dead', 'x')", "090_outbox"},
        {"UPDATE notification_push SET state = 'EXPIRED'", "090_outbox"},
        {"UPDATE notification_push SET state = 'queued'", "090_outbox"},
        {"UPDATE notification_end SET state = 'dead', dead_reason = 'x'", "090_outbox"},
        {"WITH e AS (DELETE FROM notification_end) UPDATE notification_push SET state = 'unstored',"
         " shown_at = now()",
         "090_outbox"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) faults = NULL;
        bool noticed = false;
        assert_true(db_begin(stage->db, NULL));
        damage(cases[i].damage);
        faults = run();
        for (guint j = 0; j < faults->len; j++)
            noticed |= g_str_has_prefix(faults->pdata[j], cases[i].check);
        db_rollback(stage->db);
        if (!noticed)
            fail_msg("nobody noticed: %s", cases[i].damage);
    }
}

/* The list of bytes in 020_codes_known.sql is that of engine/outcome.h. */
static void test_known_bytes_are_the_outcomes(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        g_autoptr(GPtrArray) faults = NULL;
        g_autofree char *sql = g_strdup_printf(
            "UPDATE fanout_flight SET codes = '\\x01%02x' WHERE codes IS NULL", byte);
        bool refused = false;
        assert_true(db_begin(stage->db, NULL));
        stage_exec(stage, sql);
        faults = run();
        for (guint j = 0; j < faults->len; j++)
            refused |= g_str_has_prefix(faults->pdata[j], "020_codes_known");
        db_rollback(stage->db);
        assert_int_equal(refused, outcome_name((uint8_t)byte) == NULL);
    }
}

static void test_missing_directory(void **state)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(checks_run(stage->db, "/nonexistent", faults, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INTERNAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_when_all_is_well),
        cmocka_unit_test(test_each_notices),
        cmocka_unit_test(test_known_bytes_are_the_outcomes),
        cmocka_unit_test(test_missing_directory),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
