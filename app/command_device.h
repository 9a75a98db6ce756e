/* Subcommands of `loa device` that have a file of their own. */
#ifndef LOA_APP_COMMAND_DEVICE_H
#define LOA_APP_COMMAND_DEVICE_H

#include "app/command.h"

int command_device_import(struct command *command, int argc, char **argv);

#endif
