/* Every documented answer of the providers, by the word that the documentation and the fault
 * commands use for it. */
#ifndef LOA_SIM_REASONS_H
#define LOA_SIM_REASONS_H

#include <stddef.h>

#include "tests/sim/sim.h"

struct reason {
    const char *word;    /* FcmError.errorCode, APNs reason, OAuth error; static */
    int status;          /* HTTP status that goes with it */
    const char *grpc;    /* FCM: canonical status; else NULL */
    const char *message; /* FCM, OAuth: text for people; else NULL */
};

/* The reason of that name; NULL when the channel has none. */
const struct reason *reason_find(enum sim_channel channel, const char *word);
/* The first reason with that status; NULL when the channel documents none. */
const struct reason *reason_of_status(enum sim_channel channel, int status);
/* The table of a channel, ended by a row without a word. */
const struct reason *reason_table(enum sim_channel channel);

#endif
