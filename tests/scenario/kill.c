/* Kill a random process at a random instant of a broadcast, start it again, and count: no device is
 * missing, who was reached twice was in a flight recorded as uncertain, and sql/checks hold at
 * every instant looked at. LOA_KILL_ROUNDS, LOA_KILL_DEVICES and LOA_KILL_SEED change the size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

#define SLOW_BELOW 20000 /* devices */
#define LIMIT_MS   120000

static int64_t from_env(const char *name, int64_t fallback)
{
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? g_ascii_strtoll(text, NULL, 10) : fallback;
}

/* One broadcast under fire. */
struct siege {
    struct rig *rig;
    GRand *random;
    const char *finished; /* statement */
    int kills, left;
    int64_t next_us; /* the next kill */
};

static void kill_one(struct siege *siege)
{
    struct rig *rig = siege->rig;
    struct rig_process *victim =
        &rig->role[g_rand_int_range(siege->random, 0, (gint32)rig->n_roles)];

    rig_kill(victim);
    rig_start(rig, victim);
    siege->kills++;
    siege->left--;
}

static bool siege_over(void *user)
{
    struct siege *siege = user;

    if (rig_i64(siege->rig, siege->finished) != 0)
        return true;
    if (siege->left > 0 && g_get_monotonic_time() >= siege->next_us) {
        kill_one(siege);
        siege->next_us = g_get_monotonic_time() + g_rand_int_range(siege->random, 0, 800000);
    }
    rig_assert_checks(siege->rig);
    return false;
}

/* Finishes the broadcast while killing; returns how many were killed. */
static int kill_until_finished(struct rig *rig, GRand *random, int64_t id)
{
    g_autofree char *finished =
        g_strdup_printf("SELECT count(*) FROM broadcast WHERE id = %" G_GINT64_FORMAT
                        " AND finished_at IS NOT NULL",
                        id);
    struct siege siege = {.rig = rig,
                          .random = random,
                          .finished = finished,
                          .left = g_rand_int_range(random, 1, 4),
                          .next_us = g_get_monotonic_time() + g_rand_int_range(random, 0, 300000)};

    assert_true(test_wait_until(siege_over, &siege, LIMIT_MS));
    return siege.kills;
}

/* Returns the number of kills. */
static int one_round(struct rig *rig, GRand *random, int64_t devices, int round)
{
    static const char *const channels[] = {"fcm", "apns"};
    int64_t id, repeats, accepted, uncertain;
    int kills;
    g_autofree char *sql = NULL;

    json_decref(rig_sim(rig, "{\"cmd\":\"reset\"}"));
    json_decref(rig_sim(rig, "{\"cmd\":\"clear\"}"));
    if (devices < SLOW_BELOW) /* else it would be over before anybody is killed */
        for (size_t i = 0; i < G_N_ELEMENTS(channels); i++)
            json_decref(rig_sim(rig,
                                "{\"cmd\":\"fault\",\"channel\":\"%s\",\"match\":{},"
                                "\"do\":{\"delay_ms\":250}}",
                                channels[i]));
    id = rig_release(rig, round % 4 != 3, "2h");
    kills = kill_until_finished(rig, random, id);
    rig_assert_checks(rig);
    repeats = rig_assert_tokens(rig, id, "fcm") + rig_assert_tokens(rig, id, "apns");
    sql = g_strdup_printf("SELECT coalesce(sum(size), 0) FROM fanout_flight WHERE uncertain > 0"
                          " AND broadcast_id = %" G_GINT64_FORMAT,
                          id);
    uncertain = rig_i64(rig, sql);
    accepted = rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED) +
               rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED) +
               rig_outcomes(rig, id, "mqtt", OUTCOME_ACCEPTED);
    g_free(sql);
    sql = g_strdup_printf("SELECT coalesce(sum(member_count), 0) FROM fanout_chunk"
                          " WHERE broadcast_id = %" G_GINT64_FORMAT,
                          id);
    assert_int_equal(rig_i64(rig, sql), devices);
    if (round % 4 != 3) /* an emergency reaches everybody */
        assert_int_equal(accepted, devices);
    else /* information never comes twice */
        assert_int_equal(repeats, 0);
    g_free(sql);
    sql = g_strdup_printf("SELECT coalesce(sum(size), 0) FROM fanout_flight WHERE codes IS NOT NULL"
                          " AND position('\\x20'::bytea IN codes) = 0"
                          " AND broadcast_id = %" G_GINT64_FORMAT,
                          id);
    int64_t missing = devices - rig_i64(rig, sql);
    assert_int_equal(missing, 0);
    print_message("round %d: %s, %d kills, %ld uncertain, %ld repeats, %ld accepted, %ld missing\n",
                  round, round % 4 != 3 ? "emergency" : "information", kills, (long)uncertain,
                  (long)repeats, (long)accepted, (long)missing);
    /* The checks of the next round look at the next round only. */
    rig_exec(rig, "TRUNCATE fanout_retry, fanout_flight, fanout_chunk, fanout_plan, fanout_halt,"
                  " broker_ack, receipt, broadcast_text, broadcast CASCADE");
    return kills;
}

static void test_kill(void **state)
{
    int64_t rounds = from_env("LOA_KILL_ROUNDS", 5), devices = from_env("LOA_KILL_DEVICES", 5000);
    guint32 seed = (guint32)from_env("LOA_KILL_SEED", g_random_int());
    GRand *random = g_rand_new_with_seed(seed);
    struct rig_options options = {.fcm = (int)(devices * 6 / 10),
                                  .apns = (int)(devices * 3 / 10),
                                  .mqtt = (int)(devices / 10),
                                  .brokers = 1,
                                  .deliver = 2,
                                  .api = true,
                                  .tick = true,
                                  .extra_conf = "[fcm]\nquota_per_minute=100000000\n"};
    struct rig *rig = rig_new(&options);

    int kills = 0;

    (void)state;
    print_message("seed %u (LOA_KILL_SEED repeats it)\n", seed);
    for (int round = 0; round < rounds; round++)
        kills += one_round(rig, random, options.fcm + options.apns + options.mqtt, round);
    assert_true(kills >= rounds / 2); /* the test really killed */
    rig_free(rig);
    g_rand_free(random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
