/* loa-sim serve: opens the ports, writes the service account file, says where they are. */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "tests/sim/commands.h"
#include "tests/sim/control.h"
#include "tests/sim/port.h"

enum port_index {
    PORT_FCM,
    PORT_APNS,
    PORT_APNS_SANDBOX,
    PORT_OAUTH,
    PORT_IID,
    PORTS,
};

static const struct {
    const char *name; /* in the line that is printed */
    enum sim_channel channel;
    bool sandbox;
} port_kinds[PORTS] = {
    [PORT_FCM] = {"fcm", SIM_FCM, false},
    [PORT_APNS] = {"apns", SIM_APNS, false},
    [PORT_APNS_SANDBOX] = {"apns_sandbox", SIM_APNS, true},
    [PORT_OAUTH] = {"oauth", SIM_OAUTH, false},
    [PORT_IID] = {"iid", SIM_IID, false},
};

struct options {
    char *pki;
    char *addresses[PORTS];
    char *control;
    gint64 seed;
    gboolean untrusted;
    gboolean with_parent;
};

struct server {
    struct loop *loop;
    struct service *service;
    struct port *ports[PORTS];
    struct control *control;
    struct watch signals;
};

static void options_clear(struct options *options)
{
    g_free(options->pki);
    g_free(options->control);
    for (int i = 0; i < PORTS; i++)
        g_free(options->addresses[i]);
}

static void server_clear(struct server *server)
{
    if (server->control != NULL)
        control_free(server->control);
    for (int i = 0; i < PORTS; i++)
        if (server->ports[i] != NULL)
            port_free(server->ports[i]);
    if (server->loop != NULL)
        loop_free(server->loop);
    if (server->service != NULL)
        service_free(server->service);
}

/* ---- signals ---- */

static struct loop *signal_loop(struct watch *watch)
{
    return ((struct server *)((char *)watch - offsetof(struct server, signals)))->loop;
}

static void signal_ready(struct watch *watch, uint32_t events)
{
    (void)events;
    loop_stop(signal_loop(watch));
}

static bool watch_signals(struct server *server, GError **error)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "signalfd: %s", g_strerror(errno));
        return false;
    }
    server->signals = (struct watch){.fd = fd, .ready = signal_ready};
    loop_watch(server->loop, &server->signals, EPOLLIN);
    return true;
}

/* ---- service account ---- */

/* The URL at which a client on this machine reaches the OAuth port. */
static char *token_uri(const char *address, int number, GError **error)
{
    g_autofree char *host = NULL, *port = NULL;

    if (!port_parse_address(address, &host, &port, error))
        return NULL;
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        return g_strdup_printf("https://localhost:%d/token", number);
    if (strchr(host, ':') != NULL)
        return g_strdup_printf("https://[%s]:%d/token", host, number);
    return g_strdup_printf("https://%s:%d/token", host, number);
}

static bool write_service_account(const char *dir, const char *uri, GError **error)
{
    g_autofree char *key_path = g_build_filename(dir, "fcm-key.pem", NULL);
    g_autofree char *path = g_build_filename(dir, "fcm-service-account.json", NULL);
    g_autofree char *key = NULL, *text = NULL;
    g_autoptr(json_t) account = NULL;

    if (!g_file_get_contents(key_path, &key, NULL, error))
        return false;
    account = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "type", "service_account", "project_id",
                        SIM_PROJECT, "private_key_id", SIM_FCM_KEY_ID, "private_key", key,
                        "client_email", SIM_CLIENT_EMAIL, "token_uri", uri);
    text = json_dumps(account, JSON_INDENT(2));
    return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

/* ---- start ---- */

static bool open_ports(struct server *server, const struct options *options, GError **error)
{
    for (int i = 0; i < PORTS; i++) {
        SSL_CTX *tls;
        if (options->addresses[i] == NULL)
            continue;
        tls = port_tls_new(options->pki, options->untrusted ? "untrusted" : "server",
                           i == PORT_OAUTH, error);
        if (tls == NULL)
            return false;
        server->ports[i] = port_new(server->loop, server->service, port_kinds[i].channel,
                                    options->addresses[i], tls, error);
        if (server->ports[i] == NULL)
            return false;
        server->ports[i]->sandbox = port_kinds[i].sandbox;
    }
    return true;
}

static bool server_init(struct server *server, const struct options *options, GError **error)
{
    const struct clock *clock = clock_system();

    server->service = service_new(options->pki, (uint64_t)options->seed, clock, error);
    server->loop = server->service != NULL ? loop_new(clock, error) : NULL;
    if (server->loop == NULL || !watch_signals(server, error) ||
        !open_ports(server, options, error))
        return false;
    if (server->ports[PORT_OAUTH] != NULL) {
        g_free(server->service->token_uri);
        server->service->token_uri = token_uri(options->addresses[PORT_OAUTH],
                                               port_number(server->ports[PORT_OAUTH]), error);
        if (server->service->token_uri == NULL ||
            !write_service_account(options->pki, server->service->token_uri, error))
            return false;
    }
    server->control = control_new(server->loop, server->service, options->control, error);
    return server->control != NULL;
}

static void print_ports(const struct server *server)
{
    g_autoptr(json_t) line = json_object();
    g_autofree char *text = NULL;

    for (int i = 0; i < PORTS; i++)
        if (server->ports[i] != NULL)
            json_object_set_new(line, port_kinds[i].name,
                                json_integer(port_number(server->ports[i])));
    text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);
    printf("%s\n", text);
    fflush(stdout);
}

static int serve(const struct options *options)
{
    struct server server = {0};
    g_autoptr(GError) error = NULL;
    int status = EX_OK;

    if (!server_init(&server, options, &error)) {
        status = sim_fail("serve", error);
    } else {
        print_ports(&server);
        loop_run(server.loop);
    }
    server_clear(&server);
    return status;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int serve_main(int argc, char **argv)
{
    struct options o = {.seed = 1};
    const GOptionEntry entries[] = {
        {"pki", 0, 0, G_OPTION_ARG_FILENAME, &o.pki, "keys and certificates of loa-sim pki", "DIR"},
        {"fcm", 0, 0, G_OPTION_ARG_STRING, &o.addresses[PORT_FCM], "FCM (port 0 = any)", "H:P"},
        {"apns", 0, 0, G_OPTION_ARG_STRING, &o.addresses[PORT_APNS], "APNs, production", "H:P"},
        {"apns-sandbox", 0, 0, G_OPTION_ARG_STRING, &o.addresses[PORT_APNS_SANDBOX],
         "APNs, sandbox", "H:P"},
        {"oauth", 0, 0, G_OPTION_ARG_STRING, &o.addresses[PORT_OAUTH],
         "OAuth; writes DIR/fcm-service-account.json", "H:P"},
        {"iid", 0, 0, G_OPTION_ARG_STRING, &o.addresses[PORT_IID], "subscriptions to topics",
         "H:P"},
        {"control", 0, 0, G_OPTION_ARG_FILENAME, &o.control, "unix socket for loa-sim ctl", "PATH"},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &o.seed, "of the faults' chances (default 1)", "N"},
        {"untrusted", 0, 0, G_OPTION_ARG_NONE, &o.untrusted,
         "show a certificate of a CA that nobody trusts", NULL},
        {"with-parent", 0, 0, G_OPTION_ARG_NONE, &o.with_parent,
         "end when the starting process ends", NULL},
        G_OPTION_ENTRY_NULL};
    int status = sim_parse_options("- simulate the push providers", entries, &argc, &argv);

    if (status < 0 && (argc != 1 || o.pki == NULL || o.control == NULL)) {
        fprintf(stderr, "loa-sim serve: --pki DIR and --control PATH are needed (see --help)\n");
        status = EX_USAGE;
    }
    if (status < 0) {
        if (o.with_parent)
            prctl(PR_SET_PDEATHSIG, SIGTERM);
        raise_descriptor_limit();
        status = serve(&o);
    }
    options_clear(&o);
    return status;
}
