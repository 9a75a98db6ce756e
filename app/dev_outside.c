/* The world around Loa, on this machine: push providers, MQTT brokers, phones. */
#include <signal.h>
#include <string.h>

#include <glib/gstdio.h>

#include "app/dev.h"
#include "app/dev_control.h"
#include "base/error.h"
#include "mqtt/mosquitto_conf.h"

#define START_LIMIT_MS   30000
#define CONNECT_LIMIT_MS 180000
#define FLEET_PROCESSES  "2"

/* --- simulators --- */

static bool make_pki(struct dev *dev, GError **error)
{
    g_autofree char *pki = dev_path(dev, "pki");
    const char *const argv[] = {dev->loa_sim, "pki", pki, NULL};
    const struct program program = {
        .name = "pki", .role = "pki", .argv = argv, .stop_signal = SIGTERM};

    return supervisor_run(dev->supervisor, &program, false, error);
}

static bool simulators_answer(void *user)
{
    const struct dev *dev = user;
    g_autoptr(json_t) stats = dev_control_stats(dev->sim_control, NULL);

    return stats != NULL;
}

bool dev_simulators_start(struct dev *dev, GError **error)
{
    g_autofree char *pki = dev_path(dev, "pki");
    g_autofree char *fcm = g_strdup_printf("127.0.0.1:%d", dev->fcm_port);
    g_autofree char *apns = g_strdup_printf("127.0.0.1:%d", dev->apns_port);
    g_autofree char *sandbox = g_strdup_printf("127.0.0.1:%d", dev->sandbox_port);
    g_autofree char *oauth = g_strdup_printf("127.0.0.1:%d", dev->oauth_port);
    g_autofree char *iid = g_strdup_printf("127.0.0.1:%d", dev->iid_port);
    const char *const argv[] = {
        dev->loa_sim, "serve",          "--pki", pki,       "--fcm", fcm,     "--apns",
        apns,         "--apns-sandbox", sandbox, "--oauth", oauth,   "--iid", iid,
        "--control",  dev->sim_control, NULL};
    const struct program program = {.name = "providers",
                                    .role = "providers",
                                    .phase = PROGRAM_OUTSIDE,
                                    .argv = argv,
                                    .stop_signal = SIGTERM};

    return make_pki(dev, error) && supervisor_start(dev->supervisor, &program, error) &&
           supervisor_wait(dev->supervisor, "loa-sim serve", START_LIMIT_MS, simulators_answer, dev,
                           error);
}

/* --- brokers --- */

static void device_clear(gpointer data)
{
    struct mosquitto_device *device = data;

    g_free((char *)device->password);
}

/* The first DEV_CONNECTED_MAX of secrets.csv, also written to fleet.csv. */
static GArray *read_phones(struct dev *dev, GError **error)
{
    g_autoptr(GArray) phones = g_array_new(FALSE, TRUE, sizeof(struct mosquitto_device));
    g_autoptr(GString) fleet = g_string_new(NULL);
    g_autofree char *text = NULL;

    g_array_set_clear_func(phones, device_clear);
    if (dev->secrets_csv != NULL && !g_file_get_contents(dev->secrets_csv, &text, NULL, error))
        return NULL;
    for (char *line = text, *next; line != NULL && phones->len < DEV_CONNECTED_MAX; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        g_auto(GStrv) cells = g_strsplit(line, ",", 4);
        if (g_strv_length(cells) < 4 || !g_ascii_isdigit(line[0]))
            continue;
        g_string_append_printf(fleet, "%s\n", line);
        struct mosquitto_device phone = {.id = g_ascii_strtoll(cells[0], NULL, 10),
                                         .password = g_strdup(cells[1]),
                                         .realm = "live"};
        g_array_append_val(phones, phone);
    }
    dev->connected = (int)phones->len;
    dev->fleet_csv = dev_path(dev, "fleet.csv");
    if (!g_file_set_contents_full(dev->fleet_csv, fleet->str, (gssize)fleet->len,
                                  G_FILE_SET_CONTENTS_CONSISTENT, 0600, error))
        return NULL;
    return g_steal_pointer(&phones);
}

/* The broker may read its own copies only, because it does not run as root. */
static bool copy_pki(struct dev *dev, const struct dev_broker *broker, GError **error)
{
    static const char *const names[] = {"ca.pem", "broker.pem", "broker.key"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *name = g_build_filename("pki", names[i], NULL);
        g_autofree char *from = dev_path(dev, name);
        g_autofree char *to = g_build_filename(broker->dir, names[i], NULL);
        g_autofree char *text = NULL;
        gsize len;
        if (!g_file_get_contents(from, &text, &len, error) ||
            !g_file_set_contents_full(to, text, (gssize)len, G_FILE_SET_CONTENTS_CONSISTENT, 0600,
                                      error))
            return false;
    }
    return true;
}

static bool give_folder(struct dev *dev, const char *folder, GError **error)
{
    g_autoptr(GDir) entries = g_dir_open(folder, 0, error);
    const char *name;

    while (entries != NULL && (name = g_dir_read_name(entries)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (!supervisor_give(dev->supervisor, path, error))
            return false;
    }
    return entries != NULL && supervisor_give(dev->supervisor, folder, error);
}

static bool write_broker(struct dev *dev, const struct dev_broker *broker, const GArray *phones,
                         GError **error)
{
    g_autofree char *ca = g_build_filename(broker->dir, "ca.pem", NULL);
    g_autofree char *cert = g_build_filename(broker->dir, "broker.pem", NULL);
    g_autofree char *key = g_build_filename(broker->dir, "broker.key", NULL);
    const struct mosquitto_options options = {.directory = broker->dir,
                                              .ca_file = ca,
                                              .cert_file = cert,
                                              .key_file = key,
                                              .address = "127.0.0.1",
                                              .device_port = broker->device_port,
                                              .engine_port = broker->engine_port,
                                              .devices_max = DEV_CONNECTED_MAX + 100};

    return g_mkdir(broker->dir, 0700) == 0 && copy_pki(dev, broker, error) &&
           mosquitto_files_write(&options, (const struct mosquitto_device *)phones->data,
                                 phones->len, error) &&
           give_folder(dev, broker->dir, error);
}

static bool start_broker(struct dev *dev, int n, const GArray *phones, GError **error)
{
    struct dev_broker *broker = &dev->broker[n];
    g_autofree char *name = g_strdup_printf("broker-%d", n + 1);
    g_autofree char *folder = g_build_filename("brokers", name, NULL);
    g_autofree char *conf = NULL;

    broker->dir = dev_path(dev, folder);
    conf = g_build_filename(broker->dir, "mosquitto.conf", NULL);
    const char *const argv[] = {"mosquitto", "-c", conf, NULL};
    const struct program program = {.name = name,
                                    .role = "broker",
                                    .phase = PROGRAM_OUTSIDE,
                                    .argv = argv,
                                    .as_server = true,
                                    .stop_signal = SIGTERM};
    return write_broker(dev, broker, phones, error) &&
           supervisor_start(dev->supervisor, &program, error);
}

static bool brokers_listen(void *user)
{
    const struct dev *dev = user;

    for (int i = 0; i < dev->options.brokers; i++)
        if (!dev_control_listens(dev->broker[i].device_port) ||
            !dev_control_listens(dev->broker[i].engine_port))
            return false;
    return true;
}

bool dev_brokers_start(struct dev *dev, GError **error)
{
    g_autoptr(GArray) phones = read_phones(dev, error);

    if (phones == NULL)
        return false;
    for (int i = 0; i < dev->options.brokers; i++)
        if (!start_broker(dev, i, phones, error))
            return false;
    return supervisor_wait(dev->supervisor, "mosquitto", START_LIMIT_MS, brokers_listen, dev,
                           error);
}

/* --- phones --- */

static bool phones_connected(void *user)
{
    const struct dev *dev = user;
    g_autoptr(json_t) stats = dev_control_stats(dev->fleet_control, NULL);

    return json_integer_value(json_object_get(stats, "connected")) >= dev->connected;
}

bool dev_fleet_start(struct dev *dev, GError **error)
{
    g_autofree char *pki = dev_path(dev, "pki");
    g_autofree char *keys =
        g_strdup_printf("%s/keys/release.pub,%s/keys/next.pub", dev->dir, dev->dir);
    g_autoptr(GString) brokers = g_string_new(NULL);

    if (dev->connected == 0)
        return true;
    for (int i = 0; i < dev->options.brokers; i++)
        g_string_append_printf(brokers, "%s127.0.0.1:%d", i > 0 ? "," : "",
                               dev->broker[i].device_port);
    const char *const argv[] = {dev->loa_sim,
                                "fleet",
                                "--pki",
                                pki,
                                "--broker",
                                brokers->str,
                                "--devices",
                                dev->fleet_csv,
                                "--public-key",
                                keys,
                                "--processes",
                                FLEET_PROCESSES,
                                "--control",
                                dev->fleet_control,
                                NULL};
    const struct program program = {.name = "phones",
                                    .role = "phones",
                                    .phase = PROGRAM_PHONES,
                                    .argv = argv,
                                    .stop_signal = SIGTERM};
    return supervisor_start(dev->supervisor, &program, error) &&
           supervisor_wait(dev->supervisor, "the phones' connections", CONNECT_LIMIT_MS,
                           phones_connected, dev, error);
}
