/* The program `loa`: finds the command, loads loa.conf for it, runs it. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/command.h"
#include "base/crypto.h"
#include "base/log.h"

#define CONFIG_DEFAULT "/etc/loa/loa.conf"

/* In the order in which an operator meets them. */
static const struct command_entry commands[] = {
    {"dev", "Runs everything on this machine, with simulated providers", command_dev, false, false},
    {"keys", "Makes the keys of a new installation: create", command_keys, false, false},
    {"check-config", "Checks loa.conf, names every fault; --sample prints a sample",
     command_check_config, false, false},
    {"migrate", "Brings the database up to this program's version", command_migrate, true, false},
    {"doctor", "Checks database, invariants, brokers and provider credentials", command_doctor,
     true, false},
    {"account", "People who may act: create, list, disable", command_account, true, false},
    {"device", "Devices: import, show", command_device, true, false},
    {"broadcast", "Broadcasts: create, approve, cancel, status, list, show", command_broadcast,
     true, false},
    {"outbox", "Targeted notifications: list, retry", command_outbox, true, false},
    {"deadline", "Computes a legal deadline and explains it", command_deadline, false, false},
    {"stop", "Stops sending: --all, --channel or --broadcast", command_stop, true, false},
    {"resume", "Sends on after a stop", command_resume, true, false},
    {"topic", "Topics of FCM, when sending to each device cannot work: sync, send, status",
     command_topic, true, false},
    {"api", "Role: the HTTP API", role_api, true, true},
    {"deliver", "Role: sends broadcasts and notifications over FCM and APNs", role_deliver, true,
     true},
    {"mqtt", "Role: publishes to the MQTT brokers, takes receipts", role_mqtt, true, true},
    {"tick", "Role: the canary and everything else that comes round by the clock", role_tick, true,
     true},
};

static void print_usage(FILE *out)
{
    fputs("Usage: loa [--config FILE] COMMAND [OPTION…]\n"
          "       loa COMMAND --help\n"
          "       loa --version\n\n"
          "Loa brings one broadcast to every phone of the province and accounts for each.\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].summary);
    fputs("\nThe configuration is --config FILE, else $LOA_CONFIG, else " CONFIG_DEFAULT ".\n",
          out);
}

static const struct command_entry *find_command(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Takes --config FILE and --config=FILE out of argv, wherever they stand before a "--". */
static bool take_config(int *argc, char **argv, const char **out_path)
{
    int kept = 1;
    bool options = true;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            options = false;
        if (options && strcmp(argv[i], "--config") == 0) {
            if (++i == *argc) {
                fputs("loa: --config needs a FILE\n", stderr);
                return false;
            }
            *out_path = argv[i];
        } else if (options && g_str_has_prefix(argv[i], "--config=")) {
            *out_path = argv[i] + strlen("--config=");
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return true;
}

static int run_command(const struct command_entry *entry, struct command *command, int argc,
                       char **argv)
{
    loa_auto(settings) settings = NULL;
    g_autoptr(GError) error = NULL;

    log_init(entry->is_role ? entry->name : "loa",
             entry->is_role ? LOG_LEVEL_INFO : LOG_LEVEL_WARN);
    if (entry->needs_settings && !command_wants_help(argc, argv)) {
        settings = settings_load(command->config_path, &error);
        if (settings == NULL) {
            command_fail(entry->name, error);
            return EX_CONFIG;
        }
        command->settings = settings;
    }
    return entry->run(command, argc, argv);
}

int main(int argc, char **argv)
{
    const char *config = g_getenv("LOA_CONFIG");
    struct command command = {.clock = clock_system()};
    const struct command_entry *entry;

    /* Arguments are UTF-8 whatever the caller's locale is. */
    setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN);
    crypto_init();
    if (!take_config(&argc, argv, &config))
        return EX_USAGE;
    if (argc < 2) {
        print_usage(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return EX_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("loa " LOA_VERSION);
        return EX_OK;
    }
    entry = find_command(argv[1]);
    if (entry == NULL) {
        fprintf(stderr, "loa: there is no command \"%s\"; loa --help lists them\n", argv[1]);
        return EX_USAGE;
    }
    command.config_path = config != NULL ? config : CONFIG_DEFAULT;
    return run_command(entry, &command, argc - 1, argv + 1);
}
