/* How far a broadcast has come, derived from its flights and receipts: nothing is counted beside
 * them. Memory is one tally per channel (and per commune, when asked for), whatever the number of
 * devices. */
#ifndef LOA_ENGINE_PROGRESS_STORE_H
#define LOA_ENGINE_PROGRESS_STORE_H

#include "base/auto.h"
#include "base/db.h"
#include "engine/outcome.h"
#include "engine/reach.h"

#define PROGRESS_CHANNELS 3

struct progress_channel {
    const char *name; /* "fcm", "apns", "mqtt" */
    uint64_t targeted;
    uint64_t sending;           /* in flights that are out */
    uint64_t not_sent;          /* in no flight yet */
    struct outcome_tally tally; /* one byte per member of a settled flight; RETRY included */
    uint64_t chunks;
    uint64_t chunks_open;
    uint64_t shown; /* receipts of devices that counted on this channel when the first one came */
    uint64_t opened;
    char *stopped; /* reason of a stop switch that applies here; NULL = none */
    char *halted;  /* reason of REJECTED_PAYLOAD; NULL = none */
};

struct progress {
    int64_t broadcast_id;
    struct progress_channel channels[PROGRESS_CHANNELS];
    bool planned;   /* the audience is frozen */
    bool finished;  /* every member has its outcome */
    bool refused;   /* the signature did not verify */
    uint64_t shown; /* all receipts */
    uint64_t opened;
    /* Chunks that are done never change: they are read once. */
    GArray *done_chunks; /* int32_t */
    struct progress_channel done[PROGRESS_CHANNELS];
    /* The same per commune, of the same readings: its sums are the channels' numbers. NULL unless
     * progress_by_commune was called. */
    struct reach *reach;
    struct reach *reach_done;
};
struct progress *progress_new(int64_t broadcast_id);
void progress_free(struct progress *progress);
LOA_AUTO_DEFINE(progress, progress_free)
/* From the next reading on, per commune, too. Before the first reading. */
void progress_by_commune(struct progress *progress);

/* Reads where it stands now. The numbers of all channels are of one instant; receipts (kept from
 * the reading before unless wanted: counting them takes time, 0.15 s for 500,000) of one a little
 * earlier, switches of one a little later. NOT_FOUND; INTERNAL when a chunk's communes are broken.
 */
bool progress_store_read(struct db *db, struct progress *progress, bool receipts, GError **error);

/* targeted − (final outcomes + retry + sending + not sent): 0, or the engine is broken. */
int64_t progress_unaccounted(const struct progress_channel *channel);

#endif
