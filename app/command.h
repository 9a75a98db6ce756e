/* One subcommand of `loa`. app/main/main.c holds the table; each command_*.c parses its own options
 * with GOption and returns a sysexits(3) code. */
#ifndef LOA_APP_COMMAND_H
#define LOA_APP_COMMAND_H

#include <glib.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/settings.h"

/* What every command gets. */
struct command {
    const char *config_path; /* --config FILE, else $LOA_CONFIG, else /etc/loa/loa.conf */
    const struct clock *clock;
    struct settings *settings; /* loaded before run() unless the command needs none */
};

/* argv[0] is the command's own name ("broadcast"); argv[argc] is NULL. */
typedef int (*command_run)(struct command *command, int argc, char **argv);

struct command_entry {
    const char *name;
    const char *summary; /* one line of `loa --help` */
    command_run run;
    bool needs_settings;
    bool is_role; /* long-running process: log_init(name) and signals are set up by main */
};

/* Prints "loa NAME: message" on standard error and returns the error's exit code. */
int command_fail(const char *name, const GError *error);
/* --help or -h stands among the arguments (before a "--"). */
bool command_wants_help(int argc, char **argv);
/* Parses with GOption; on --help prints and exits 0, on a bad option prints what to do, EX_USAGE.
 */
bool command_parse(const char *usage, const char *description, const GOptionEntry *entries,
                   int *argc, char ***argv, int *out_exit);
/* Opens the configured database or prints why not. Owned. */
struct db *command_db(struct command *command, const char *name, int *out_exit);

int command_account(struct command *command, int argc,
                    char **argv); /* account.c: account create|list|disable */
int command_broadcast(struct command *command, int argc,
                      char **argv); /* create|approve|status|cancel|list|show */
int command_check_config(struct command *command, int argc, char **argv);
int command_deadline(struct command *command, int argc, char **argv);
int command_device(struct command *command, int argc, char **argv); /* import|show */
int command_doctor(struct command *command, int argc, char **argv);
int command_dev(struct command *command, int argc, char **argv);
int command_keys(struct command *command, int argc, char **argv); /* keys create DIR */
int command_migrate(struct command *command, int argc, char **argv);
int command_outbox(struct command *command, int argc, char **argv); /* list|retry */
int command_stop(struct command *command, int argc, char **argv);   /* stop and resume */
int command_resume(struct command *command, int argc, char **argv);
int command_topic(struct command *command, int argc, char **argv); /* sync|send|status */
int role_api(struct command *command, int argc, char **argv);
int role_deliver(struct command *command, int argc, char **argv);
int role_mqtt(struct command *command, int argc, char **argv);
int role_tick(struct command *command, int argc, char **argv);

#endif
