/* A small province for tests of the fan-out: a database with devices, two people, a release key,
 * and a channel whose provider is a script. */
#ifndef LOA_TESTS_SUPPORT_STAGE_H
#define LOA_TESTS_SUPPORT_STAGE_H

#include "base/db_async.h"
#include "base/settings.h"
#include "engine/broadcast_acts.h"
#include "engine/channel.h"
#include "engine/fanout.h"

struct stage {
    char *conninfo;
    struct db *db;
    struct settings *settings;
    struct account *creator, *approver;
    struct signing_key *creator_key, *approver_key, *release_key;
    struct release_keys *keys;
    char *dir;      /* keys */
    int64_t life_s; /* of the next release */
};

/* name: of the database, unique per test. */
struct stage *stage_new(const char *name);
void stage_free(struct stage *stage);

/* n devices of the channel, ids ascending from the first free one; tokens "t<id>"; proven or not.
 */
void stage_devices(struct stage *stage, const char *channel, int n, bool proven);

/* Writes and releases a province-wide broadcast through the real acts; returns its id. */
int64_t stage_release(struct stage *stage, bool emergency);
/* The same for one commune, which exists. */
int64_t stage_release_in(struct stage *stage, bool emergency, const char *commune);
/* Takes it back; returns the correction's id. */
int64_t stage_cancel(struct stage *stage, int64_t id);

/* One number, one statement. */
int64_t stage_i64(struct stage *stage, const char *sql);
void stage_exec(struct stage *stage, const char *sql);
/* Final outcomes of this byte in a broadcast's settled flights. */
int64_t stage_outcomes(struct stage *stage, int64_t broadcast_id, uint8_t byte);
/* Every file of sql/checks holds; prints what does not. */
void stage_assert_sums(struct stage *stage);

/* ---- the scripted provider ---- */

struct script_channel {
    struct channel channel;
    /* The verdict for a push; return false to leave it unanswered until script_answer_all. */
    bool (*judge)(struct script_channel *self, const struct push *push, struct verdict *out);
    void *user;
    GHashTable *sends; /* int64_t device id → GINT count of sends */
    uint64_t sent;
    GPtrArray *held; /* struct push *: unanswered */
    GQueue answers;  /* to be delivered from the loop */
    guint source;
    unsigned in_flight[LANE_COUNT];
    unsigned room;                /* of each lane's only slot */
    bool unreachable[LANE_COUNT]; /* the lane never connects */
    bool busy;                    /* connected, and takes nothing */
};
/* name must live; accepts everything until judge is set. */
struct script_channel *script_channel_new(const char *name);
/* Answers what was held. */
void script_answer_all(struct script_channel *script, enum verdict_kind kind);
/* The provider was allowed to keep it. */
bool script_stored(const struct push *push);
int script_sends(const struct script_channel *script, int64_t device_id);

/* A delivery loop over script channels; the databases' connections are its own. */
struct stage_loop {
    struct db_async *db, *db_plan, *db_scan;
    struct database_clock clock;
    struct fanout *fanout;
};
struct stage_loop *stage_loop_new(struct stage *stage, const char *owner,
                                  struct script_channel *const *scripts, size_t n);
/* Like a kill -9: nothing is written, leases stay. */
void stage_loop_kill(struct stage_loop *loop);
/* Runs the main loop until the statement's number is nonzero; fails after 20 s. */
void stage_until(struct stage *stage, const char *sql);
/* Same for a condition in memory. */
void stage_until_true(bool (*condition)(void *user), void *user);

#endif
