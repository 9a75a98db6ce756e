/* Small helpers of the commands. */
#include "app/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/broadcast.h"

int text_dispatch(const struct text_subcommand *subcommands, struct command *command, int argc,
                  char **argv)
{
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    FILE *out = help ? stdout : stderr;

    for (const struct text_subcommand *s = subcommands; argc > 1 && s->name != NULL; s++)
        if (strcmp(s->name, argv[1]) == 0)
            return s->run(command, argc - 1, argv + 1);
    if (argc > 1 && !help)
        fprintf(out, "loa %s: no such subcommand: %s\n", argv[0], argv[1]);
    fprintf(out, "usage: loa %s ", argv[0]);
    for (const struct text_subcommand *s = subcommands; s->name != NULL; s++)
        fprintf(out, "%s%s", s == subcommands ? "" : "|", s->name);
    fprintf(out, " [OPTION…]   (each has its own --help)\n");
    return help ? EX_OK : EX_USAGE;
}

char *text_time(int64_t utc_us)
{
    g_autoptr(GTimeZone) vietnam = g_time_zone_new_offset(BROADCAST_UTC_OFFSET_S);
    g_autoptr(GDateTime) utc = NULL;
    g_autoptr(GDateTime) local = NULL;

    if (utc_us == 0)
        return g_strdup("-");
    utc = g_date_time_new_from_unix_utc(utc_us / USEC_PER_SEC);
    local = g_date_time_to_timezone(utc, vietnam);
    return g_date_time_format(local, "%Y-%m-%d %H:%M:%S");
}

bool text_confirm(const char *question, const char *word)
{
    char line[128];

    if (!isatty(STDIN_FILENO))
        return false;
    printf("%s ", question);
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    return strcmp(g_strstrip(line), word) == 0;
}

void text_print_json(json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT);

    puts(line);
    free(line);
    json_decref(object);
}
