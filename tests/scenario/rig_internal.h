/* Shared by rig.c and rig_setup.c. */
#ifndef LOA_TESTS_SCENARIO_RIG_INTERNAL_H
#define LOA_TESTS_SCENARIO_RIG_INTERNAL_H

#include "engine/checks.h"
#include "engine/members.h"
#include "engine/outcome.h"
#include "tests/scenario/rig.h"

/* argv is taken. */
void rig_process_set(struct rig_process *process, const char *name, char **argv);
/* Path of a program of the same build. Owned. */
char *rig_binary(const char *name);
int rig_run(char **argv, char **out);
/* The token that a device was imported with; "" for mqtt. Owned. */
char *rig_token(struct rig *rig, const char *channel, int64_t device_id);

#endif
