/* lib: loa_engine loa_teststage */
/* Targeted notifications through the real outbox worker, to a channel that accepts at once.
 *   bench_outbox CONNINFO setup DEVICES
 *   bench_outbox CONNINFO enqueue N     in transactions of OUTBOX_ENQUEUE_MAX rows
 *   bench_outbox CONNINFO drain N       until N are durably settled
 * The last two print {"ms":wall,"cpu_ms":of this process}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/migrate.h"
#include "engine/outbox.h"
#include "engine/outbox_worker.h"
#include "tests/support/stage.h"

static void must(bool ok, const GError *error)
{
    if (ok)
        return;
    fprintf(stderr, "bench_outbox: %s\n", error != NULL ? error->message : "failed");
    exit(EXIT_FAILURE);
}

static double cpu_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

struct stopwatch {
    int64_t since_us;
    double cpu_ms;
};

static struct stopwatch stopwatch_start(void)
{
    return (struct stopwatch){g_get_monotonic_time(), cpu_ms()};
}

static void stopwatch_print(const struct stopwatch *watch)
{
    printf("{\"ms\":%.1f,\"cpu_ms\":%.1f}\n",
           (double)(g_get_monotonic_time() - watch->since_us) / 1e3, cpu_ms() - watch->cpu_ms);
}

static void setup(struct stage *stage, int devices)
{
    g_autoptr(GError) error = NULL;

    must(migrate_run(stage->db, LOA_SOURCE_DIR "/sql", &error) >= 0, error);
    stage_devices(stage, "fcm", devices, true);
    stage_exec(stage, "ANALYZE");
}

static void enqueue(struct stage *stage, int n)
{
    struct notification list[OUTBOX_ENQUEUE_MAX];
    char keys[OUTBOX_ENQUEUE_MAX][32];
    int64_t devices = stage_i64(stage, "SELECT count(*) FROM device");
    struct stopwatch watch = stopwatch_start();
    g_autoptr(GError) error = NULL;

    for (int done = 0; done < n; done += OUTBOX_ENQUEUE_MAX) {
        int batch = MIN(n - done, OUTBOX_ENQUEUE_MAX);
        for (int i = 0; i < batch; i++) {
            g_snprintf(keys[i], sizeof(keys[i]), "case:%d:result:1", done + i);
            list[i] =
                (struct notification){.key = keys[i],
                                      .device_id = 1 + (done + i) % devices,
                                      .title = "Kết quả xử lý",
                                      .body = "Phản ánh đã được giải quyết.",
                                      .expires_utc_us = g_get_real_time() + 3600 * USEC_PER_SEC};
        }
        must(outbox_enqueue(stage->db, list, (size_t)batch, &error), error);
    }
    stopwatch_print(&watch);
}

struct drain {
    struct script_channel *channel;
    struct outbox_worker *worker;
    uint64_t n;
    bool draining, done;
};

static void on_drained(void *user)
{
    ((struct drain *)user)->done = true;
}

static bool all_settled(void *user)
{
    struct drain *drain = user;

    if (!drain->draining && drain->channel->sent >= drain->n) {
        drain->draining = true;
        outbox_worker_drain(drain->worker, on_drained, drain);
    }
    return drain->done;
}

static void drain(struct stage *stage, uint64_t n)
{
    struct drain drain = {.channel = script_channel_new("fcm"), .n = n};
    struct channel *channels[] = {&drain.channel->channel};
    struct stopwatch watch = stopwatch_start();
    struct stage_loop *loop = stage_loop_new(stage, "bench", &drain.channel, 1);
    struct outbox_worker_options options = {.owner = "bench",
                                            .db = loop->db_plan,
                                            .fanout = loop->fanout,
                                            .clock = &loop->clock.clock,
                                            .channels = channels,
                                            .n_channels = 1,
                                            .poll_ms = 1000};

    drain.channel->room = 1000;
    drain.worker = outbox_worker_new(&options);
    while (!all_settled(&drain))
        g_main_context_iteration(NULL, TRUE);
    stopwatch_print(&watch);
    must(stage_i64(stage, "SELECT count(*) FROM notification_status WHERE state = 'done'") ==
             (int64_t)n,
         NULL);
    must(drain.channel->sent == n, NULL);
    outbox_worker_free(drain.worker);
    stage_loop_kill(loop);
    drain.channel->channel.ops->free(&drain.channel->channel);
}

int main(int argc, char **argv)
{
    struct stage stage = {0};
    uint8_t public_key[1][ED25519_KEY_LEN] = {{1}};
    g_autoptr(GError) error = NULL;
    int n = argc == 4 ? (int)g_ascii_strtoll(argv[3], NULL, 10) : 0;

    if (n <= 0) {
        fputs("usage: bench_outbox CONNINFO setup|enqueue|drain N\n", stderr);
        return EXIT_FAILURE;
    }
    stage.conninfo = argv[1];
    stage.db = db_open(stage.conninfo, &error);
    must(stage.db != NULL, error);
    stage.settings = settings_defaults();
    stage.settings->fcm_quota_per_minute = 100000000; /* the outbox is measured, not FCM's quota */
    stage.keys = release_keys_new((const uint8_t(*)[ED25519_KEY_LEN])public_key, 1);
    if (strcmp(argv[2], "setup") == 0)
        setup(&stage, n);
    else if (strcmp(argv[2], "enqueue") == 0)
        enqueue(&stage, n);
    else
        drain(&stage, (uint64_t)n);
    release_keys_free(stage.keys);
    settings_free(stage.settings);
    db_close(stage.db);
    return EXIT_SUCCESS;
}
