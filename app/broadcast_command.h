/* The subcommands of `loa broadcast`, one file each. */
#ifndef LOA_APP_BROADCAST_COMMAND_H
#define LOA_APP_BROADCAST_COMMAND_H

#include "app/command.h"
#include "engine/broadcast.h"

int broadcast_command_create(struct command *command, int argc, char **argv);
int broadcast_command_approve(struct command *command, int argc, char **argv);
int broadcast_command_cancel(struct command *command, int argc, char **argv);
int broadcast_command_status(struct command *command, int argc, char **argv);
int broadcast_command_list(struct command *command, int argc, char **argv);
int broadcast_command_show(struct command *command, int argc, char **argv);

/* The read-back: everything that an approver answers for, on standard output. */
void broadcast_print(const struct broadcast *broadcast);

/* The one ID argument that most subcommands want, or NULL after printing what is missing. */
const char *broadcast_argument(const char *name, int argc, char **argv);

#endif
