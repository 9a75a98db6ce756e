/* The engine's proof to itself: a dry run on each channel every few minutes, over connections of
 * its own. The result stands in the table canary; /readyz, metrics and log tell of a failure. Any
 * number of processes may run it: one of them takes each turn. */
#ifndef LOA_ENGINE_CANARY_H
#define LOA_ENGINE_CANARY_H

#include "base/db_async.h"
#include "engine/channel.h"

struct canary;

/* Starts the channels (borrowed) and runs every interval_s seconds, the first time at once. */
struct canary *canary_new(struct db_async *db, struct channel *const *channels, size_t n_channels,
                          int64_t interval_s);
void canary_free(struct canary *canary);
LOA_AUTO_DEFINE(canary, canary_free)

#endif
