/* lib: loa_benchrig */
/* The same broadcast to more and more devices. Prints one line of JSON per run. Environment:
 * LOA_SCALE_SIZES (comma-separated), _RUNS, _DELIVER. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/bench/lib/benchrig.h"

#define LIMIT_S 3600

static int64_t disk_bytes(struct rig *rig)
{
    return rig_i64(rig, "SELECT sum(pg_total_relation_size(t))::bigint FROM unnest(ARRAY["
                        "'fanout_chunk', 'fanout_flight', 'fanout_retry']::regclass[]) AS t");
}

/* Fresh processes: their peak of memory is this run's. */
static void restart_deliver(struct rig *rig)
{
    for (size_t i = 0; i < rig->n_roles; i++) {
        assert_int_equal(rig_stop(&rig->role[i]), 0);
        rig_start(rig, &rig->role[i]);
    }
}

/* All connections of the fresh processes are up. */
static void warm_up(struct rig *rig)
{
    static const char *const names[] = {"fcm", "apns"};
    int64_t wanted = 6 * (int64_t)rig->n_roles; /* APNs: 4, 1 for the unproven, 1 sandbox */

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        for (int64_t open = 0; open < wanted; g_usleep(10000)) {
            g_autoptr(json_t) stats = rig_sim(rig, "{\"cmd\":\"stats\"}");
            open = json_integer_value(
                json_object_get(json_object_get(stats, names[i]), "connections"));
        }
}

static int64_t outcomes(struct rig *rig, int64_t id)
{
    return rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED) +
           rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED);
}

static void one_run(struct rig *rig, int64_t devices)
{
    g_autofree char *sql = NULL;
    double deliver, postgres, seconds;
    int64_t id, before;

    rig_exec(rig, "TRUNCATE fanout_retry, fanout_flight, fanout_chunk, fanout_plan, fanout_halt,"
                  " broker_ack, receipt, broadcast_text, broadcast CASCADE");
    json_decref(rig_sim(rig, "{\"cmd\":\"reset\"}"));
    restart_deliver(rig);
    warm_up(rig);
    before = disk_bytes(rig);
    deliver = bench_deliver_cpu_s(rig);
    postgres = bench_postgres_cpu_s(rig);
    id = bench_release(rig, true, NULL);
    rig_until(rig, RIG_FINISHED, LIMIT_S, false);
    deliver = bench_deliver_cpu_s(rig) - deliver;
    postgres = bench_postgres_cpu_s(rig) - postgres;
    sql = g_strdup_printf("SELECT (extract(epoch FROM finished_at) * 1000000)::bigint"
                          " FROM broadcast WHERE id = %" G_GINT64_FORMAT,
                          id);
    seconds = (double)(rig_i64(rig, sql) - bench_commit_us(rig, id)) / 1e6;
    assert_int_equal(outcomes(rig, id), devices);
    printf("{\"devices\":%" G_GINT64_FORMAT ",\"seconds\":%.3f,\"per_s\":%.0f,"
           "\"deliver_us\":%.3f,\"postgres_us\":%.3f,\"peak_mib\":%.1f,\"bytes\":%.2f}\n",
           devices, seconds, (double)devices / seconds, deliver * 1e6 / (double)devices,
           postgres * 1e6 / (double)devices, bench_deliver_peak_mib(rig),
           (double)(disk_bytes(rig) - before) / (double)devices);
    fflush(stdout);
}

int main(void)
{
    const char *sizes = g_getenv("LOA_SCALE_SIZES");
    g_auto(GStrv) list =
        g_strsplit(sizes != NULL ? sizes : "10000,100000,1000000,5000000", ",", -1);
    int64_t runs = bench_env("LOA_SCALE_RUNS", 5);
    struct rig *rig =
        rig_new(&(struct rig_options){.deliver = (int)bench_env("LOA_SCALE_DELIVER", 2),
                                      .extra_conf = "[fcm]\nquota_per_minute=1000000000\n"});

    for (char **size = list; *size != NULL; size++) {
        int64_t devices = g_ascii_strtoll(*size, NULL, 10);
        bench_devices(rig, devices, 0);
        for (int64_t run = 0; run < runs; run++)
            one_run(rig, devices);
    }
    rig_free(rig);
    return 0;
}
