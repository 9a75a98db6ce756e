/* The main job, small: an emergency over three channels, every device accounted for token by token,
 * receipts counted once, the correction to exactly the same devices, an orderly end. Also run with
 * the sanitizers and, with LOA_RIG_VALGRIND=1, under valgrind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/scenario/rig.h"

#define LIMIT_S 180 /* valgrind is slow */

static const struct rig_options options = {.fcm = 300,
                                           .apns = 150,
                                           .mqtt = 50,
                                           .fleet = 20,
                                           .brokers = 1,
                                           .deliver = 1,
                                           .api = true,
                                           .tick = true,
                                           .dead_percent = 10};

static void assert_outcomes(struct rig *rig, int64_t id)
{
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), 270);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_DEAD_TOKEN), 30);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED) +
                         rig_outcomes(rig, id, "apns", OUTCOME_DEAD_TOKEN),
                     150);
    assert_int_equal(rig_outcomes(rig, id, "mqtt", OUTCOME_ACCEPTED), 50);
    assert_int_equal(rig_assert_tokens(rig, id, "fcm"), 0);
    assert_int_equal(rig_assert_tokens(rig, id, "apns"), 0);
    rig_assert_checks(rig);
}

/* Status and history say the same as the rows. */
static void assert_told(struct rig *rig, int64_t id)
{
    g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, id);
    g_autofree char *status = NULL, *show = NULL;
    g_autoptr(json_t) json = NULL;

    assert_int_equal(rig_loa(rig, &status, "broadcast", "status", number, "--json", NULL), 0);
    json = json_loads(status, 0, NULL);
    assert_non_null(json);
    assert_int_equal(rig_loa(rig, &show, "device", "show", "1", NULL), 0);
    assert_non_null(strstr(show, "DEAD_TOKEN")); /* id 1 of 10 % */
    assert_null(strstr(show, "dead-rig-1"));     /* no token in full */
}

static void test_alert_and_correction(void **state)
{
    struct rig *rig = rig_new(&options);
    g_autofree char *key = g_strdup_printf("%s/an.key", rig->dir);
    g_autofree char *number = NULL;
    int64_t id;

    (void)state;
    id = rig_release(rig, true, "2h");
    rig_until(rig, RIG_FINISHED, LIMIT_S, true);
    assert_outcomes(rig, id);
    assert_told(rig, id);
    rig_until(rig, "SELECT (count(*) = 20)::int FROM receipt WHERE shown_at IS NOT NULL", LIMIT_S,
              false);
    number = g_strdup_printf("%" G_GINT64_FORMAT, id);
    json_decref(rig_sim(rig, "{\"cmd\":\"reset\"}"));
    assert_int_equal(rig_loa(rig, NULL, "broadcast", "cancel", number, "--as", "an", "--key", key,
                             "--reason", "sai địa bàn", NULL),
                     0);
    rig_until(rig,
              "SELECT count(*) FROM broadcast WHERE message_type = 'cancel'"
              " AND finished_at IS NOT NULL",
              LIMIT_S, true);
    /* Everybody of the frozen list whose token still lives. */
    assert_int_equal(rig_i64(rig, "SELECT sum(member_count) FROM fanout_chunk c JOIN broadcast b"
                                  " ON b.id = c.broadcast_id WHERE b.message_type = 'cancel'"),
                     500);
    assert_int_equal(
        rig_outcomes(rig, rig_i64(rig, "SELECT max(id) FROM broadcast"), "fcm", OUTCOME_ACCEPTED),
        270);
    g_autoptr(json_t) fleet = rig_fleet(rig, "{\"cmd\":\"stats\"}");
    assert_int_equal(json_integer_value(json_object_get(fleet, "bad_signatures")), 0);
    rig_assert_checks(rig);
    for (size_t i = 0; i < rig->n_roles; i++)
        assert_int_equal(rig_stop(&rig->role[i]), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alert_and_correction)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
