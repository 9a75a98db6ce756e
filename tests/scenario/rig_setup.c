/* Building a rig up: keys, simulators, brokers, configuration, devices, roles. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/crypto.h"
#include "base/migrate.h"
#include "engine/area_store.h"
#include "mqtt/mosquitto_conf.h"
#include "tests/scenario/rig_internal.h"
#include "tests/support/testwait.h"

#define READY_S   60
#define LOG_LINES "12"

/* The rig that was not freed yet: a test has one at a time. */
static struct rig *current;

static void must(bool ok, const GError *error)
{
    if (!ok)
        fail_msg("%s", error != NULL ? error->message : "failed without a reason");
}

static char **argv_of(const char *first, ...)
{
    GPtrArray *argv = g_ptr_array_new();
    va_list args;

    va_start(args, first);
    for (const char *arg = first; arg != NULL; arg = va_arg(args, const char *))
        g_ptr_array_add(argv, g_strdup(arg));
    va_end(args);
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

int rig_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static char *in_dir(const struct rig *rig, const char *name)
{
    return g_build_filename(rig->dir, name, NULL);
}

/* ---- devices ---- */

char *rig_token(struct rig *rig, const char *channel, int64_t id)
{
    const struct rig_options *o = &rig->options;
    bool dead;

    if (strcmp(channel, "fcm") == 0) {
        dead = id % 100 < o->dead_percent;
        return g_strdup_printf("%srig-%" G_GINT64_FORMAT, dead ? "dead-" : "", id);
    }
    if (strcmp(channel, "apns") == 0) {
        dead = id % 100 < o->dead_percent;
        return g_strdup_printf("%s%060" G_GINT64_MODIFIER "x", dead ? "dead" : "ab00", id);
    }
    return g_strdup("");
}

/* ids are 1 … n in the order of the file, because the table is empty. */
static void import_devices(struct rig *rig)
{
    const struct rig_options *o = &rig->options;
    g_autofree char *path = in_dir(rig, "devices.csv"), *secrets = in_dir(rig, "secrets.csv");
    FILE *file = fopen(path, "w");
    int64_t id = 0;

    fprintf(file, "platform,id_kind,token,environment,mqtt,os,language,commune,key\n");
    for (int i = 0; i < o->fcm; i++) {
        g_autofree char *token = rig_token(rig, "fcm", ++id);
        fprintf(file, "fcm,token,%s,,,android 14,vi,01273,\n", token);
    }
    for (int i = 0; i < o->apns; i++) {
        g_autofree char *token = rig_token(rig, "apns", ++id);
        fprintf(file, "apns,,%s,production,,ios 18,vi,01273,\n", token);
    }
    for (int i = 0; i < o->mqtt; i++)
        fprintf(file, "mqtt,,,,true,android 9,vi,01273,rig-install-%010" G_GINT64_FORMAT "\n",
                ++id);
    fclose(file);
    assert_int_equal(rig_loa(rig, NULL, "device", "import", path, "--secrets", secrets, NULL), 0);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM device"), id);
    assert_int_equal(rig_i64(rig, "SELECT coalesce(max(id), 0) FROM device"), id);
}

/* ---- brokers ---- */

static const char *plain_user(void)
{
    return geteuid() == 0 ? "mosquitto" : NULL;
}

/* Every device's password, from the file that the import wrote. */
static GArray *read_secrets(struct rig *rig, GStrv *out_lines)
{
    g_autofree char *path = in_dir(rig, "secrets.csv");
    g_autofree char *text = NULL;
    GArray *devices = g_array_new(FALSE, TRUE, sizeof(struct mosquitto_device));

    *out_lines = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return devices;
    *out_lines = g_strsplit(text, "\n", -1);
    for (char **line = *out_lines; *line != NULL && devices->len < (guint)rig->options.fleet;
         line++) {
        char *password = strchr(*line, ',');
        struct mosquitto_device device = {.realm = "live"};
        if (password == NULL || !g_ascii_isdigit(**line))
            continue;
        *password++ = '\0';
        *strchr(password, ',') = '\0';
        device.id = g_ascii_strtoll(*line, NULL, 10);
        device.password = password;
        g_array_append_val(devices, device);
    }
    return devices;
}

/* Started as root the broker becomes another user, who must own what it reads and writes. */
static void give_away(const char *path)
{
    g_autofree char *owner = g_strdup_printf("%s:", plain_user());
    char *argv[] = {"chown", "-R", owner, (char *)path, NULL};

    if (plain_user() != NULL)
        assert_int_equal(rig_run(argv, NULL), 0);
}

static void start_broker(struct rig *rig, int n)
{
    g_autofree char *name = g_strdup_printf("broker%d", n);
    g_autofree char *dir = in_dir(rig, name), *ca = in_dir(rig, "pki/ca.pem");
    g_autofree char *cert = g_strdup_printf("%s/broker.pem", dir);
    g_autofree char *key = g_strdup_printf("%s/broker.key", dir);
    g_autofree char *conf = g_strdup_printf("%s/mosquitto.conf", dir);
    g_autofree char *copy = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GArray) devices = read_secrets(rig, &lines);
    g_autoptr(GError) error = NULL;

    assert_int_equal(g_mkdir(dir, 0755), 0);
    copy = g_strdup_printf("cp %s/pki/broker.pem %s/pki/broker.key %s/", rig->dir, rig->dir, dir);
    char *argv[] = {"sh", "-c", copy, NULL};
    assert_int_equal(rig_run(argv, NULL), 0);
    struct mosquitto_options options = {.directory = dir,
                                        .ca_file = ca,
                                        .cert_file = cert,
                                        .key_file = key,
                                        .address = "127.0.0.1",
                                        .device_port = rig->broker_port[n][0],
                                        .engine_port = rig->broker_port[n][1],
                                        .devices_max = 10000,
                                        .run_as = NULL};
    must(mosquitto_files_write(&options, (const void *)devices->data, devices->len, &error), error);
    give_away(dir);
    if (plain_user() !=
        NULL) { /* setpriv: a change of user by itself would forget the parent's death */
        g_autofree char *user = g_strdup_printf("--reuid=%s", plain_user());
        g_autofree char *group = g_strdup_printf("--regid=%s", plain_user());
        rig_process_set(&rig->broker[n], name,
                        argv_of("/usr/bin/setpriv", user, group, "--clear-groups", "--pdeathsig",
                                "KILL", "/usr/sbin/mosquitto", "-c", conf, NULL));
    } else {
        rig_process_set(&rig->broker[n], name, argv_of("/usr/sbin/mosquitto", "-c", conf, NULL));
    }
    rig_start(rig, &rig->broker[n]);
}

/* ---- simulators ---- */

struct sim_ready {
    const char *log;
    json_t *ports;
};

/* Its first line says where the ports are. */
static bool sim_ports(void *user)
{
    struct sim_ready *ready = user;
    g_autofree char *text = NULL;
    const char *line, *end;

    if (!g_file_get_contents(ready->log, &text, NULL, NULL) ||
        (line = strstr(text, "{\"fcm\"")) == NULL || (end = strchr(line, '\n')) == NULL)
        return false;
    ready->ports = json_loadb(line, (size_t)(end - line), 0, NULL);
    return ready->ports != NULL;
}

/* ports NULL: any that are free. */
static void sim_set(struct rig *rig, const json_t *ports)
{
    static const char *const names[] = {"fcm", "apns", "apns_sandbox", "oauth", "iid"};
    g_autofree char *pki = in_dir(rig, "pki"), *program = rig_binary("loa-sim");
    char *address[G_N_ELEMENTS(names)];

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        address[i] = g_strdup_printf("127.0.0.1:%d",
                                     (int)json_integer_value(json_object_get(ports, names[i])));
    g_strfreev(rig->sim.argv);
    g_strfreev(rig->sim.envp);
    rig_process_set(&rig->sim, "sim",
                    argv_of(program, "serve", "--pki", pki, "--fcm", address[0], "--apns",
                            address[1], "--apns-sandbox", address[2], "--oauth", address[3],
                            "--iid", address[4], "--control", rig->control, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        g_free(address[i]);
}

static void start_sim(struct rig *rig, json_t **out_ports)
{
    g_autofree char *pki = in_dir(rig, "pki"), *program = rig_binary("loa-sim");
    g_autofree char *log = in_dir(rig, "sim.log");
    char *make[] = {program, "pki", pki, NULL};
    struct sim_ready ready = {.log = log};

    assert_int_equal(rig_run(make, NULL), 0);
    sim_set(rig, NULL);
    rig_start(rig, &rig->sim);
    assert_true(test_wait_until(sim_ports, &ready, READY_S * 1000));
    sim_set(rig, ready.ports); /* a test that starts it again finds it at the same place */
    *out_ports = ready.ports;
}

/* ---- configuration and roles ---- */

static void write_conf(struct rig *rig, const json_t *ports)
{
    const struct rig_options *o = &rig->options;
    g_autoptr(GString) s = g_string_new(NULL);
    g_autoptr(GString) brokers = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    const char *ca = o->untrusted_fcm ? "pki/untrusted.pem" : "pki/ca.pem";

#define PORT(name) ((int)json_integer_value(json_object_get(ports, name)))
    for (int i = 0; i < o->brokers; i++)
        g_string_append_printf(brokers, "%s127.0.0.1:%d", i > 0 ? "," : "", rig->broker_port[i][1]);
    g_string_append_printf(s, "[database]\nconninfo=%s\n", testpg_cluster_conninfo(rig->cluster));
    g_string_append_printf(s, "[api]\nlisten=127.0.0.1:%d\n", rig->api_port);
    g_string_append(s, "[device]\nsecret_key_file=keys/device.key\n"
                       "[broadcast]\nsigning_key_file=keys/release.key\n"
                       "receipt_window_s=2\n");
    g_string_append_printf(s, "public_key_files=%s/keys/release.pub,%s/keys/next.pub\n", rig->dir,
                           rig->dir);
    g_string_append(s, "[deliver]\nlease_ms=2000\npoll_ms=200\n");
    g_string_append_printf(s,
                           "[fcm]\nservice_account_file=pki/fcm-service-account.json\n"
                           "endpoint=127.0.0.1:%d\ntopic_endpoint=127.0.0.1:%d\nca_file=%s\n"
                           "request_timeout_ms=3000\n",
                           PORT("fcm"), PORT("iid"), ca);
    g_string_append_printf(s,
                           "[apns]\nkey_file=pki/apns-key.p8\nkey_id=LOASIMKEY1\n"
                           "team_id=LOASIMTEAM\ntopic=vn.gov.caobang.congdanso\n"
                           "endpoint=127.0.0.1:%d\nsandbox_endpoint=127.0.0.1:%d\n"
                           "ca_file=pki/ca.pem\nrequest_timeout_ms=3000\n",
                           PORT("apns"), PORT("apns_sandbox"));
#undef PORT
    if (o->brokers > 0)
        g_string_append_printf(s,
                               "[mqtt]\nbrokers=%s\nca_file=pki/ca.pem\n"
                               "cert_file=pki/engine.pem\nkey_file=pki/engine.key\n",
                               brokers->str);
    g_string_append(s, "[tick]\ncanary_interval_s=5\n");
    if (o->extra_conf != NULL)
        g_string_append(s, o->extra_conf);
    must(g_file_set_contents(rig->conf, s->str, -1, &error), error);
}

static void add_role(struct rig *rig, const char *name, const char *role)
{
    struct rig_process *process = &rig->role[rig->n_roles++];
    g_autofree char *program = rig_binary("loa");

    if (g_getenv("LOA_RIG_VALGRIND") != NULL)
        rig_process_set(process, name,
                        argv_of("/usr/bin/valgrind", "--quiet", "--error-exitcode=99",
                                "--leak-check=full", "--errors-for-leak-kinds=definite", program,
                                "--config", rig->conf, role, NULL));
    else
        rig_process_set(process, name, argv_of(program, "--config", rig->conf, role, NULL));
    if (strcmp(role, "deliver") == 0 && rig->options.deliver_clock_offset_s != 0) {
        g_autofree char *offset = g_strdup_printf("%d", rig->options.deliver_clock_offset_s);
        process->envp = g_environ_setenv(process->envp, "LOA_CLOCK_OFFSET_S", offset, TRUE);
    }
    rig_start(rig, process);
}

static bool api_answers(void *user)
{
    static const struct rig_request request = {.method = "GET", .path = "/healthz"};

    return rig_http(user, &request, NULL) == 200;
}

static void start_roles(struct rig *rig)
{
    const struct rig_options *o = &rig->options;

    for (int i = 0; i < o->deliver; i++) {
        g_autofree char *name = g_strdup_printf("deliver%d", i);
        add_role(rig, name, "deliver");
    }
    if (o->brokers > 0)
        add_role(rig, "mqtt", "mqtt");
    if (o->api)
        add_role(rig, "api", "api");
    if (o->tick)
        add_role(rig, "tick", "tick");
    if (o->api)
        assert_true(test_wait_until(api_answers, rig, READY_S * 1000));
}

static bool fleet_connected(void *user)
{
    struct rig *rig = user;
    g_autoptr(json_t) stats = rig_fleet(rig, "{\"cmd\":\"stats\"}");

    return stats != NULL &&
           json_integer_value(json_object_get(stats, "connected")) == rig->options.fleet;
}

static void start_fleet(struct rig *rig)
{
    g_autofree char *program = rig_binary("loa-sim"), *pki = in_dir(rig, "pki");
    g_autofree char *all = in_dir(rig, "secrets.csv"), *few = in_dir(rig, "fleet.csv");
    g_autofree char *key = in_dir(rig, "keys/release.pub");
    g_autofree char *cut = g_strdup_printf("head -n %d %s > %s", rig->options.fleet, all, few);
    g_autoptr(GString) brokers = g_string_new(NULL);
    char *argv[] = {"sh", "-c", cut, NULL};

    if (rig->options.fleet == 0)
        return;
    assert_int_equal(rig_run(argv, NULL), 0);
    for (int i = 0; i < rig->options.brokers; i++)
        g_string_append_printf(brokers, "%s127.0.0.1:%d", i > 0 ? "," : "", rig->broker_port[i][0]);
    rig_process_set(&rig->fleet, "fleet",
                    argv_of(program, "fleet", "--pki", pki, "--broker", brokers->str, "--devices",
                            few, "--public-key", key, "--processes", "1", "--control",
                            rig->fleet_control, NULL));
    rig_start(rig, &rig->fleet);
    assert_true(test_wait_until(fleet_connected, rig, READY_S * 1000));
}

static void make_people(struct rig *rig)
{
    static const char *const names[] = {"an", "binh"};
    g_autofree char *keys = in_dir(rig, "keys");

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *file = g_strdup_printf("%s/%s.key", rig->dir, names[i]);
        assert_int_equal(rig_loa(rig, NULL, "account", "create", names[i], "--key-out", file, NULL),
                         0);
    }
}

static void make_database(struct rig *rig)
{
    g_autoptr(GError) error = NULL;

    rig->cluster = testpg_cluster_new_in(rig->options.pgdata_dir, true);
    rig->db = db_open(testpg_cluster_conninfo(rig->cluster), &error);
    must(rig->db != NULL, error);
    must(migrate_run(rig->db, LOA_SOURCE_DIR "/sql", &error) >= 0, error);
    must(area_load_csv(rig->db, LOA_SOURCE_DIR "/etc/areas.csv", &error) >= 0, error);
}

/* ---- the end ---- */

/* The last lines of every log, whole: they are longer than cmocka prints. */
static void print_logs(const struct rig *rig)
{
    g_autofree char *command = g_strdup_printf(
        "for f in %s/*.log; do echo \"--- $f\"; tail -n " LOG_LINES " \"$f\"; done", rig->dir);
    char *argv[] = {"sh", "-c", command, NULL};
    g_autofree char *out = NULL;

    if (rig->dir != NULL &&
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, NULL, NULL, NULL))
        fprintf(stderr, "%s\n", out);
}

static void process_clear(struct rig_process *process)
{
    rig_kill(process);
    g_strfreev(process->argv);
    g_strfreev(process->envp);
}

void rig_free(struct rig *rig)
{
    char *argv[] = {"rm", "-rf", rig->dir, NULL};

    current = NULL;
    for (size_t i = 0; i < rig->n_roles; i++)
        process_clear(&rig->role[i]);
    process_clear(&rig->fleet);
    for (int i = 0; i < rig->options.brokers; i++)
        process_clear(&rig->broker[i]);
    process_clear(&rig->sim);
    db_close(rig->db);
    testpg_cluster_free(rig->cluster);
    if (rig->dir != NULL)
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    g_free(rig->dir);
    g_free(rig->conf);
    g_free(rig->control);
    g_free(rig->fleet_control);
    g_free(rig);
}

/* A test that has failed jumped over its rig_free. */
static void free_current(void)
{
    if (current == NULL)
        return;
    print_logs(current);
    rig_free(current);
}

/* After the cluster was made: testpg's own clean-up at exit must come behind ours. */
static void set_current(struct rig *rig)
{
    static bool at_exit;

    if (!at_exit)
        atexit(free_current);
    at_exit = true;
    current = rig;
}

struct rig *rig_new(const struct rig_options *options)
{
    struct rig *rig = g_new0(struct rig, 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) ports = NULL;
    g_autofree char *keys = NULL, *loa = rig_binary("loa");

    crypto_init();
    free_current();
    rig->options = *options;
    make_database(rig);
    set_current(rig);
    rig->dir = g_dir_make_tmp("loa-rig-XXXXXX", &error);
    must(rig->dir != NULL, error);
    assert_int_equal(chmod(rig->dir, 0755), 0);
    rig->conf = in_dir(rig, "loa.conf");
    rig->control = in_dir(rig, "sim.sock");
    rig->fleet_control = in_dir(rig, "fleet.sock");
    rig->api_port = rig_free_port();
    for (int i = 0; i < options->brokers; i++) {
        rig->broker_port[i][0] = rig_free_port();
        rig->broker_port[i][1] = rig_free_port();
    }
    start_sim(rig, &ports);
    keys = in_dir(rig, "keys");
    char *make_keys[] = {loa, "keys", "create", keys, NULL};
    assert_int_equal(rig_run(make_keys, NULL), 0);
    write_conf(rig, ports);
    make_people(rig);
    import_devices(rig);
    for (int i = 0; i < options->brokers; i++)
        start_broker(rig, i);
    start_roles(rig);
    start_fleet(rig);
    return rig;
}
