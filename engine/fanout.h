/* The delivery loop: plans released broadcasts, claims chunks, sends them through the channels of
 * this process and accounts for every member. Runs on the default GMainContext of one thread; any
 * number of processes work side by side, coordinated by the database alone. */
#ifndef LOA_ENGINE_FANOUT_H
#define LOA_ENGINE_FANOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/db_async.h"
#include "base/settings.h"
#include "engine/channel.h"
#include "engine/release.h"

/* A clock whose UTC follows the database's: a machine whose clock is wrong by an hour still mints
 * valid provider tokens and expires alerts in time. Give &clock.clock to the channels. */
struct database_clock {
    struct clock clock;
    const struct clock *machine;
    int64_t offset_us; /* added to the machine's UTC */
};
void database_clock_init(struct database_clock *clock, const struct clock *machine);
/* The database says that it is now; far from the machine's time raises an alarm. */
void database_clock_follow(struct database_clock *clock, int64_t database_now_utc_us);

#define FANOUT_CHANNELS_MAX 4

struct fanout_options {
    const char *owner;          /* process id text, for people */
    struct db_async *db;        /* flights */
    struct db_async *db_plan;   /* polls, claims, quota: never behind a flight's answer */
    struct db_async *db_listen; /* notifications: a busy connection hears them late */
    struct db_async *db_scan;   /* with plans: reads and freezes audiences, in large answers */
    struct database_clock *clock;
    const struct settings *settings; /* borrowed */
    const struct release_keys *keys; /* borrowed; public keys of releases */
    struct channel **channels;       /* borrowed; started by the fan-out */
    size_t n_channels;
    bool plans; /* also freezes audiences (loa deliver) */
};

struct fanout;
struct fanout *fanout_new(const struct fanout_options *options);
/* No new claims; unsent members go back as retries; open requests are waited for. done() runs once
 * when nothing is held. */
void fanout_drain(struct fanout *fanout, void (*done)(void *user), void *user);
/* Frees at once; what is out stays marked and is taken over by another process. Free the channels
 * before (their last answers still find the fan-out and its database), then the database
 * connections, then this. */
void fanout_free(struct fanout *fanout);
LOA_AUTO_DEFINE(fanout, fanout_free)

/* An emergency is being sent on the channel, here or elsewhere: targeted pushes step aside. */
bool fanout_emergency_waiting(const struct fanout *fanout, const struct channel *channel);
/* The channel may not send now (stop switch, Retry-After). For the outbox worker. */
bool fanout_channel_closed(const struct fanout *fanout, const struct channel *channel);
/* Takes up to n sends from the channel's quota for non-emergency use; returns how many there were.
 * More are asked for: spare room is told when they have come. */
int64_t fanout_quota_take(struct fanout *fanout, const struct channel *channel, int64_t n);
/* Another user of a channel (the outbox) learned that it must stop or wait. */
void fanout_channel_stop(struct fanout *fanout, const struct channel *channel, const char *reason);
void fanout_channel_gate(struct fanout *fanout, const struct channel *channel, int64_t wait_ms);
/* Called after room appeared and the fan-out has taken what it wants. */
void fanout_on_spare_room(struct fanout *fanout, void (*cb)(struct channel *channel, void *user),
                          void *user);

#endif
