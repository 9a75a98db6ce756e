/* Shared by engine/fanout_*.c: the state of one delivery loop.
 *
 *   fanout ── channel (fcm, apns, mqtt) ── lane (connections of their own) ── chunk (a lease)
 *                                                                               └ flight (≤ 2)
 *   broadcast: loaded and verified once, with its rendered payloads
 */
#ifndef LOA_ENGINE_FANOUT_INTERNAL_H
#define LOA_ENGINE_FANOUT_INTERNAL_H

#include "engine/broadcast.h"
#include "engine/fanout.h"
#include "engine/fanout_store.h"
#include "engine/outcome.h"
#include "engine/quota.h"
#include "engine/retry_policy.h"
#include "engine/window.h"

#define FLIGHTS_PER_CHUNK 2 /* at most so many can be uncertain after a crash */

enum fan_broadcast_state {
    FAN_BROADCAST_LOADING, /* → READY, REFUSED */
    FAN_BROADCAST_READY,
    FAN_BROADCAST_REFUSED, /* its release signature did not verify */
};

/* A payload rendered for one channel, language and loudness. */
struct fan_payload {
    struct channel *channel;
    const struct channel_ops *ops; /* the channel's: they outlive it */
    char *language;
    bool silent;
    struct channel_payload *payload; /* NULL: it could not be rendered */
    bool accepted;                   /* the provider took it at least once */
};

struct fan_broadcast {
    struct fanout *fanout;
    int64_t id;
    enum fan_broadcast_state state;
    struct broadcast *broadcast; /* READY */
    bool emergency;
    GArray *payloads; /* struct fan_payload */
    unsigned chunks;  /* held chunks, plans and statements that use it */
    char *refusal;    /* REFUSED: why */
    bool stopped;     /* stop switch of this broadcast */
    bool cancelled;
    bool seen;     /* in the last poll */
    int priority;  /* READY; as fanout_chunk.priority: 0 an emergency, lower first */
    uint64_t turn; /* when it was last served: broadcasts of one priority take turns */
};

struct fan_lane {
    struct fan_channel *channel;
    enum lane lane;
    GPtrArray *chunks;      /* struct chunk *, owned */
    GQueue ready;           /* struct flight * with members to send, oldest first */
    struct window *windows; /* one per slot */
    unsigned n_slots;
    unsigned next_slot;
    bool claiming;
    int64_t alive_us; /* when a connection was last seen */
};

struct fan_channel {
    struct fanout *fanout;
    struct channel *channel;
    struct quota quota;
    /* An emergency has something to send: everything else waits (design: overtaking). */
    bool overtaken;
    unsigned overtakes;     /* how often it was; what was read before may be held now */
    bool emergency_at_work; /* says the poll that is being read */
    unsigned ordinary_out;  /* requests out that are no emergency's */
    bool switched_off;      /* by a stop switch, as of the last poll */
    bool stopped;        /* by a configuration error seen here, until the poll shows the switch */
    bool stop_unwritten; /* the switch is on its way to the database */
    struct fan_lane lanes[LANE_COUNT];
    guint pump_source;
    guint quota_timer; /* pumps again: after an answer of 0, and when the gate opens */
    int64_t quota_timer_us;
    uint64_t verdicts[VERDICT_KINDS]; /* not yet given to metrics */
};

enum chunk_phase {
    CHUNK_LOADING,   /* the broadcast is being loaded → TAKEOVER, LEAVING */
    CHUNK_TAKEOVER,  /* asking what the last holder left → SENDING */
    CHUNK_SENDING,   /* flights leave → RETRYING, CLOSING, LEAVING */
    CHUNK_RETRYING,  /* due retries leave → FINISHING, CLOSING, LEAVING */
    CHUNK_CLOSING,   /* the rest gets one outcome → FINISHING */
    CHUNK_FINISHING, /* → gone */
    CHUNK_LEAVING,   /* gives the lease back → gone */
    CHUNK_LOST,      /* another process holds it; waits for open requests → gone */
};

struct range {
    int32_t first;
    int32_t size;
};

struct chunk {
    struct fan_lane *lane;
    struct fan_broadcast *broadcast;
    struct chunk_claim claim;
    enum chunk_phase phase;
    int32_t member_count;
    int32_t next_position;
    int64_t *ids;
    int64_t lease_until_mono_us; /* nothing is sent later than this without a renewal */
    uint8_t closing;             /* outcome of what is left; 0 = none */
    bool aborting;               /* stop or shutdown: nothing new leaves */
    bool maybe_retries;          /* retries may be due */
    bool busy;                   /* a chunk-level statement is out */
    GArray *again;      /* struct range: uncertain flights of the last holder to send again */
    GPtrArray *flights; /* struct flight *, owned */
};

enum flight_kind {
    FLIGHT_FIRST, /* members leave for the first time, or again after a takeover */
    FLIGHT_RETRY, /* members from fanout_retry */
};

/* Per member: what the verdict left to be written. */
struct member {
    uint8_t code; /* outcome byte; OUTCOME_NONE while open */
    bool tried_at_once;
    bool counted; /* this flight's attempt is in attempts */
    bool proven_before;
    bool may_have_arrived; /* an earlier attempt got no answer */
    uint8_t if_expired;
    int16_t attempts;
    int16_t payload_index;
    int32_t position; /* in the chunk */
    int64_t delay_ms; /* RETRY */
    int64_t token_at_us;
    int64_t first_age_ms; /* RETRY flights: since the first attempt */
    const char *reason;   /* static */
    bool token_dead;      /* retire the token */
    bool token_proven;    /* first acceptance */
};

struct flight {
    struct chunk *chunk;
    enum flight_kind kind;
    int32_t first; /* FLIGHT_FIRST */
    int32_t size;
    bool resend;    /* marked by an earlier holder */
    bool refused;   /* the mark was refused: nothing was sent */
    unsigned asked; /* statements of its loading still out: it lives until they are answered */
    unsigned overtakes_before; /* the channel's, when its devices were asked for */
    bool in_ready;
    bool settling;
    PGresult *devices; /* owns the tokens */
    struct push *pushes;
    struct member *members;
    int32_t next;        /* first member not yet handed to a channel */
    GArray *at_once;     /* int32_t: members to send again now */
    int32_t open;        /* members without a code */
    int32_t outstanding; /* given to the channel, not yet answered */
};

struct fanout {
    struct fanout_options options;
    struct fan_channel channels[FANOUT_CHANNELS_MAX];
    size_t n_channels;
    GHashTable *broadcasts; /* int64_t → struct fan_broadcast * */
    GPtrArray *plans;       /* struct plan *, see fanout_plan.c */
    bool all_stopped;
    bool any_live;
    bool polling;
    unsigned told, told_before_poll; /* emergencies notified; those that the poll out will know */
    uint64_t turns;
    bool poll_again;
    bool claiming_over;
    guint poll_timer;
    guint renew_timer;
    bool renewing;
    bool draining;
    void (*drained)(void *user);
    void *drained_user;
    void (*spare_room)(struct channel *channel, void *user);
    void *spare_room_user;
    GPtrArray *laters; /* struct later *: pending repeats of failed statements */
};

static inline int64_t fanout_mono(const struct fanout *f)
{
    return f->options.clock->clock.mono_us(&f->options.clock->clock);
}
static inline int64_t fanout_utc(const struct fanout *f)
{
    return f->options.clock->clock.utc_us(&f->options.clock->clock);
}

/* fanout_poll.c */
/* An emergency has been released, says a notification: everything else waits until a poll that
 * began later knows more. */
void fanout_overtake(struct fanout *fanout);
void fanout_poll_soon(struct fanout *fanout);
gboolean fanout_poll_tick(gpointer fanout);

/* fanout.c */
void fanout_check_drained(struct fanout *fanout);
/* Logs a failed statement (error NULL: it did not fail, but says nothing yet) and calls again(user)
 * after a pause: the statement is repeatable. */
void fanout_again(struct fanout *fanout, const char *what, const GError *error,
                  void (*again)(void *user), void *user);
/* Forgets pending repeats for user, before it is freed. */
void fanout_forget(struct fanout *fanout, const void *user);

/* fanout_broadcast.c */
struct fan_broadcast *fan_broadcast_get(struct fanout *fanout, int64_t id);
void fan_broadcast_free(struct fan_broadcast *broadcast);
/* The payload for a device's language, rendered when first asked for; index into payloads. */
int fan_broadcast_payload(struct fan_broadcast *broadcast, struct channel *channel,
                          const char *language, bool silent);

/* fanout_plan.c */
void fan_plan_start(struct fanout *fanout, int64_t broadcast_id);
void fan_plans_free(struct fanout *fanout);
/* The broadcast is loaded (or refused): plans that waited for it go on. */
void fan_plans_step(struct fanout *fanout);

/* fanout_claim.c */
void fan_lane_claim(struct fan_lane *lane);
void fanout_claim_all(struct fanout *fanout);
/* Ends chunks of broadcasts that are over and that nobody came for: no process serves them. */
void fanout_claim_over(struct fanout *fanout);
void fanout_renew_all(struct fanout *fanout);

/* fanout_chunk.c */
void fan_chunk_step(struct chunk *chunk);
void fan_chunk_lose(struct chunk *chunk);
/* Nothing overtakes it any more. */
void fan_chunk_go_on(struct chunk *chunk);
void fan_chunk_close(struct chunk *chunk, uint8_t outcome);
void fan_chunk_abort(struct chunk *chunk);
void fan_chunk_free(struct chunk *chunk);
void fan_chunk_held(struct chunk *chunk, int64_t asked_mono_us);

/* fanout_flight.c */
void fan_flight_start(struct chunk *chunk, int32_t first, int32_t size, bool resend);
void fan_flight_start_retries(struct chunk *chunk);
void fan_flight_free(struct flight *flight);
/* Members not yet handed to the channel get this code (OUTCOME_RETRY: tried again later). */
void fan_flight_drop_unsent(struct flight *flight, uint8_t code);
void fan_flight_check_settled(struct flight *flight);
/* What was read before an emergency may be held for iOS since: its unsent members are read again.
 */
bool fan_flight_stale(const struct flight *flight);
void fan_flight_recheck(struct flight *flight);
/* Closes a member; an attempt that may have arrived stays UNKNOWN_SENT whatever ended the wait. */
void fan_member_close(struct flight *flight, struct member *member, uint8_t code);
/* What fanout_retry is told about a member that gets OUTCOME_RETRY. reason is static. */
void fan_member_retry(struct member *member, int64_t delay_ms, uint8_t if_expired,
                      const char *reason);

/* fanout_verdict.c */
void fan_flight_done(struct push *push, const struct verdict *verdict);

/* fanout_quota.c */
/* Leases quota for n more sends unless enough is in hand; the pump runs when it has come. */
void fan_channel_want(struct fan_channel *channel, int64_t n, bool emergency);
/* The provider wants to see nothing for so long. Returns whether it is news for the others. */
bool fan_channel_gate(struct fan_channel *channel, int64_t wait_us);
/* The same, and tells the others. */
void fan_channel_gate_all(struct fan_channel *channel, int64_t wait_us);

/* fanout_pump.c */
void fan_lane_ready(struct fan_lane *lane, struct flight *flight);
/* A connection of it is up. */
bool fan_lane_connected(const struct fan_lane *lane);
void fan_lane_unready(struct fan_lane *lane, struct flight *flight);
void fan_channel_pump_soon(struct fan_channel *channel);
bool fan_channel_closed(const struct fan_channel *channel);

#endif
