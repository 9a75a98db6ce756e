/* lib: loa_rig */
/* Targeted notifications on their whole way: enqueued on a durable PostgreSQL, sent by `loa
 * deliver` over HTTP/2 to loa-sim, settled. Usage: bench_outbox_push N. Prints one JSON object:
 * wall time from the first row to the last settled one, CPU of the enqueuer and `loa deliver`, and
 * of PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/outbox.h"
#include "tests/scenario/rig.h"

#define DEVICES 10000
#define LIMIT_S 300

static const struct rig_options options = {
    .fcm = DEVICES, .deliver = 1, .extra_conf = "[fcm]\nquota_per_minute=100000000\n"};

static int jobs;

/* CPU of one process in ms, and whose child it is; 0 when it is gone. of_children: ended ones. */
static double process_ms(const char *pid, bool of_children, int64_t *out_parent)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/stat", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) field = NULL;
    int64_t ticks = 0;

    *out_parent = 0;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    field = g_strsplit(strrchr(text, ')') + 2, " ", 0); /* from the third field on */
    *out_parent = g_ascii_strtoll(field[1], NULL, 10);
    for (int i = 11; i < (of_children ? 15 : 13); i++)
        ticks += g_ascii_strtoll(field[i], NULL, 10);
    return (double)ticks * 1e3 / (double)sysconf(_SC_CLK_TCK);
}

static double server_ms(struct rig *rig)
{
    int64_t server =
        rig_i64(rig, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint");
    g_autofree char *pid = g_strdup_printf("%" G_GINT64_FORMAT, server);
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    int64_t parent;
    double sum = process_ms(pid, true, &parent);

    for (const char *name; (name = g_dir_read_name(proc)) != NULL;) {
        double ms = g_ascii_isdigit(*name) ? process_ms(name, false, &parent) : 0;
        if (ms > 0 && parent == server)
            sum += ms;
    }
    return sum;
}

static double programs_ms(struct rig *rig)
{
    g_autofree char *deliver = g_strdup_printf("%d", rig_role(rig, "deliver0")->pid);
    int64_t parent;

    return process_ms(deliver, false, &parent) + process_ms("self", false, &parent);
}

static void enqueue(struct rig *rig)
{
    struct notification list[OUTBOX_ENQUEUE_MAX];
    char keys[OUTBOX_ENQUEUE_MAX][32];
    int64_t first = rig_i64(rig, "SELECT min(id) FROM device");

    for (int done = 0; done < jobs; done += OUTBOX_ENQUEUE_MAX) {
        int batch = MIN(jobs - done, OUTBOX_ENQUEUE_MAX);
        for (int i = 0; i < batch; i++) {
            g_snprintf(keys[i], sizeof(keys[i]), "case:%d:result:1", done + i);
            list[i] =
                (struct notification){.key = keys[i],
                                      .device_id = first + (done + i) % DEVICES,
                                      .title = "Kết quả xử lý",
                                      .body = "Phản ánh đã được giải quyết.",
                                      .expires_utc_us = g_get_real_time() + 3600 * USEC_PER_SEC};
        }
        assert_true(outbox_enqueue(rig->db, list, (size_t)batch, NULL));
    }
}

static void measure(void **state)
{
    struct rig *rig = rig_new(&options);
    g_autofree char *all = g_strdup_printf("SELECT (count(*) = %d)::int FROM notification_end"
                                           " WHERE state = 'done'",
                                           jobs);
    double programs = programs_ms(rig), server = server_ms(rig);
    int64_t since_us = g_get_monotonic_time();

    (void)state;
    enqueue(rig);
    rig_until(rig, all, LIMIT_S, false);
    printf("{\"ms\":%.1f,\"cpu_ms\":%.1f,\"server_ms\":%.1f}\n",
           (double)(g_get_monotonic_time() - since_us) / 1e3, programs_ms(rig) - programs,
           server_ms(rig) - server);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measure)};

    jobs = argc == 2 ? (int)g_ascii_strtoll(argv[1], NULL, 10) : 0;
    if (jobs <= 0) {
        fputs("usage: bench_outbox_push N\n", stderr);
        return EXIT_FAILURE;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
