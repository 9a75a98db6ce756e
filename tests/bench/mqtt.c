/* lib: loa_testbroker */
/* One alert through the publisher and k real brokers to a fleet of phones, measured at the phones.
 *   bench_mqtt [--brokers K] [--devices N] [--rounds R] [--processes P] [--plain] LOA-SIM
 * Prints one TSV line per sample; see print_head(). A round has three samples: "release", from the
 * commit of the release on; "publish", the same bytes published once more by hand, without the
 * database; "queued", a release while QUEUED pieces of information are on their way. A first round
 * that is not printed warms everything up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/json.h"
#include "engine/release.h"
#include "tests/support/mqttstage.h"

#define QUEUED   20  /* pieces of information before the emergency */
#define LIMIT_S  180 /* for anything that is waited for */
#define LOOK_MS  5
#define READER   "1000000000" /* a device of the bench's own */
#define SETTLE_S 0.1 /* of silence: brokers and phones have worked off the acknowledgements */

struct bench {
    int brokers, devices, rounds, processes;
    gboolean plain;
    const char *sim;
    struct mqttstage *stage;
    char *directory, *control;
    GPid fleet;
    char *topic; /* of the last alert, and its bytes */
    char *payload;
    unsigned acked;
    int64_t acked_us;
};

/* --- the phones --- */

static json_t *ask(const struct bench *bench, const char *request)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(bench->control);
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, NULL);
    char answer[4096];
    gsize len = 0;

    if (connection == NULL ||
        !g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), request,
                                   strlen(request), NULL, NULL, NULL) ||
        !g_input_stream_read_all(g_io_stream_get_input_stream(G_IO_STREAM(connection)), answer,
                                 sizeof(answer), &len, NULL, NULL))
        return NULL;
    return json_parse_object(answer, len, sizeof(answer), NULL);
}

static gboolean look(gpointer user)
{
    (void)user;
    return G_SOURCE_CONTINUE;
}

/* Runs the main loop until the fleet's counter has reached so many for each phone. */
static void until_each(const struct bench *bench, const char *counter, int each)
{
    int64_t end_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;
    guint ticks = g_timeout_add(LOOK_MS, look, NULL);
    int64_t reached = 0, wanted = (int64_t)each * bench->devices;

    while (reached < wanted) {
        g_main_context_iteration(NULL, TRUE);
        g_autoptr(json_t) stats = ask(bench, "{\"cmd\":\"stats\"}\n");
        reached = json_integer_value(json_object_get(stats, counter));
        if (g_get_monotonic_time() > end_us)
            fail_msg("%s: %d of %d after %d s", counter, (int)reached, (int)wanted, LIMIT_S);
    }
    g_source_remove(ticks);
}

static void fleet_setup(gpointer user)
{
    (void)user;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void fleet_files(const struct bench *bench)
{
    g_autofree char *devices = g_build_filename(bench->directory, "devices.csv", NULL);
    g_autofree char *key = g_build_filename(bench->directory, "release.pem", NULL);
    g_autofree char *pem = release_public_pem(release_keys_get(bench->stage->stage->keys, 0));
    g_autoptr(GString) text = g_string_new("id,password,commune,language\n");

    for (int i = 1; i <= bench->devices; i++)
        g_string_append_printf(text, "%d,1.secret-%d,01273,vi\n", i, i);
    assert_true(g_file_set_contents(devices, text->str, -1, NULL));
    assert_true(g_file_set_contents(key, pem, -1, NULL));
}

static void fleet_start(struct bench *bench)
{
    g_autofree char *pki = g_path_get_dirname(testbroker_pki("ca.pem"));
    g_autofree char *devices = g_build_filename(bench->directory, "devices.csv", NULL);
    g_autofree char *key = g_build_filename(bench->directory, "release.pem", NULL);
    g_autofree char *processes = g_strdup_printf("%d", bench->processes);
    g_autoptr(GString) brokers = g_string_new(NULL);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < bench->brokers; i++)
        g_string_append_printf(brokers, "%s127.0.0.1:%d", i > 0 ? "," : "",
                               testbroker_device_port(bench->stage->brokers[i]));
    const char *const fixed[] = {bench->sim,         "fleet",      "--pki",       pki,
                                 "--broker",         brokers->str, "--devices",   devices,
                                 "--public-key",     key,          "--processes", processes,
                                 "--receipt-window", "86400",      "--control",   bench->control};
    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(argv, (gpointer)fixed[i]);
    if (bench->plain)
        g_ptr_array_add(argv, (gpointer) "--plain");
    g_ptr_array_add(argv, NULL);
    if (!g_spawn_async(NULL, (char **)argv->pdata, NULL,
                       G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, fleet_setup, NULL,
                       &bench->fleet, &error))
        fail_msg("%s: %s", bench->sim, error->message);
    until_each(bench, "connected", 1);
}

/* --- processor time --- */

/* Seconds of a process and its children that have not been waited for. */
static double process_cpu_s(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    g_auto(GStrv) cells = g_strsplit(strrchr(text, ')') + 2, " ", 0);
    uint64_t ticks = g_ascii_strtoull(cells[11], NULL, 10) + g_ascii_strtoull(cells[12], NULL, 10);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* The scheduler's own count of one process, in nanoseconds; the ticks above are too coarse. */
static double precise_cpu_s(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/schedstat", pid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return process_cpu_s(pid);
    return (double)g_ascii_strtoull(text, NULL, 10) / 1e9;
}

static double fleet_cpu_s(const struct bench *bench)
{
    g_autofree char *path =
        g_strdup_printf("/proc/%d/task/%d/children", bench->fleet, bench->fleet);
    g_autofree char *text = NULL;
    double cpu_s = precise_cpu_s(bench->fleet);

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return cpu_s;
    g_auto(GStrv) children = g_strsplit(g_strstrip(text), " ", 0);
    for (char **child = children; *child != NULL; child++)
        cpu_s += precise_cpu_s((int)g_ascii_strtoll(*child, NULL, 10));
    return cpu_s;
}

struct cpu {
    double brokers_s[MQTTSTAGE_BROKERS_MAX], fleet_s, engine_s;
};

static void cpu_read(const struct bench *bench, struct cpu *out)
{
    struct rusage usage;

    for (int i = 0; i < bench->brokers; i++)
        out->brokers_s[i] = precise_cpu_s(testbroker_pid(bench->stage->brokers[i]));
    out->fleet_s = fleet_cpu_s(bench);
    getrusage(RUSAGE_SELF, &usage);
    out->engine_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Until no broker works any more: what the acknowledgements cost belongs to the sample. */
static void until_quiet(const struct bench *bench, struct cpu *out)
{
    struct cpu before;
    double spent_s;

    cpu_read(bench, out);
    do {
        before = *out;
        g_usleep((gulong)(SETTLE_S * G_USEC_PER_SEC));
        cpu_read(bench, out);
        spent_s = 0;
        for (int i = 0; i < bench->brokers; i++)
            spent_s += out->brokers_s[i] - before.brokers_s[i];
    } while (spent_s > SETTLE_S / 20);
}

/* --- one sample --- */

static int compare_us(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* When each phone showed the alert, ascending; owned. */
static int64_t *shown_us(const struct bench *bench)
{
    g_autofree char *file = g_build_filename(bench->directory, "dump.tsv", NULL);
    g_autofree char *request = g_strdup_printf("{\"cmd\":\"dump\",\"file\":\"%s\"}\n", file);
    g_autoptr(json_t) answer = ask(bench, request);
    g_autofree char *text = NULL;
    int64_t *times = g_new(int64_t, (gsize)bench->devices);
    int n = 0;

    assert_true(json_is_true(json_object_get(answer, "ok")));
    assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", 0);
    for (char **line = lines; *line != NULL; line++, n++)
        times[n] = g_ascii_strtoll(strrchr(*line, '\t') + 1, NULL, 10);
    assert_int_equal(n, bench->devices);
    qsort(times, (size_t)n, sizeof(*times), compare_us);
    return times;
}

static void print_head(void)
{
    puts("from\tbrokers\twaiting\tfirst_ms\tp50_ms\tp99_ms\tlast_ms\tacked_ms\tbroker_us\tbroker_"
         "max_s"
         "\tfleet_us\tengine_ms");
}

static void print_sample(const struct bench *bench, const char *from, int64_t waiting, int messages,
                         int64_t start_us, int64_t acked_us, const struct cpu *before,
                         const struct cpu *after)
{
    g_autofree int64_t *times = shown_us(bench);
    double all_s = 0, most_s = 0, per_delivery = 1e6 / bench->devices / messages;
    int n = bench->devices;

    for (int i = 0; i < bench->brokers; i++) {
        double spent_s = after->brokers_s[i] - before->brokers_s[i];
        all_s += spent_s;
        most_s = MAX(most_s, spent_s);
    }
    printf("%s\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.4f\t%.2f\t%.2f\n", from,
           bench->brokers, (int)waiting, (double)(times[0] - start_us) / 1e3,
           (double)(times[n / 2] - start_us) / 1e3,
           (double)(times[(int)((int64_t)n * 99 / 100)] - start_us) / 1e3,
           (double)(times[n - 1] - start_us) / 1e3, (double)(acked_us - start_us) / 1e3,
           all_s * per_delivery, most_s, (after->fleet_s - before->fleet_s) * per_delivery,
           (after->engine_s - before->engine_s) * 1e3);
    fflush(stdout);
}

/* The size of a real one: 1.5 kB. An emergency, or an ordinary warning. */
static int64_t release(const struct bench *bench, bool emergency)
{
    struct stage *stage = bench->stage->stage;
    struct broadcast_actor creator = {
        .db = stage->db, .account = stage->creator, .account_key = stage->creator_key};
    struct broadcast_actor approver = {.db = stage->db,
                                       .account = stage->approver,
                                       .account_key = stage->approver_key,
                                       .release_key = stage->release_key,
                                       .release_key_id = "k1",
                                       .release_keys = stage->keys};
    struct broadcast_create_options options = {.again = true};
    loa_auto(broadcast) b = broadcast_new();
    struct broadcast_text *text = broadcast_text_add(b, "vi");
    int64_t existing;
    bool already;
    g_autoptr(GError) error = NULL;

    b->kind = BROADCAST_CANH_BAO;
    b->level = emergency ? BROADCAST_KHAN_CAP : BROADCAST_THUONG;
    b->expires_utc_us = (g_get_real_time() / USEC_PER_SEC + 3600) * USEC_PER_SEC;
    b->receipt_window_s = 600;
    broadcast_set(&text->title, "CẢNH BÁO KHẨN CẤP: lũ quét, sạt lở đất");
    broadcast_set(&text->body,
                  "Mưa rất to từ đêm qua, lũ trên sông Bằng, sông Hiến và sông Gâm đang lên nhanh. "
                  "Trong 6 giờ tới, nguy cơ rất cao xảy ra lũ quét, sạt lở đất trên địa bàn tỉnh.");
    broadcast_set(&text->instruction,
                  "Rời ngay khu vực ven sông, ven suối, chân đồi dốc đến nơi cao, chắc chắn. Không "
                  "đi qua ngầm, tràn, cầu đang ngập. Cần cứu nạn: gọi 112 hoặc 114.");
    if (!broadcast_set_area(b, true, NULL, &error) ||
        !broadcast_create(&creator, b, &options, NULL, &existing, &error) ||
        !broadcast_approve(&approver, b->id, b->content_hash, true, &already, &error))
        fail_msg("%s", error->message);
    return b->id;
}

static int64_t column_us(const struct bench *bench, const char *column, int64_t id)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT coalesce((extract(epoch FROM %s) * 1000000)::bigint, 0) FROM broadcast WHERE id = "
        "%" G_GINT64_FORMAT,
        column, id);

    return stage_i64(bench->stage->stage, sql);
}

/* Pieces of information that every phone has on average. */
static int64_t information_shown(const struct bench *bench)
{
    g_autoptr(json_t) stats = ask(bench, "{\"cmd\":\"stats\"}\n");

    return (json_integer_value(json_object_get(stats, "distinct")) -
            json_integer_value(json_object_get(stats, "emergencies"))) /
           bench->devices;
}

static void forget(const struct bench *bench)
{
    g_autoptr(json_t) answer = ask(bench, "{\"cmd\":\"reset\"}\n");

    assert_true(json_is_true(json_object_get(answer, "ok")));
    g_usleep(300 * 1000); /* each worker obeys at its next scan */
}

static void sample_release(struct bench *bench, int queued, bool print)
{
    struct cpu before, after;

    forget(bench);
    cpu_read(bench, &before);
    for (int i = 0; i < queued; i++)
        release(bench, false);
    if (queued > 0)
        until_each(bench, "distinct", 1); /* they are on their way */
    int64_t id = release(bench, true);
    until_each(bench, "emergencies", 1);
    int64_t waiting = queued - information_shown(bench);
    until_each(bench, "distinct", queued + 1);
    g_autofree char *acked = g_strdup_printf(
        "SELECT count(*) FROM broadcast WHERE mqtt_acked_at IS NOT NULL AND id = %" G_GINT64_FORMAT,
        id);
    stage_until(bench->stage->stage, acked);
    until_quiet(bench, &after);
    if (print)
        print_sample(bench, queued > 0 ? "queued" : "release", waiting, queued + 1,
                     column_us(bench, "released_at", id), column_us(bench, "mqtt_acked_at", id),
                     &before, &after);
}

/* The bytes of the alert, as a phone that comes late gets them. */
static void fetch_alert(struct bench *bench)
{
    struct testclient *reader = testclient_device(bench->stage->brokers[0], READER, "1.reader");

    assert_int_equal(testclient_connect(reader), 0);
    testclient_subscribe(reader, "loa/v1/emergency/all/+");
    testclient_until_messages(reader, 1);
    const struct testmessage *message = testclient_messages(reader)->pdata[0];
    bench->topic = g_strdup(message->topic);
    bench->payload = g_strdup(message->payload);
    testclient_free(reader);
}

static void on_acked(struct broker *broker, enum broker_reply reply, unsigned reason, void *user)
{
    struct bench *bench = user;
    (void)broker, (void)reason;

    assert_int_equal(reply, BROKER_ACKED);
    bench->acked++;
    bench->acked_us = g_get_real_time();
}

static void sample_publish(struct bench *bench, bool print)
{
    struct brokers *brokers = bench->stage->engine;
    struct cpu before, after;

    forget(bench);
    bench->acked = 0;
    cpu_read(bench, &before);
    int64_t start_us = g_get_real_time();
    for (unsigned n = 0; n < brokers_count(brokers); n++)
        assert_true(broker_publish(brokers_get(brokers, n), bench->topic, bench->payload,
                                   strlen(bench->payload), true, 3600, on_acked, bench));
    until_each(bench, "distinct", 1);
    until_quiet(bench, &after);
    while (bench->acked < brokers_count(brokers))
        g_main_context_iteration(NULL, TRUE);
    if (print)
        print_sample(bench, "publish", 0, 1, start_us, bench->acked_us, &before, &after);
}

/* --- the whole --- */

static void on_notify(const char *channel, const char *payload, void *user)
{
    (void)channel, (void)payload;
    publisher_wake(user);
}

static void start(struct bench *bench)
{
    size_t n = (size_t)bench->devices;
    g_autofree char *name = g_strdup_printf("bench_mqtt_%d", bench->brokers);
    g_autofree struct mosquitto_device *devices = g_new0(struct mosquitto_device, n + 1);

    for (size_t i = 0; i < n; i++)
        devices[i] = (struct mosquitto_device){(int64_t)i + 1,
                                               g_strdup_printf("1.secret-%zu", i + 1), "live"};
    devices[n] = (struct mosquitto_device){1000000000, "1.reader", "live"};
    bench->stage = mqttstage_new(name, 0);
    for (int i = 0; i < bench->brokers; i++)
        bench->stage->brokers[bench->stage->n_brokers++] =
            bench->plain ? testbroker_new_plain(devices, n + 1) : testbroker_new(devices, n + 1);
    for (size_t i = 0; i < n; i++)
        g_free((char *)devices[i].password);
    mqttstage_start(bench->stage, "engine");
    db_async_listen(bench->stage->db, "loa_fanout", on_notify, bench->stage->publisher);
    bench->directory = g_dir_make_tmp("loa-bench-XXXXXX", NULL);
    bench->control = g_build_filename(bench->directory, "control", NULL);
    fleet_files(bench);
    fleet_start(bench);
}

static void stop(struct bench *bench)
{
    static const char *const files[] = {"devices.csv", "release.pem", "dump.tsv", "control"};

    kill(bench->fleet, SIGTERM);
    waitpid(bench->fleet, NULL, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(bench->directory, files[i], NULL);
        g_unlink(path);
    }
    g_rmdir(bench->directory);
    mqttstage_free(bench->stage);
    g_free(bench->directory);
    g_free(bench->control);
    g_free(bench->topic);
    g_free(bench->payload);
}

int main(int argc, char **argv)
{
    struct bench bench = {.brokers = 1, .devices = 1000, .rounds = 1, .processes = 2};
    const GOptionEntry entries[] = {
        {"brokers", 0, 0, G_OPTION_ARG_INT, &bench.brokers, "Brokers", "K"},
        {"devices", 0, 0, G_OPTION_ARG_INT, &bench.devices, "Connected phones", "N"},
        {"rounds", 0, 0, G_OPTION_ARG_INT, &bench.rounds, "Rounds after the first", "R"},
        {"processes", 0, 0, G_OPTION_ARG_INT, &bench.processes, "Of the fleet", "P"},
        {"plain", 0, 0, G_OPTION_ARG_NONE, &bench.plain, "Phones without TLS", NULL},
        {0}};
    g_autoptr(GOptionContext) context = g_option_context_new("LOA-SIM");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, NULL) || argc != 2 || bench.brokers < 1 ||
        bench.brokers > MQTTSTAGE_BROKERS_MAX || bench.devices < 1 || bench.rounds < 1) {
        fputs("bench_mqtt: see the head of tests/bench/mqtt.c\n", stderr);
        return EXIT_FAILURE;
    }
    bench.sim = argv[1];
    start(&bench);
    print_head();
    sample_release(&bench, 0, false);
    fetch_alert(&bench);
    for (int i = 0; i < bench.rounds; i++) {
        sample_release(&bench, 0, true);
        sample_publish(&bench, true);
        sample_release(&bench, QUEUED, true);
    }
    stop(&bench);
    return EXIT_SUCCESS;
}
