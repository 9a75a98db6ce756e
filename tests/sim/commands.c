/* What the subcommands share. */
#include "tests/sim/commands.h"

#include <stdio.h>
#include <sysexits.h>

#include "base/error.h"

int sim_parse_options(const char *usage, const GOptionEntry *entries, int *argc, char ***argv)
{
    GOptionContext *context = g_option_context_new(usage);
    g_autoptr(GError) error = NULL;
    bool parsed;

    g_option_context_add_main_entries(context, entries, NULL);
    parsed = g_option_context_parse(context, argc, argv, &error);
    g_option_context_free(context);
    if (parsed)
        return -1;
    fprintf(stderr, "loa-sim: %s (see --help)\n", error->message);
    return EX_USAGE;
}

int sim_fail(const char *name, const GError *error)
{
    fprintf(stderr, "loa-sim %s: %s\n", name, error->message);
    return loa_error_exit_code(error);
}
