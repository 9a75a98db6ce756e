/* The parent of a fleet: reads the files, forks the workers, answers the control socket. The
 * workers die with it; when one of them ends by itself, the fleet ends. */
#include "tests/sim/fleet.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>

#include "base/error.h"
#include "base/json.h"
#include "tests/sim/fleet_shared.h"

#define FDS_PER_PHONE 3
#define FDS_SPARE     64
#define PROCESSES_MAX 64

struct fleet {
    struct fleet_options options;
    GPid workers[PROCESSES_MAX];
    int n_workers;
    GMainLoop *loop;
    int status;
};

/* --- control --- */

static json_t *fleet_stats(const struct fleet_shared *shared)
{
    json_t *stats = json_object();

#define FLEET_STAT(name) json_object_set_new(stats, #name, json_integer(shared->name));
    FLEET_COUNTERS(FLEET_STAT)
#undef FLEET_STAT
    json_object_set_new(stats, "first_us", json_integer(shared->first_us));
    json_object_set_new(stats, "last_us", json_integer(shared->last_us));
    return stats;
}

/* TSV: device id, distinct (alert, version) shown, repeats dropped, UTC in µs of the last
 * emergency shown. */
static json_t *fleet_dump(const struct fleet *fleet, const char *path)
{
    const GArray *devices = fleet->options.devices;
    g_autoptr(GString) text = g_string_sized_new(devices->len * 16);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < devices->len; i++) {
        const struct fleet_count *count = &fleet->options.shared->counts[i];
        g_string_append_printf(text, "%" G_GINT64_FORMAT "\t%u\t%u\t%" G_GINT64_FORMAT "\n",
                               g_array_index(devices, struct fleet_device, i).id,
                               (unsigned)count->distinct, (unsigned)count->repeats,
                               (int64_t)count->emergency_us);
    }
    if (!g_file_set_contents(path, text->str, (gssize)text->len, &error))
        return json_pack("{s:b, s:s}", "ok", 0, "error", error->message);
    return json_pack("{s:b, s:i}", "ok", 1, "devices", (int)devices->len);
}

/* Counters back to zero (not the gauge of connections), and every phone forgets what it has shown.
 */
static json_t *fleet_reset(struct fleet *fleet)
{
    struct fleet_shared *shared = fleet->options.shared;
    int64_t connected = shared->connected;

#define FLEET_ZERO(name) shared->name = 0;
    FLEET_COUNTERS(FLEET_ZERO)
#undef FLEET_ZERO
    shared->connected = connected;
    shared->first_us = 0;
    shared->last_us = 0;
    for (guint i = 0; i < fleet->options.devices->len; i++) {
        shared->counts[i].distinct = 0;
        shared->counts[i].repeats = 0;
        shared->counts[i].emergency_us = 0;
    }
    shared->phone_resets++;
    return json_pack("{s:b}", "ok", 1);
}

/* {"cmd":"stats"} {"cmd":"dump","file":PATH} {"cmd":"reset"}
 * {"cmd":"receipts","window_s":N}: receipts go out within N seconds, whatever the alert says. */
static json_t *fleet_command(struct fleet *fleet, const char *line, size_t len)
{
    g_autoptr(json_t) request = json_parse_object(line, len, 65536, NULL);
    const char *command = json_string_value(json_object_get(request, "cmd"));
    const char *file = json_string_value(json_object_get(request, "file"));
    const json_t *window = json_object_get(request, "window_s");

    if (g_strcmp0(command, "stats") == 0)
        return fleet_stats(fleet->options.shared);
    if (g_strcmp0(command, "dump") == 0 && file != NULL)
        return fleet_dump(fleet, file);
    if (g_strcmp0(command, "reset") == 0)
        return fleet_reset(fleet);
    if (g_strcmp0(command, "receipts") == 0 && json_is_integer(window)) {
        fleet->options.shared->receipt_window_s =
            (int32_t)CLAMP(json_integer_value(window), -1, 86400);
        return json_pack("{s:b}", "ok", 1);
    }
    return json_pack("{s:b, s:s}", "ok", 0, "error", "unknown command");
}

static gboolean on_control(GSocketService *service, GSocketConnection *connection, GObject *source,
                           gpointer user)
{
    struct fleet *fleet = user;
    g_autoptr(GDataInputStream) input =
        g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    gsize len = 0;
    (void)service, (void)source;

    g_socket_set_timeout(g_socket_connection_get_socket(connection), 5);
    g_autofree char *line = g_data_input_stream_read_line(input, &len, NULL, NULL);
    if (line == NULL)
        return TRUE;
    g_autoptr(json_t) answer = fleet_command(fleet, line, len);
    char *text = json_dumps(answer, JSON_COMPACT);
    g_autofree char *reply = g_strdup_printf("%s\n", text);
    free(text);
    g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), reply,
                              strlen(reply), NULL, NULL, NULL);
    return TRUE;
}

static GSocketService *control_start(struct fleet *fleet, const char *path, GError **error)
{
    g_autoptr(GSocketService) service = g_socket_service_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);

    unlink(path);
    if (!g_socket_listener_add_address(G_SOCKET_LISTENER(service), address, G_SOCKET_TYPE_STREAM,
                                       G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, error))
        return NULL;
    g_signal_connect(service, "incoming", G_CALLBACK(on_control), fleet);
    g_socket_service_start(service);
    return g_steal_pointer(&service);
}

/* --- the workers --- */

/* Each process may open enough descriptors for its share. */
static bool check_descriptors(const struct fleet_options *options, GError **error)
{
    struct rlimit limit;
    rlim_t wanted =
        (rlim_t)(options->devices->len / (guint)options->processes + 1) * FDS_PER_PHONE + FDS_SPARE;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = MIN(wanted, limit.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted)
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT,
                "%llu descriptors are needed in each process: use more --processes",
                (unsigned long long)wanted);
    return false;
}

static bool fork_workers(struct fleet *fleet, GError **error)
{
    pid_t parent = getpid();

    for (int i = 0; i < fleet->options.processes; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() != parent)
                _exit(EXIT_FAILURE);
            exit(fleet_worker_run(&fleet->options, i));
        }
        if (pid < 0) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "fork: %s", g_strerror(errno));
            return false;
        }
        fleet->workers[fleet->n_workers++] = pid;
    }
    return true;
}

static void stop_workers(struct fleet *fleet)
{
    for (int i = 0; i < fleet->n_workers; i++)
        kill(fleet->workers[i], SIGTERM);
    for (int i = 0; i < fleet->n_workers; i++)
        waitpid(fleet->workers[i], NULL, 0);
}

static gboolean on_stop(gpointer user)
{
    struct fleet *fleet = user;

    g_main_loop_quit(fleet->loop);
    return G_SOURCE_REMOVE;
}

static gboolean on_child(gpointer user)
{
    struct fleet *fleet = user;

    g_printerr("loa-sim fleet: a worker has ended\n");
    fleet->status = EX_SOFTWARE;
    g_main_loop_quit(fleet->loop);
    return G_SOURCE_REMOVE;
}

/* GLib watches no SIGCHLD for us without reaping; looking once a second is enough. */
static gboolean watch_workers(gpointer user)
{
    struct fleet *fleet = user;

    for (int i = 0; i < fleet->n_workers; i++) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)fleet->workers[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid != 0)
            return on_child(fleet);
    }
    return G_SOURCE_CONTINUE;
}

static bool fleet_run(struct fleet *fleet, const char *control, GError **error)
{
    struct fleet_options *options = &fleet->options;

    if (!check_descriptors(options, error) || !fork_workers(fleet, error))
        return false;
    g_autoptr(GSocketService) service = control_start(fleet, control, error);
    if (service == NULL)
        return false;
    fleet->loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, on_stop, fleet);
    g_unix_signal_add(SIGINT, on_stop, fleet);
    g_timeout_add_seconds(1, watch_workers, fleet);
    printf("{\"devices\":%u}\n", options->devices->len);
    fflush(stdout);
    g_main_loop_run(fleet->loop);
    g_main_loop_unref(fleet->loop);
    unlink(control);
    return true;
}

/* --- the command line --- */

struct arguments {
    char *pki, *broker, *devices, *public_key, *control;
    int processes, receipt_window_s;
    gboolean plain;
};

static bool parse(int *argc, char ***argv, struct arguments *a, GError **error)
{
    const GOptionEntry entries[] = {
        {"pki", 0, 0, G_OPTION_ARG_FILENAME, &a->pki, "Folder made by loa-sim pki", "DIR"},
        {"broker", 0, 0, G_OPTION_ARG_STRING, &a->broker, "Devices' listeners", "H:P[,H:P]"},
        {"devices", 0, 0, G_OPTION_ARG_FILENAME, &a->devices, "Lines id,password,commune,language",
         "FILE"},
        {"public-key", 0, 0, G_OPTION_ARG_STRING, &a->public_key, "Pinned keys", "PEM[,PEM]"},
        {"processes", 0, 0, G_OPTION_ARG_INT, &a->processes, "Processes (default 2)", "N"},
        {"receipt-window", 0, 0, G_OPTION_ARG_INT, &a->receipt_window_s,
         "Send receipts within S seconds instead of the alert's window", "S"},
        {"plain", 0, 0, G_OPTION_ARG_NONE, &a->plain,
         "Without TLS, to measure brokers: passwords are readable on the wire", NULL},
        {"control", 0, 0, G_OPTION_ARG_FILENAME, &a->control, "Control socket", "SOCKET"},
        {0}};
    g_autoptr(GOptionContext) context = g_option_context_new("- a fleet of MQTT phones");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error))
        return false;
    if (a->pki == NULL || a->broker == NULL || a->devices == NULL || a->public_key == NULL ||
        a->control == NULL || a->processes < 1 || a->processes > PROCESSES_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "--pki, --broker, --devices, --public-key and --control are needed; "
                    "--processes is 1 to %d",
                    PROCESSES_MAX);
        return false;
    }
    return true;
}

static bool options_load(struct fleet_options *options, const struct arguments *a, GError **error)
{
    g_auto(GStrv) keys = g_strsplit(a->public_key, ",", 0);

    options->ca_file = g_build_filename(a->pki, "ca.pem", NULL);
    options->brokers = g_strsplit(a->broker, ",", 0);
    options->processes = a->processes;
    options->plain = a->plain;
    options->keys = release_keys_load((const char *const *)keys, error);
    if (options->keys == NULL)
        return false;
    options->devices = fleet_devices_load(a->devices, error);
    if (options->devices == NULL)
        return false;
    size_t size = sizeof(struct fleet_shared) + options->devices->len * sizeof(struct fleet_count);
    options->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (options->shared == MAP_FAILED) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "mmap: %s", g_strerror(errno));
        return false;
    }
    options->shared->receipt_window_s = a->receipt_window_s;
    return true;
}

static void options_clear(struct fleet_options *options, const struct arguments *a)
{
    g_free(options->ca_file);
    g_strfreev(options->brokers);
    g_clear_pointer(&options->keys, release_keys_free);
    g_clear_pointer(&options->devices, g_array_unref);
    g_free(a->pki);
    g_free(a->broker);
    g_free(a->devices);
    g_free(a->public_key);
    g_free(a->control);
}

int fleet_main(int argc, char **argv)
{
    struct arguments a = {.processes = 2, .receipt_window_s = -1};
    struct fleet fleet = {.status = EX_OK};
    g_autoptr(GError) error = NULL;
    bool ok;

    crypto_init();
    ok = parse(&argc, &argv, &a, &error) && options_load(&fleet.options, &a, &error) &&
         fleet_run(&fleet, a.control, &error);
    stop_workers(&fleet);
    options_clear(&fleet.options, &a);
    if (ok)
        return fleet.status;
    g_printerr("loa-sim fleet: %s\n", error->message);
    return error->domain == LOA_ERROR ? loa_error_exit_code(error) : EX_USAGE;
}
