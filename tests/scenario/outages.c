/* PostgreSQL and brokers go away and come back; the disk is full; a row is forged. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

static const struct rig_options small = {
    .fcm = 6000, .apns = 3000, .deliver = 2, .extra_conf = "[fcm]\nquota_per_minute=100000000\n"};

/* PostgreSQL is killed in the middle and comes back. */
static void test_postgres_restarted(void **state)
{
    struct rig *rig = rig_new(&small);
    int64_t id;

    (void)state;
    json_decref(rig_sim(rig, "{\"cmd\":\"fault\",\"channel\":\"fcm\",\"match\":{},"
                             "\"do\":{\"delay_ms\":300},\"for_ms\":4000}"));
    id = rig_release(rig, true, "2h");
    rig_until(rig, "SELECT count(*) FROM fanout_flight WHERE codes IS NULL", 30, true);
    testpg_cluster_stop(rig->cluster, true);
    testpg_cluster_start(rig->cluster);
    rig_until(rig, RIG_FINISHED, 60, true);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), small.fcm);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED), small.apns);
    rig_assert_tokens(rig, id, "fcm");
    rig_assert_tokens(rig, id, "apns");
    rig_assert_checks(rig);
    rig_free(rig);
}

/* One of two brokers is down at the release: its devices are caught up when it is back, and MQTT
 * devices are called reached only then. */
static void test_broker_down_and_back(void **state)
{
    struct rig_options options = {.fcm = 100, .mqtt = 200, .fleet = 40, .brokers = 2, .deliver = 1};
    struct rig *rig = rig_new(&options);
    int64_t id;

    (void)state;
    rig_kill(&rig->broker[1]);
    id = rig_release(rig, true, "2h");
    rig_until(rig, "SELECT count(*) FROM broker_ack", 30, true);
    rig_until(rig, RIG_PLANNED, 30, true);
    rig_until(rig,
              "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE channel = 'fcm'"
              " AND state = 'open'",
              30, true);
    assert_int_equal(rig_outcomes(rig, id, "mqtt", OUTCOME_ACCEPTED), 0);
    rig_start(rig, &rig->broker[1]);
    rig_until(rig, RIG_FINISHED, 90, true);
    assert_int_equal(rig_outcomes(rig, id, "mqtt", OUTCOME_ACCEPTED), 200);
    rig_until(rig, "SELECT (count(*) = 40)::int FROM receipt WHERE shown_at IS NOT NULL", 60, true);
    g_autoptr(json_t) stats = rig_fleet(rig, "{\"cmd\":\"stats\"}");
    assert_int_equal(json_integer_value(json_object_get(stats, "distinct")), 40);
    assert_int_equal(json_integer_value(json_object_get(stats, "bad_signatures")), 0);
    rig_assert_checks(rig);
    rig_free(rig);
}

static bool deliver_refused(void *user)
{
    return rig_logged(user, "deliver0", "broadcast_refused");
}

/* A row inserted by SQL without a valid signature sends nothing, on no channel, and alarms. */
static void test_forged_row(void **state)
{
    struct rig_options options = {.fcm = 100, .mqtt = 20, .fleet = 5, .brokers = 1, .deliver = 1};
    struct rig *rig = rig_new(&options);
    g_autoptr(json_t) sim = NULL, fleet = NULL;

    (void)state;
    rig_exec(
        rig,
        "WITH b AS (INSERT INTO broadcast (alert_id, version, message_type, realm, kind, level,"
        " class, state, area_scope, expires_at, receipt_window_s, content_hash, created_by,"
        " creator_signature, approved_by, approver_signature, released_at, key_id,"
        " release_signature) VALUES ('20261123-FAKE00', 1, 'alert', 'live', 'CANH_BAO',"
        " 'khan_cap', 'khan_cap', 'released', 'toan_tinh', now() + interval '1 h', 60,"
        " decode(repeat('00', 32), 'hex'), 1, decode(repeat('00', 64), 'hex'), 2,"
        " decode(repeat('00', 64), 'hex'), now(), 'k1', decode(repeat('00', 64), 'hex'))"
        " RETURNING id), t AS (INSERT INTO broadcast_text (broadcast_id, language, title, body,"
        " signature) SELECT id, 'vi', 'Giả', 'Giả', decode(repeat('00', 64), 'hex') FROM b)"
        " INSERT INTO fanout_plan (broadcast_id) SELECT id FROM b");
    rig_exec(rig, "NOTIFY loa_fanout");
    rig_until(rig, "SELECT count(*) FROM broadcast WHERE refused_at IS NOT NULL", 30, false);
    rig_until(rig, "SELECT count(*) FROM audit WHERE act = 'broadcast_refused'", 30, false);
    assert_true(test_wait_until(deliver_refused, rig, 10000)); /* each process for itself */
    sim = rig_sim(rig, "{\"cmd\":\"stats\"}");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(sim, "fcm"), "requests")),
                     0);
    /* A genuine one still goes out, so that silence above was refusal and not a broken rig. */
    rig_release(rig, true, "2h");
    rig_until(rig, "SELECT count(*) FROM broadcast WHERE finished_at IS NOT NULL", 60, false);
    fleet = rig_fleet(rig, "{\"cmd\":\"stats\"}");
    assert_int_equal(json_integer_value(json_object_get(fleet, "bad_signatures")), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgres_restarted),
        cmocka_unit_test(test_broker_down_and_back),
        cmocka_unit_test(test_forged_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
