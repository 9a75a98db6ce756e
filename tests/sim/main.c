/* loa-sim: the providers and the phones, for tests and for operators who rehearse. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <glib.h>

#include "base/crypto.h"
#include "base/log.h"
#include "tests/sim/commands.h"
#ifdef LOA_SIM_FLEET
#include "tests/sim/fleet.h"
#endif

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"pki", pki_main, "make the certificates and keys of a rehearsal"},
    {"serve", serve_main, "simulate FCM, APNs and Google's OAuth endpoint"},
    {"ctl", ctl_main, "send one command to a running simulator"},
#ifdef LOA_SIM_FLEET
    {"fleet", fleet_main, "simulate phones that listen over MQTT"},
#endif
};

static int print_help(FILE *out)
{
    fprintf(out,
            "Usage: loa-sim COMMAND [OPTION…]   (loa-sim COMMAND --help tells the options)\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(out, "  %-6s %s\n", commands[i].name, commands[i].summary);
    return out == stdout ? EX_OK : EX_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return print_help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help(stdout);
    signal(SIGPIPE, SIG_IGN);
    crypto_init();
    log_init("sim", LOG_LEVEL_INFO);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "loa-sim: unknown command '%s'\n\n", argv[1]);
    return print_help(stderr);
}
