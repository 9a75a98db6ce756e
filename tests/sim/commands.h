/* The subcommands of loa-sim. Each returns a sysexits code; argv[0] is its own name. */
#ifndef LOA_SIM_COMMANDS_H
#define LOA_SIM_COMMANDS_H

#include <stdbool.h>

#include <glib.h>

int pki_main(int argc, char **argv);
int serve_main(int argc, char **argv);
int ctl_main(int argc, char **argv);

/* Parses options; -1 = go on, else the exit code. Prints help or what is wrong. */
int sim_parse_options(const char *usage, const GOptionEntry *entries, int *argc, char ***argv);
/* Prints "loa-sim NAME: message" and returns the error's exit code. */
int sim_fail(const char *name, const GError *error);

#endif
