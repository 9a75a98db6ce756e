/* loa dev: starts everything in order, keeps it running, stops it in order. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/dev.h"
#include "app/dev_control.h"
#include "base/error.h"

#define DEVICES_DEMO    100000
#define DEVICES_MAX     10000000
#define READY_LIMIT_MS  60000
#define DIR_DEFAULT     "var/dev"
#define DESCRIPTORS_MIN 8192 /* a broker with DEV_CONNECTED_MAX phones, and room */

bool dev_loa(struct dev *dev, const char *log, bool terminal, GError **error, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    va_list words;

    g_ptr_array_add(argv, dev->loa);
    g_ptr_array_add(argv, (char *)"--config");
    g_ptr_array_add(argv, dev->config);
    va_start(words, error);
    for (char *word; (word = va_arg(words, char *)) != NULL;)
        g_ptr_array_add(argv, word);
    va_end(words);
    g_ptr_array_add(argv, NULL);
    const struct program program = {
        .name = log, .role = log, .argv = (const char *const *)argv->pdata, .stop_signal = SIGTERM};
    return supervisor_run(dev->supervisor, &program, terminal, error);
}

/* --- roles --- */

static bool start_role(struct dev *dev, const char *name, const char *role, const char *config,
                       GError **error)
{
    const char *const argv[] = {dev->loa, "--config", config, role, NULL};
    const struct program program = {
        .name = name, .role = role, .phase = PROGRAM_ROLE, .argv = argv, .stop_signal = SIGTERM};

    return supervisor_start(dev->supervisor, &program, error);
}

static bool is_ready(void *user)
{
    const struct dev *dev = user;
    g_autofree char *body = NULL;

    return dev_control_ready(dev->options.port, &body);
}

static bool start_roles(struct dev *dev, GError **error)
{
    if (!start_role(dev, "api", "api", dev->config, error) ||
        !start_role(dev, "mqtt", "mqtt", dev->config, error) ||
        !start_role(dev, "tick", "tick", dev->config, error))
        return false;
    for (int i = 1; i <= dev->options.delivers; i++) {
        g_autofree char *name = g_strdup_printf("deliver-%d", i);
        g_autofree char *config = dev_config_deliver(dev, i);
        if (!start_role(dev, name, "deliver", config, error))
            return false;
    }
    if (supervisor_wait(dev->supervisor, "/readyz", READY_LIMIT_MS, is_ready, dev, error))
        return true;
    g_autofree char *body = NULL;
    if (!dev_control_ready(dev->options.port, &body) && body != NULL)
        g_prefix_error(error, "%s\n", body);
    return false;
}

/* --- the course of a run --- */

static void say(const char *what)
{
    printf("%s …\n", what);
    fflush(stdout);
}

static void on_change(void *user)
{
    dev_state_write(user);
}

static bool start_all(struct dev *dev, GError **error)
{
    say("PostgreSQL, private and durable");
    if (!dev_place_open(dev, error) || !dev_place_check(dev, error) ||
        !dev_config_ports(dev, error) || !dev_postgres_start(dev, error))
        return false;
    supervisor_on_change(dev->supervisor, on_change, dev);
    say("Push providers, simulated");
    if (!dev_simulators_start(dev, error))
        return false;
    say("Keys, configuration, schema, communes");
    if (!dev_config_write(dev, error) || !dev_loa(dev, "migrate", true, error, "migrate", NULL))
        return false;
    if (dev->options.devices > 0)
        printf("Registering %d devices …\n", dev->options.devices);
    fflush(stdout);
    if (!dev_devices_register(dev, error))
        return false;
    say("MQTT brokers, roles");
    if (!dev_brokers_start(dev, error) || !start_roles(dev, error))
        return false;
    if (dev->connected > 0)
        printf("%d MQTT phones connect …\n", dev->connected);
    fflush(stdout);
    if (!dev_fleet_start(dev, error))
        return false;
    dev->ready = true;
    dev_state_write(dev);
    return true;
}

static bool run(struct dev *dev, GError **error)
{
    if (!start_all(dev, error) || (dev->options.demo && !dev_demo_run(dev, error)))
        return false;
    if (dev->options.leave)
        return true;
    if (!dev->options.demo)
        printf("Ready at http://127.0.0.1:%d; LOA_CONFIG=%s\nCtrl-C stops everything.\n",
               dev->options.port, dev->config);
    fflush(stdout);
    supervisor_wait_signal(dev->supervisor);
    return true;
}

/* --- set-up --- */

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    /* Root may raise the hard limit, too. */
    limit.rlim_max = MAX(limit.rlim_max, DESCRIPTORS_MIN);
    limit.rlim_cur = MIN(limit.rlim_max, 8 * DESCRIPTORS_MIN);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void prepare_process(void)
{
    const char *path = g_getenv("PATH");
    g_autofree char *longer =
        g_strconcat(path != NULL ? path : "/usr/bin:/bin", ":/usr/sbin:/usr/local/sbin", NULL);

    g_setenv("PATH", longer, TRUE); /* Debian's mosquitto is in /usr/sbin */
    g_unsetenv("LOA_CONFIG");
    umask(022);
    raise_descriptors();
    /* When whoever started us dies, everything is stopped as after Ctrl-C. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static bool find_programs(struct dev *dev, GError **error)
{
    dev->loa = g_file_read_link("/proc/self/exe", error);
    if (dev->loa == NULL)
        return false;
    g_autofree char *folder = g_path_get_dirname(dev->loa);
    dev->loa_sim = g_build_filename(folder, "loa-sim", NULL);
    if (g_file_test(dev->loa_sim, G_FILE_TEST_IS_EXECUTABLE))
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "%s is missing", dev->loa_sim);
    return false;
}

static void dev_clear(struct dev *dev)
{
    supervisor_free(dev->supervisor); /* stops everything */
    dev_place_close(dev);
    g_free(dev->options.dir);
    g_free(dev->loa);
    g_free(dev->loa_sim);
    g_free(dev->dir);
    g_free(dev->sockets);
    g_free(dev->config);
    g_free(dev->sim_control);
    g_free(dev->fleet_control);
    g_free(dev->devices_csv);
    g_free(dev->secrets_csv);
    g_free(dev->fleet_csv);
    g_free(dev->conninfo);
    for (int i = 0; i < DEV_BROKERS_MAX; i++)
        g_free(dev->broker[i].dir);
}

static bool check_options(struct dev_options *o, int argc)
{
    if (o->devices < 0)
        o->devices = o->demo ? DEVICES_DEMO : 0;
    if (argc != 1 || o->devices > DEVICES_MAX || (o->demo && o->devices < 1) || o->port < 0 ||
        o->port > 65535 || o->delivers < 1 || o->delivers > DEV_DELIVERS_MAX || o->brokers < 1 ||
        o->brokers > DEV_BROKERS_MAX || (o->leave && !o->demo)) {
        fprintf(stderr,
                "loa dev: --devices 1 to %d, --port up to 65535, --deliver 1 to %d, "
                "--mqtt-brokers 1 to %d; --exit only with --demo\n",
                DEVICES_MAX, DEV_DELIVERS_MAX, DEV_BROKERS_MAX);
        return false;
    }
    return true;
}

static int run_checked(struct dev *dev)
{
    g_autoptr(GError) error = NULL;
    int exit_code = EX_OK;

    prepare_process();
    dev->dir =
        g_canonicalize_filename(dev->options.dir != NULL ? dev->options.dir : DIR_DEFAULT, NULL);
    dev->as_root = geteuid() == 0;
    if (!find_programs(dev, &error) || !run(dev, &error))
        exit_code = dev->supervisor != NULL && supervisor_stopping(dev->supervisor)
                        ? EX_TEMPFAIL /* interrupted: the person knows why */
                        : command_fail("dev", error);
    return exit_code;
}

int command_dev(struct command *command, int argc, char **argv)
{
    struct dev dev = {.clock = command->clock,
                      .lock_fd = -1,
                      .options = {.devices = -1, .delivers = 1, .brokers = 1}};
    struct dev_options *o = &dev.options;
    const GOptionEntry entries[] = {
        {"devices", 0, 0, G_OPTION_ARG_INT, &o->devices,
         "Registers N made-up devices (none; with --demo 100000)", "N"},
        {"demo", 0, 0, G_OPTION_ARG_NONE, &o->demo,
         "Releases one emergency to all of them and counts what arrives", NULL},
        {"exit", 0, 0, G_OPTION_ARG_NONE, &o->leave, "Stops after the demo", NULL},
        {"port", 0, 0, G_OPTION_ARG_INT, &o->port, "Of the HTTP API (8080, or any free one)", "P"},
        {"deliver", 0, 0, G_OPTION_ARG_INT, &o->delivers, "Processes that send (1)", "N"},
        {"mqtt-brokers", 0, 0, G_OPTION_ARG_INT, &o->brokers, "Brokers (1)", "N"},
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &o->dir,
         "Keeps everything here and empties it first (" DIR_DEFAULT ")", "DIR"},
        G_OPTION_ENTRY_NULL};
    int exit_code;

    if (command_parse("dev [--demo [--exit]] [--devices N]",
                      "Runs everything on this machine: a private PostgreSQL, MQTT brokers, "
                      "simulated push providers, all roles.",
                      entries, &argc, &argv, &exit_code))
        exit_code = check_options(o, argc) ? run_checked(&dev) : EX_USAGE;
    dev_clear(&dev);
    return exit_code;
}
