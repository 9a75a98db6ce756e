/* lib: loa_h2 */
/* Rate and CPU of the bare send loop: N requests shaped like APNs' over C connections to a given
 * server. Usage: bench_h2_send HOST:PORT CA.pem REQUESTS CONNECTIONS STREAMS BODY_BYTES
 *
 * Server: nghttpd -d DIR -m 1000 -w 20 -W 24 PORT KEY CERT, with an empty file DIR/3.
 * Beside it: h2load -t 1 -n REQUESTS -c CONNECTIONS -m STREAMS -d BODY -i URIS with the headers
 * below; URIS are lines like https://HOST:PORT/3?device=64-hex-digits. h2load would index apns-id,
 * so give it the 48 bytes that this costs as a longer authorization, which is never indexed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <glib.h>

#include "base/clock.h"
#include "h2/pool.h"

#define TOKEN_LEN 64
#define HEADER(n, v, i)                                                                            \
    {                                                                                              \
        .name = (n), .name_len = sizeof(n) - 1, .value = (v), .value_len = (uint16_t)strlen(v),    \
        .index = (i)                                                                               \
    }

struct bench {
    struct h2_pool *pool;
    GMainLoop *loop;
    uint64_t total, sent, done, failed;
    char *body;
    size_t body_len;
    char *jwt;
    bool refused;
};

struct slot {
    struct bench *bench;
    unsigned number;
};

static void fill_slot(struct bench *bench, struct slot *slot);

static void on_done(const struct h2_answer *answer, void *owner, void *item)
{
    struct bench *bench = owner;
    struct slot *slot = item;

    bench->done++;
    if (answer->outcome != H2_ANSWERED || answer->status != 200)
        bench->failed++;
    if (bench->done == bench->total)
        g_main_loop_quit(bench->loop);
    else
        fill_slot(bench, slot);
}

static void send_one(struct bench *bench, struct slot *slot)
{
    char path[16 + TOKEN_LEN], id[40];
    struct h2_request request = {.n_pieces = 1,
                                 .body = {{bench->body, bench->body_len}},
                                 .done = on_done,
                                 .owner = bench,
                                 .item = slot};

    g_snprintf(path, sizeof(path), "/3?device=%064" G_GINT64_MODIFIER "x",
               bench->sent * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));
    g_snprintf(id, sizeof(id), "00000000-0000-8000-8000-%012" G_GINT64_MODIFIER "x", bench->sent);
    struct h2_header headers[] = {
        HEADER(":method", "POST", H2_INDEX),
        HEADER(":scheme", "https", H2_INDEX),
        HEADER(":authority", h2_pool_authority(bench->pool), H2_INDEX),
        HEADER(":path", path, H2_INDEX_NEVER),
        HEADER("authorization", bench->jwt, H2_INDEX_NEVER),
        HEADER("apns-id", id, H2_INDEX_FIRST),
        HEADER("apns-topic", "vn.gov.caobang.congdanso", H2_INDEX),
        HEADER("apns-push-type", "alert", H2_INDEX),
        HEADER("apns-priority", "10", H2_INDEX),
        HEADER("apns-expiration", "1795400000", H2_INDEX),
        HEADER("apns-collapse-id", "20261123-K7M2QX", H2_INDEX),
    };
    headers[3].copy = headers[4].copy = headers[5].copy = true;
    request.headers = headers;
    request.n_headers = G_N_ELEMENTS(headers);
    bench->sent++;
    h2_pool_send(bench->pool, slot->number, &request);
}

static void fill_slot(struct bench *bench, struct slot *slot)
{
    while (bench->sent < bench->total && h2_pool_room(bench->pool, slot->number) > 0)
        send_one(bench, slot);
}

static struct slot *slots;

static void on_room(void *user)
{
    struct bench *bench = user;

    for (unsigned i = 0; i < h2_pool_slots(bench->pool); i++)
        fill_slot(bench, &slots[i]);
    h2_pool_flush(bench->pool);
}

static void on_refused(const char *reason, void *user)
{
    struct bench *bench = user;

    fprintf(stderr, "%s\n", reason);
    bench->refused = true;
    g_main_loop_quit(bench->loop);
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    g_autoptr(GError) error = NULL;

    if (argc != 7) {
        fprintf(stderr, "usage: %s HOST:PORT CA.pem REQUESTS CONNECTIONS STREAMS BODY_BYTES\n",
                argv[0]);
        return 64;
    }
    bench.total = g_ascii_strtoull(argv[3], NULL, 10);
    bench.body_len = (size_t)g_ascii_strtoull(argv[6], NULL, 10);
    bench.body = g_strnfill(bench.body_len, 'b');
    bench.jwt = g_strdup_printf("bearer %0220d", 7);
    bench.loop = g_main_loop_new(NULL, FALSE);
    bench.pool = h2_pool_new(
        &(struct h2_config){.name = "bench",
                            .endpoint = argv[1],
                            .ca_file = argv[2],
                            .connections = (unsigned)g_ascii_strtoull(argv[4], NULL, 10),
                            .streams_max = (unsigned)g_ascii_strtoull(argv[5], NULL, 10),
                            .timeout_ms = 15000,
                            .copy_max = 512,
                            .clock = clock_system(),
                            .on_room = on_room,
                            .on_refused = on_refused,
                            .user = &bench},
        &error);
    if (bench.pool == NULL) {
        fprintf(stderr, "%s\n", error->message);
        return 78;
    }
    slots = g_new0(struct slot, h2_pool_slots(bench.pool));
    for (unsigned i = 0; i < h2_pool_slots(bench.pool); i++)
        slots[i] = (struct slot){&bench, i};
    h2_pool_start(bench.pool);

    gint64 begin = g_get_monotonic_time();
    double cpu = cpu_s();
    g_main_loop_run(bench.loop);
    double wall = (double)(g_get_monotonic_time() - begin) / 1e6;
    cpu = cpu_s() - cpu;
    printf("{\"requests\":%" G_GUINT64_FORMAT ",\"failed\":%" G_GUINT64_FORMAT
           ",\"seconds\":%.3f,\"per_s\":%.0f,\"cpu_s_per_million\":%.2f}\n",
           bench.done, bench.failed, wall, (double)bench.done / wall,
           cpu * 1e6 / (double)MAX(bench.done, 1));
    h2_pool_free(bench.pool);
    g_main_loop_unref(bench.loop);
    g_free(slots);
    g_free(bench.body);
    g_free(bench.jwt);
    return bench.refused || bench.failed > 0;
}
