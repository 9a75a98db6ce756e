/* Ports, keys and configuration files of `loa dev`. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "app/dev.h"
#include "base/error.h"

#define PORT_DEFAULT 8080
#define PORTS_MAX    (DEV_DELIVERS_MAX + 2 * DEV_BROKERS_MAX + 16)

/* Sockets bound so far: held until all ports are chosen, so that none is chosen twice. */
struct port_choice {
    int fd[PORTS_MAX];
    size_t n;
};

/* port 0 = any. Returns the port, 0 when it is taken. */
static int bind_port(struct port_choice *choice, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && choice->n < PORTS_MAX &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&address, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
        choice->fd[choice->n++] = fd;
        return ntohs(address.sin_port);
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

static bool choose_ports(struct dev *dev, struct port_choice *choice, GError **error)
{
    int *const wanted[] = {&dev->fcm_port,        &dev->apns_port, &dev->sandbox_port,
                           &dev->oauth_port,      &dev->iid_port,  &dev->mqtt_status_port,
                           &dev->tick_status_port};
    int given = dev->options.port;
    bool ok = true;

    dev->options.port = bind_port(choice, given != 0 ? given : PORT_DEFAULT);
    if (dev->options.port == 0 && given != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "--port %d: %s", given,
                    g_strerror(EADDRINUSE));
        return false;
    }
    if (dev->options.port == 0)
        ok = (dev->options.port = bind_port(choice, 0)) != 0;
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        ok = ok && (*wanted[i] = bind_port(choice, 0)) != 0;
    for (int i = 0; i < dev->options.delivers; i++)
        ok = ok && (dev->deliver_status_port[i] = bind_port(choice, 0)) != 0;
    for (int i = 0; i < dev->options.brokers; i++)
        ok = ok && (dev->broker[i].device_port = bind_port(choice, 0)) != 0 &&
             (dev->broker[i].engine_port = bind_port(choice, 0)) != 0;
    if (!ok)
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_LIMIT, "no free ports on 127.0.0.1");
    return ok;
}

bool dev_config_ports(struct dev *dev, GError **error)
{
    struct port_choice choice = {.n = 0};
    bool ok = choose_ports(dev, &choice, error);

    for (size_t i = 0; i < choice.n; i++)
        close(choice.fd[i]);
    return ok;
}

static void append_providers(const struct dev *dev, GString *text)
{
    g_string_append_printf(text,
                           "\n[fcm]\n"
                           "service_account_file = %s/pki/fcm-service-account.json\n"
                           "endpoint = 127.0.0.1:%d\n"
                           "topic_endpoint = 127.0.0.1:%d\n"
                           "ca_file = %s/pki/ca.pem\n"
                           "\n[apns]\n"
                           "key_file = %s/pki/apns-key.p8\n"
                           "key_id = LOASIMKEY1\n"
                           "team_id = LOASIMTEAM\n"
                           "topic = vn.gov.caobang.congdanso\n"
                           "endpoint = 127.0.0.1:%d\n"
                           "sandbox_endpoint = 127.0.0.1:%d\n"
                           "ca_file = %s/pki/ca.pem\n",
                           dev->dir, dev->fcm_port, dev->iid_port, dev->dir, dev->dir,
                           dev->apns_port, dev->sandbox_port, dev->dir);
}

static void append_mqtt(const struct dev *dev, GString *text)
{
    g_string_append(text, "\n[mqtt]\nbrokers = ");
    for (int i = 0; i < dev->options.brokers; i++)
        g_string_append_printf(text, "%s127.0.0.1:%d", i > 0 ? "," : "",
                               dev->broker[i].engine_port);
    g_string_append_printf(text,
                           "\nca_file = %s/pki/ca.pem\n"
                           "cert_file = %s/pki/engine.pem\n"
                           "key_file = %s/pki/engine.key\n"
                           "metrics_listen = 127.0.0.1:%d\n",
                           dev->dir, dev->dir, dev->dir, dev->mqtt_status_port);
}

/* deliver_port: of the status server of the one deliver process that reads it; 0 = none. */
static char *config_text(const struct dev *dev, int deliver_port)
{
    GString *text = g_string_new("# Written by loa dev, for this run only.\n");

    g_string_append_printf(text,
                           "[database]\n"
                           "conninfo = %s\n"
                           "\n[api]\n"
                           "listen = 127.0.0.1:%d\n"
                           "public_url = http://127.0.0.1:%d\n"
                           "\n[device]\n"
                           "secret_key_file = %s/keys/device.key\n"
                           "\n[broadcast]\n"
                           "signing_key_file = %s/keys/release.key\n"
                           "public_key_files = %s/keys/release.pub,%s/keys/next.pub\n"
                           "# Short, so that receipts are seen at once.\n"
                           "receipt_window_s = 10\n",
                           dev->conninfo, dev->options.port, dev->options.port, dev->dir, dev->dir,
                           dev->dir, dev->dir);
    if (deliver_port != 0)
        g_string_append_printf(text, "\n[deliver]\nmetrics_listen = 127.0.0.1:%d\n", deliver_port);
    append_providers(dev, text);
    append_mqtt(dev, text);
    /* A dry run in the middle of a demo would be one push too many in what the simulators count. */
    g_string_append_printf(text,
                           "\n[tick]\n"
                           "metrics_listen = 127.0.0.1:%d\n"
                           "canary_interval_s = %d\n",
                           dev->tick_status_port, dev->options.demo ? 3600 : 60);
    return g_string_free(text, FALSE);
}

char *dev_config_deliver(const struct dev *dev, int n)
{
    g_autofree char *name = g_strdup_printf("conf/deliver-%d.conf", n);

    return dev_path(dev, name);
}

static bool write_configs(struct dev *dev, GError **error)
{
    g_autofree char *text = config_text(dev, 0);

    dev->config = dev_path(dev, "conf/loa.conf");
    if (!g_file_set_contents(dev->config, text, -1, error))
        return false;
    for (int i = 0; i < dev->options.delivers; i++) {
        g_autofree char *path = dev_config_deliver(dev, i + 1);
        g_autofree char *one = config_text(dev, dev->deliver_status_port[i]);
        if (!g_file_set_contents(path, one, -1, error))
            return false;
    }
    return true;
}

bool dev_config_write(struct dev *dev, GError **error)
{
    g_autofree char *keys = dev_path(dev, "keys");

    return write_configs(dev, error) &&
           dev_loa(dev, "keys", false, error, "keys", "create", keys, NULL);
}
