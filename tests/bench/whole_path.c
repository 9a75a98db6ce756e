/* lib: loa_benchrig */
/* Whole path against bare send loop, side by side: a durable PostgreSQL, loa-sim and `loa deliver`
 * are started once; then, every round, bench_push_send sends as many pushes from memory to these
 * simulators as the emergency behind it brings to devices out of the database. The broadcast counts
 * from the commit of its release to the instant at which the last outcome is durable and the
 * broadcast finished. Prints one JSON object a round. Environment: LOA_PUSH_WHOLE (devices),
 * LOA_PUSH_RUNS, LOA_PUSH_DELIVER (processes). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/bench/lib/benchrig.h"
#include "tests/scenario/rig_internal.h"

#define LIMIT_S 600

struct audience {
    int64_t fcm, apns;
};

struct result {
    double per_s;
    double cpu_us;      /* of the sender, per push */
    double postgres_us; /* per push */
};

static struct result send_bare(struct rig *rig, const struct audience *to)
{
    g_autofree char *program = rig_binary("tests/bench_push_send"), *out = NULL;
    g_autofree char *tokens = g_strdup_printf("%" G_GINT64_FORMAT, to->fcm + to->apns);
    g_autofree char *apns = g_strdup_printf("apns=%" G_GINT64_FORMAT, to->apns);
    g_autofree char *fcm = g_strdup_printf("fcm=%" G_GINT64_FORMAT, to->fcm);
    char *argv[] = {program, rig->conf, "send", tokens, apns, fcm, NULL};
    g_autoptr(json_t) json = NULL;

    json_decref(rig_sim(rig, "{\"cmd\":\"reset\"}"));
    assert_int_equal(rig_run(argv, &out), 0);
    json = json_loads(out, 0, NULL);
    return (struct result){
        .per_s = json_number_value(json_object_get(json, "per_s")),
        .cpu_us = json_number_value(json_object_get(json, "cpu_s_per_million")),
    };
}

/* Everybody has it, by Loa's account and by the simulators'. */
static void assert_complete(struct rig *rig, int64_t id, const struct audience *to)
{
    g_autofree char *alert = bench_alert(rig, id);

    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), to->fcm);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED), to->apns);
    assert_int_equal(bench_alert_number(rig, "fcm", alert, "accepted"), to->fcm);
    assert_int_equal(bench_alert_number(rig, "apns", alert, "accepted"), to->apns);
}

static struct result send_whole(struct rig *rig, const struct audience *to)
{
    double devices = (double)(to->fcm + to->apns), seconds;
    double cpu = bench_deliver_cpu_s(rig), postgres = bench_postgres_cpu_s(rig);
    g_autofree char *sql = NULL;
    int64_t id;

    json_decref(rig_sim(rig, "{\"cmd\":\"reset\"}"));
    id = bench_release(rig, true, NULL);
    rig_until(rig, RIG_FINISHED, LIMIT_S, false);
    cpu = bench_deliver_cpu_s(rig) - cpu;
    postgres = bench_postgres_cpu_s(rig) - postgres;
    assert_complete(rig, id, to);
    sql = g_strdup_printf("SELECT (extract(epoch FROM finished_at) * 1000000)::bigint"
                          " FROM broadcast WHERE id = %" G_GINT64_FORMAT,
                          id);
    seconds = (double)(rig_i64(rig, sql) - bench_commit_us(rig, id)) / 1e6;
    return (struct result){.per_s = devices / seconds,
                           .cpu_us = cpu * 1e6 / devices,
                           .postgres_us = postgres * 1e6 / devices};
}

int main(void)
{
    int64_t devices = bench_env("LOA_PUSH_WHOLE", 500000), runs = bench_env("LOA_PUSH_RUNS", 5);
    struct rig *rig =
        rig_new(&(struct rig_options){.deliver = (int)bench_env("LOA_PUSH_DELIVER", 1),
                                      .extra_conf = "[fcm]\nquota_per_minute=1000000000\n"});
    struct audience to;

    bench_devices(rig, devices, 0);
    to.fcm = rig_i64(rig, "SELECT count(*) FROM device WHERE channel = 'fcm'");
    to.apns = rig_i64(rig, "SELECT count(*) FROM device WHERE channel = 'apns'");
    for (int64_t run = 0; run < runs; run++) {
        struct result bare = send_bare(rig, &to), whole = send_whole(rig, &to);
        printf("{\"devices\":%" G_GINT64_FORMAT ",\"bare_per_s\":%.0f,\"bare_us\":%.3f,"
               "\"whole_per_s\":%.0f,\"deliver_us\":%.3f,\"postgres_us\":%.3f}\n",
               devices, bare.per_s, bare.cpu_us, whole.per_s, whole.cpu_us, whole.postgres_us);
        fflush(stdout);
    }
    rig_free(rig);
    return 0;
}
