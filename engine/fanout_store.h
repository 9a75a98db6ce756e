/* The statements of the fan-out. Each is one statement = one transaction, carries the epoch of its
 * claim, and may be repeated when its fate is unknown: the second run changes nothing.
 * All times are the database's; only delays are handed over. */
#ifndef LOA_ENGINE_FANOUT_STORE_H
#define LOA_ENGINE_FANOUT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/db_async.h"
#include "engine/channel.h"

struct member_communes;

#define FANOUT_PROTOCOL 1    /* chunks of a newer protocol are left to newer processes */
#define FLIGHT_MAX      1000 /* members */

/* The claim that a statement acts under. */
struct chunk_claim {
    int64_t broadcast_id;
    int32_t chunk_no;
    int32_t epoch;
    int64_t lease_ms;
};

/* What is going on. Rows (what text, broadcast_id bigint, channel text, now timestamptz):
 * 'now' always; 'stop' with broadcast_id or channel (both null = all); 'live' for each released
 * broadcast that is not finished; 'cancelled' for those taken back;
 * 'emergency' with the channel for each that is being sent there for the first time;
 * 'gate' for each channel whose provider wants to see nothing before now; 'plan' for each
 * whose audience is not frozen yet and whose planning lease is free. */
void fanout_poll(struct db_async *db, db_async_cb cb, void *user);

/* Chunks from which on information is a heavy fan-out: about 100,000 devices. One runs at a time.
 */
#define HEAVY_CHUNKS 8

/* What a lane wants to claim. */
struct claim_wish {
    const char *channel;
    enum lane lane;
    int limit;
    bool emergencies_only;
    int64_t not_of; /* a broadcast that has enough here; 0 = none */
    const char *owner;
    int64_t lease_ms;
    const int64_t *except; /* broadcasts refused here; borrowed during the call */
    size_t n_except;
};
/* Claims up to limit chunks of one lane, the most urgent first, broadcasts of one urgency in turns.
 * Rows (broadcast_id, chunk_no, epoch, member_count, next_position, members bytea, closing int:
 * outcome byte that ends the chunk now, 0 = go on). */
void fanout_claim(struct db_async *db, const struct claim_wish *wish, db_async_cb cb, void *user);

/* Claims up to limit chunks of any lane whose broadcast has been over for some leases and that no
 * process came for: their channel or lane is not served. Rows as fanout_claim. */
void fanout_claim_unserved(struct db_async *db, int limit, const char *owner, int64_t lease_ms,
                           const int64_t *refused, size_t n_refused, db_async_cb cb, void *user);

/* Renews leases. Rows (broadcast_id, chunk_no) still held. */
void fanout_renew(struct db_async *db, const struct chunk_claim *claims, size_t n, db_async_cb cb,
                  void *user);

/* Gives chunks back at once: shutdown, stop. No rows matter. */
void fanout_release(struct db_async *db, const struct chunk_claim *claim, db_async_cb cb,
                    void *user);

/* Flights that were out when the claim changed hands: counted as uncertain; sent again by an
 * emergency (resend), else settled UNKNOWN_SENT. Rows (first int, size int, again bool: it is open
 * and to be sent again). */
void fanout_takeover(struct db_async *db, const struct chunk_claim *claim, bool resend,
                     db_async_cb cb, void *user);
/* The same for retries that were flying. One row (epoch_held bool). */
void fanout_takeover_retries(struct db_async *db, const struct chunk_claim *claim, bool resend,
                             db_async_cb cb, void *user);

/* Marks the next flight. One row (opened bool, held bool, closing int, stopped bool). */
void fanout_mark(struct db_async *db, const struct chunk_claim *claim, int32_t first, int32_t size,
                 db_async_cb cb, void *user);

/* Addresses of devices. Rows by ascending id: (id, channel, push_token, is_fid, apns_sandbox,
 * language, realm, stale bool, token_at, proven bool, silent_information, hold_ms bigint); unknown
 * ids are absent. hold_ms: null, or how long an iOS device must get nothing that APNs would store
 * in the place of a live emergency; always null unless holds. */
void fanout_devices(struct db_async *db, const int64_t *ids, size_t n, int64_t stale_days,
                    bool holds, db_async_cb cb, void *user);

/* What a flight learned. Arrays are borrowed until the call returns. */
struct flight_result {
    int32_t first;
    const uint8_t *codes; /* size bytes */
    int32_t size;
    /* retries: members whose byte is OUTCOME_RETRY */
    size_t n_retry;
    const int64_t *retry_device;
    const int32_t *retry_position;
    const int32_t *retry_attempt;
    const int64_t *retry_delay_ms;
    const int32_t *retry_if_expired;
    const char *const *retry_reason;
    /* tokens that are dead, and tokens accepted for the first time */
    size_t n_dead;
    const int64_t *dead_device;
    const char *const *dead_token;
    size_t n_proven;
    const int64_t *proven_device;
    const char *const *proven_token;
};
/* Closes a flight. One row (held bool). */
void fanout_settle(struct db_async *db, const struct chunk_claim *claim,
                   const struct flight_result *result, db_async_cb cb, void *user);

/* Due retries of the chunk, marked as flying. Rows as fanout_devices, with (attempt int, position
 * int, first_age_ms bigint, if_expired, device_id) added at the end; of unregistered devices the
 * columns of fanout_devices are null. */
void fanout_retries(struct db_async *db, const struct chunk_claim *claim, int32_t limit,
                    int64_t stale_days, bool holds, db_async_cb cb, void *user);

/* What a retry flight learned: codes[i] belongs to position[i]; OUTCOME_RETRY keeps it waiting.
 * first is not used. One row (held bool). */
void fanout_settle_retries(struct db_async *db, const struct chunk_claim *claim,
                           const struct flight_result *result, const int64_t *device,
                           const int32_t *position, db_async_cb cb, void *user);

/* Ends what is left of a chunk: members not yet in a flight and waiting retries become outcome
 * (UNKNOWN_SENT stays, and an expiry keeps each retry's own if_expired). One row (held bool). */
void fanout_close_rest(struct db_async *db, const struct chunk_claim *claim, int32_t next_position,
                       uint8_t outcome, db_async_cb cb, void *user);

/* All members are in settled flights: done when no retry waits, else due again at the next one; the
 * lease is given back. One row (state text) or none when the epoch is lost. */
void fanout_finish(struct db_async *db, const struct chunk_claim *claim, db_async_cb cb,
                   void *user);
/* Marks the broadcast (0 = each) finished when it is planned and nothing is open. No rows matter.
 */
void fanout_finish_broadcast(struct db_async *db, int64_t broadcast_id, db_async_cb cb, void *user);
/* Notes which emergencies have tried every device once: from then on the hold for iOS is counted.
 * No rows matter. */
void fanout_first_pass(struct db_async *db, db_async_cb cb, void *user);

/* Planning: takes the lease of one broadcast's plan. One row (cursor_id, next_chunk, epoch) or
 * none. */
void fanout_plan_claim(struct db_async *db, int64_t broadcast_id, const char *owner,
                       int64_t lease_ms, db_async_cb cb, void *user);
/* The next devices by id. Rows (id, channel, sandbox bool, proven bool, commune or null). communes
 * empty = all. */
void fanout_plan_read(struct db_async *db, const char *realm, const char *const *communes,
                      size_t n_communes, int64_t after_id, int limit, db_async_cb cb, void *user);
/* One chunk of a planning step. */
struct plan_chunk {
    const char *channel;
    enum lane lane;
    int32_t count;
    GByteArray *members;
    struct member_communes *communes; /* of the members, in their order */
};
/* Writes the chunks of one step and moves the cursor, all or nothing; n may be 0; done ends the
 * plan. One row (held bool); not held also when the broadcast was cancelled meanwhile. */
void fanout_plan_write(struct db_async *db, int64_t broadcast_id, int32_t epoch,
                       int64_t cursor_before, int64_t cursor_after, int32_t next_chunk,
                       int priority, bool done, const struct plan_chunk *chunks, size_t n,
                       int64_t lease_ms, db_async_cb cb, void *user);

/* Leases up to n sends from the channel's quota for a second (engine/quota.h). One row (bigint). */
void fanout_quota_lease(struct db_async *db, const char *channel, int64_t per_minute,
                        int64_t reserve, int64_t n, bool emergency, db_async_cb cb, void *user);
/* Tells all processes that nothing may leave on the channel for wait_ms. No rows matter. */
void fanout_gate(struct db_async *db, const char *channel, int64_t wait_ms, db_async_cb cb,
                 void *user);

/* REJECTED_PAYLOAD: ends the broadcast on the channel. REJECTED_CONFIG: stops the channel. Audited.
 */
void fanout_halt(struct db_async *db, int64_t broadcast_id, const char *channel, const char *reason,
                 db_async_cb cb, void *user);
void fanout_stop_channel(struct db_async *db, const char *channel, const char *reason,
                         db_async_cb cb, void *user);
/* The release signature did not verify: never looked at again. Audited. */
void fanout_refuse(struct db_async *db, int64_t broadcast_id, const char *reason, db_async_cb cb,
                   void *user);

#endif
