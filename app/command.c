/* What every command does the same way: options, help, errors with an exit code, the database. */
#include "app/command.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int command_fail(const char *name, const GError *error)
{
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);

    for (char **line = lines; *line != NULL; line++)
        fprintf(stderr, "loa %s: %s\n", name, *line);
    return loa_error_exit_code(error);
}

bool command_wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static void print_help(GOptionContext *context, const char *usage)
{
    g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
    /* GLib writes its own usage line first; ours names the subcommand. */
    const char *rest = strstr(help, "\n\n");

    printf("Usage: loa %s\n", usage);
    fputs(rest != NULL ? rest + 1 : "\n", stdout);
}

/* "broadcast show" of "broadcast show ID [--json]". Owned. */
static char *command_words(const char *usage)
{
    const char *end = usage;

    for (const char *word = usage; g_ascii_islower(*word);) {
        size_t len = strcspn(word, " ");
        if (memchr(word, '|', len) != NULL)
            break;
        end = word + len;
        word = *end == ' ' ? end + 1 : end;
    }
    return g_strndup(usage, (size_t)(end - usage));
}

bool command_parse(const char *usage, const char *description, const GOptionEntry *entries,
                   int *argc, char ***argv, int *out_exit)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(context, description);
    g_option_context_set_help_enabled(context, FALSE);
    if (entries != NULL)
        g_option_context_add_main_entries(context, entries, NULL);
    if (command_wants_help(*argc, *argv)) {
        print_help(context, usage);
        *out_exit = EX_OK;
        return false;
    }
    if (g_option_context_parse(context, argc, argv, &error)) {
        *out_exit = EX_OK;
        return true;
    }
    g_autofree char *name = command_words(usage);
    fprintf(stderr, "loa %s: %s\nusage: loa %s   (loa %s --help says more)\n", name, error->message,
            usage, name);
    *out_exit = EX_USAGE;
    return false;
}

struct db *command_db(struct command *command, const char *name, int *out_exit)
{
    g_autoptr(GError) error = NULL;
    struct db *db = db_open(command->settings->database_conninfo, &error);

    if (db == NULL)
        *out_exit = command_fail(name, error);
    return db;
}
