/* Sends targeted notifications beside the fan-out, over the same channels: inside loa deliver (fcm,
 * apns) and loa mqtt (mqtt). It takes room only when no emergency is waiting in this process and
 * obeys the fan-out's stop switches, gates and quota. Any number of processes share the work.
 * Single-threaded: the default GMainContext of the caller's thread. */
#ifndef LOA_ENGINE_OUTBOX_WORKER_H
#define LOA_ENGINE_OUTBOX_WORKER_H

#include "base/auto.h"
#include "base/clock.h"
#include "base/db_async.h"
#include "engine/fanout.h"

/* A claimed push belongs to this process so long; then another may send it as well. Longer than any
 * provider's answer takes. */
#define OUTBOX_LEASE_MS 30000

struct outbox_worker_options {
    const char *owner;               /* process id text, for people */
    struct db_async *db;             /* borrowed */
    struct fanout *fanout;           /* borrowed; owns the channels' start, quota and switches */
    const struct clock *clock;       /* borrowed; the database's UTC */
    struct channel *const *channels; /* borrowed */
    size_t n_channels;
    int64_t poll_ms;
    int64_t lease_ms; /* 0 = OUTBOX_LEASE_MS */
};

struct outbox_worker;
/* Starts at once. Owned. */
struct outbox_worker *outbox_worker_new(const struct outbox_worker_options *options);
/* No new claims; what was not sent goes back to the queue; open requests are waited for. done()
 * runs once when nothing is held, perhaps from inside this call. */
void outbox_worker_drain(struct outbox_worker *worker, void (*done)(void *user), void *user);
/* Free it before the fan-out, after db (whose pending callbacks still need it). */
void outbox_worker_free(struct outbox_worker *worker);
LOA_AUTO_DEFINE(outbox_worker, outbox_worker_free)

#endif
