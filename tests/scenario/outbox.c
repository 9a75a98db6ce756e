/* Targeted notifications while the processes that send them are killed: each ends done or dead,
 * each push that was owed was accepted at least once. LOA_KILL_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/outbox.h"
#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

#define ACCOUNTS    50 /* with devices */
#define ALONE       5  /* without */
#define EACH        3  /* notifications of an account */
#define KILLS       8
#define LIMIT_MS    80000
#define ACCOUNT_SQL "SELECT id FROM account WHERE name = 'citizen-'"

static const struct rig_options options = {.fcm = 300,
                                           .apns = 150,
                                           .mqtt = 60,
                                           .fleet = 60,
                                           .brokers = 1,
                                           .deliver = 2,
                                           .dead_percent = 10,
                                           .extra_conf = "[fcm]\nquota_per_minute=100000000\n"};

/* Every device belongs to a citizen; the last citizens have none. */
static void make_citizens(struct rig *rig)
{
    rig_exec(rig, "INSERT INTO account (name, public_key) SELECT 'citizen-' || n,"
                  " decode(repeat('00', 32), 'hex') FROM generate_series(0, " G_STRINGIFY(
                      ACCOUNTS) " + " G_STRINGIFY(ALONE) " - 1) n");
    rig_exec(rig, "UPDATE device d SET account_id = a.id FROM account a"
                  " WHERE a.name = 'citizen-' || d.id % " G_STRINGIFY(ACCOUNTS));
}

/* One event for one citizen; told twice, as by a caller that did not see its commit. */
static void enqueue(struct rig *rig, int citizen, int event)
{
    g_autofree char *key = g_strdup_printf("case:%d:%d", citizen, event);
    g_autofree char *sql = g_strdup_printf(ACCOUNT_SQL " || %d", citizen);
    const struct notification notification = {.key = key,
                                              .account_id = rig_i64(rig, sql),
                                              .title = "Phản ánh đã được trả lời",
                                              .body = "Mời xem kết quả.",
                                              .expires_utc_us =
                                                  g_get_real_time() + 3600 * USEC_PER_SEC};
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < 2; i++)
        if (!outbox_enqueue(rig->db, &notification, 1, &error))
            fail_msg("%s", error->message);
}

/* Everything is told step by step, and somebody dies every now and then. */
struct siege {
    struct rig *rig;
    GRand *random;
    int told, kills;
    int64_t next_us;
};

static bool settled(void *user)
{
    static const char *const victims[] = {"deliver0", "deliver1", "mqtt"};
    struct siege *siege = user;
    struct rig *rig = siege->rig;

    if (siege->told < (ACCOUNTS + ALONE) * EACH) {
        enqueue(rig, siege->told % (ACCOUNTS + ALONE), siege->told / (ACCOUNTS + ALONE));
        siege->told++;
    }
    if (siege->kills < KILLS && g_get_monotonic_time() >= siege->next_us) {
        struct rig_process *victim = rig_role(
            rig, victims[g_rand_int_range(siege->random, 0, (gint32)G_N_ELEMENTS(victims))]);
        rig_kill(victim);
        rig_start(rig, victim);
        siege->kills++;
        siege->next_us = g_get_monotonic_time() + g_rand_int_range(siege->random, 50000, 400000);
    }
    return siege->told == (ACCOUNTS + ALONE) * EACH && siege->kills == KILLS &&
           rig_i64(
               rig,
               "SELECT count(*) FROM notification_status WHERE state NOT IN ('done', 'dead')") == 0;
}

/* Every live phone of a push channel was reached at least once per notification. */
static void assert_reached(struct rig *rig, const char *channel)
{
    g_autofree char *live_sql = g_strdup_printf("SELECT count(*) FROM device WHERE channel = '%s'"
                                                " AND push_token NOT LIKE 'dead%%'",
                                                channel);
    g_autofree char *path = g_strdup_printf("%s/%s.tsv", rig->dir, channel);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    int live = 0;

    json_decref(
        rig_sim(rig, "{\"cmd\":\"dump\",\"channel\":\"%s\",\"file\":\"%s\"}", channel, path));
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; **line != '\0'; line++) {
        g_auto(GStrv) field = g_strsplit(*line, "\t", -1);
        if (g_str_has_prefix(field[0], "dead"))
            assert_string_equal(field[1], "0");
        else if (g_ascii_strtoll(field[1], NULL, 10) < EACH)
            fail_msg("%s was reached %s times, not %d", field[0], field[1], EACH);
        else
            live++;
    }
    assert_int_equal(live, rig_i64(rig, live_sql));
}

static void assert_outbox(struct rig *rig)
{
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM notification"), (ACCOUNTS + ALONE) * EACH);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM notification_status WHERE state = 'dead'"
                                  " AND dead_reason = 'no_device'"),
                     ALONE * EACH);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM notification_status WHERE state = 'done'"),
                     ACCOUNTS * EACH);
    /* Nothing is owed, and only dead tokens were not accepted. */
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM notification_push"
                                  " WHERE state NOT IN ('ACCEPTED', 'DEAD_TOKEN')"
                                  " AND reason NOT LIKE '%unregistered%'"),
                     0);
    assert_int_equal(
        rig_i64(rig, "SELECT count(*) FROM notification_push p JOIN device d ON d.id = p.device_id"
                     " WHERE d.channel <> 'none' AND p.state <> 'ACCEPTED'"),
        0);
    rig_assert_checks(rig);
}

static bool fleet_has_all(void *user)
{
    g_autoptr(json_t) stats = rig_fleet(user, "{\"cmd\":\"stats\"}");

    return json_integer_value(json_object_get(stats, "notices")) == options.fleet * EACH;
}

static void test_random_kills(void **state)
{
    static const char *const channels[] = {"fcm", "apns"};
    const char *text = getenv("LOA_KILL_SEED");
    guint32 seed =
        text != NULL ? (guint32)g_ascii_strtoull(text, NULL, 10) : (guint32)g_random_int();
    struct rig *rig = rig_new(&options);
    struct siege siege = {.rig = rig, .random = g_rand_new_with_seed(seed)};

    (void)state;
    print_message("seed %u (LOA_KILL_SEED repeats it)\n", seed);
    make_citizens(rig);
    for (size_t i = 0; i < G_N_ELEMENTS(channels); i++)
        json_decref(rig_sim(rig,
                            "{\"cmd\":\"fault\",\"channel\":\"%s\",\"match\":{},"
                            "\"do\":{\"delay_ms\":100},\"for_ms\":600000}",
                            channels[i]));
    assert_true(test_wait_until(settled, &siege, LIMIT_MS));
    assert_outbox(rig);
    assert_reached(rig, "fcm");
    assert_reached(rig, "apns");
    assert_true(test_wait_until(fleet_has_all, rig, LIMIT_MS));
    g_rand_free(siege.random);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_kills)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
