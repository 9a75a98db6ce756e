/* Small helpers of the commands: subcommands, times for people, asking back. */
#ifndef LOA_APP_TEXT_H
#define LOA_APP_TEXT_H

#include "app/command.h"
#include "base/json.h"

struct text_subcommand {
    const char *name; /* NULL ends the table */
    command_run run;
};
/* Runs the subcommand that argv[1] names with argv shifted by one; else prints the choices and
 * returns EX_USAGE (EX_OK for --help). */
int text_dispatch(const struct text_subcommand *subcommands, struct command *command, int argc,
                  char **argv);

/* "2026-11-23 15:04:05" in Viet Nam; "-" for 0. Owned. */
char *text_time(int64_t utc_us);

/* Asks on the terminal for exactly this word. false without a terminal or with another answer. */
bool text_confirm(const char *question, const char *word);

/* A JSON object on one line of standard output; takes the reference. */
void text_print_json(json_t *object);

#endif
