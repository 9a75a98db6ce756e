/* A chunk from claim to end. fan_chunk_step looks at what is there and does the next thing; every
 * callback ends in it. Every statement is repeatable, so a failed one is simply run again; an
 * answer "not held" means that another process has the chunk: it is dropped on the spot. */
#include <assert.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/fanout_internal.h"

static struct fanout *fanout_of(const struct chunk *chunk)
{
    return chunk->lane->channel->fanout;
}

static struct db_async *db_of(const struct chunk *chunk)
{
    return fanout_of(chunk)->options.db;
}

void fan_chunk_free(struct chunk *chunk)
{
    struct fanout *f = fanout_of(chunk);

    fanout_forget(f, chunk);
    g_ptr_array_remove_fast(chunk->lane->chunks, chunk);
    while (chunk->flights->len > 0)
        fan_flight_free(chunk->flights->pdata[0]);
    g_ptr_array_free(chunk->flights, TRUE);
    g_array_free(chunk->again, TRUE);
    chunk->broadcast->chunks--;
    g_free(chunk->ids);
    g_free(chunk);
}

/* Frees the chunk and looks for the next one. */
static void leave(struct chunk *chunk)
{
    struct fan_lane *lane = chunk->lane;

    fan_chunk_free(chunk);
    fan_lane_claim(lane);
    fanout_check_drained(lane->channel->fanout);
}

void fan_chunk_held(struct chunk *chunk, int64_t asked_mono_us)
{
    int64_t until = asked_mono_us + chunk->claim.lease_ms * USEC_PER_MSEC;

    if (until > chunk->lease_until_mono_us)
        chunk->lease_until_mono_us = until;
}

void fan_chunk_lose(struct chunk *chunk)
{
    if (chunk->phase == CHUNK_LOST)
        return;
    chunk->phase = CHUNK_LOST;
    log_event(LOG_LEVEL_WARN, "lease_lost", LOG_INT("broadcast", chunk->claim.broadcast_id),
              LOG_INT("chunk", chunk->claim.chunk_no), LOG_INT("epoch", chunk->claim.epoch));
    metric_add(METRIC_LEASES_LOST, chunk->lane->channel->channel->name, 1);
    for (guint i = 0; i < chunk->flights->len; i++)
        fan_lane_unready(chunk->lane, chunk->flights->pdata[i]);
}

/* true when the answer says that the chunk is still ours; else it is lost. */
static bool held(struct chunk *chunk, const PGresult *res)
{
    if (PQntuples(res) == 1 && db_get_bool(res, 0, 0))
        return true;
    fan_chunk_lose(chunk);
    return false;
}

static void step(void *user)
{
    struct chunk *chunk = user;

    chunk->busy = false;
    fan_chunk_step(chunk);
}

/* Common beginning of the callbacks: on an error the phase's statement is issued again by step().
 */
static bool failed(struct chunk *chunk, const char *what, const GError *error)
{
    if (error == NULL) {
        chunk->busy = false;
        return false;
    }
    fanout_again(fanout_of(chunk), what, error, step, chunk);
    return true;
}

/* ---- takeover ---- */

static void retries_taken(PGresult *res, const GError *error, void *user)
{
    struct chunk *chunk = user;

    if (failed(chunk, "takeover_retries", error))
        return;
    if (held(chunk, res))
        chunk->phase = CHUNK_SENDING;
    fan_chunk_step(chunk);
}

static void taken(PGresult *res, const GError *error, void *user)
{
    struct chunk *chunk = user;

    if (failed(chunk, "takeover", error))
        return;
    for (int row = 0; row < PQntuples(res); row++) {
        struct range range = {(int32_t)db_get_i64(res, row, 0), (int32_t)db_get_i64(res, row, 1)};
        if (range.first < 0 || range.size < 1 || range.first > chunk->member_count - range.size) {
            log_event(LOG_LEVEL_ALERT, "chunk_broken",
                      LOG_INT("broadcast", chunk->claim.broadcast_id),
                      LOG_INT("chunk", chunk->claim.chunk_no), LOG_INT("first", range.first));
            fan_chunk_lose(chunk); /* the lease stays: tried once per lease, not without a pause */
            fan_chunk_step(chunk);
            return;
        }
        metric_add(METRIC_FLIGHTS_UNCERTAIN, chunk->lane->channel->channel->name, 1);
        log_event(LOG_LEVEL_WARN, "flight_uncertain",
                  LOG_INT("broadcast", chunk->claim.broadcast_id),
                  LOG_INT("chunk", chunk->claim.chunk_no), LOG_INT("first", range.first),
                  LOG_INT("size", range.size), LOG_BOOL("resend", chunk->broadcast->emergency));
        if (db_get_bool(res, row, 2))
            g_array_append_val(chunk->again, range);
    }
    chunk->busy = true;
    fanout_takeover_retries(db_of(chunk), &chunk->claim,
                            chunk->broadcast->emergency && chunk->closing == 0, retries_taken,
                            chunk);
}

/* ---- the end ---- */

static void finish_swept(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)error; /* the sweep of the poll asks again */
    (void)user;
}

static void finished(PGresult *res, const GError *error, void *user)
{
    struct chunk *chunk = user;
    struct fanout *f = fanout_of(chunk);

    if (failed(chunk, "chunk_finish", error))
        return;
    if (PQntuples(res) == 0) {
        fan_chunk_lose(chunk);
        fan_chunk_step(chunk);
        return;
    }
    if (g_strcmp0(db_get_text(res, 0, 0), "done") == 0)
        fanout_finish_broadcast(f->options.db_plan, chunk->claim.broadcast_id, finish_swept, NULL);
    leave(chunk);
}

static void released(PGresult *res, const GError *error, void *user)
{
    struct chunk *chunk = user;

    (void)res;
    if (failed(chunk, "chunk_release", error))
        return;
    leave(chunk);
}

static void rest_closed(PGresult *res, const GError *error, void *user)
{
    struct chunk *chunk = user;

    if (failed(chunk, "chunk_close", error))
        return;
    if (held(chunk, res)) {
        chunk->next_position = chunk->member_count;
        chunk->phase = CHUNK_FINISHING;
    }
    fan_chunk_step(chunk);
}

void fan_chunk_close(struct chunk *chunk, uint8_t outcome)
{
    if (chunk->closing != 0 || chunk->phase == CHUNK_LOST)
        return;
    chunk->closing = outcome;
    for (guint i = chunk->flights->len; i-- > 0;)
        if (i < chunk->flights->len)
            fan_flight_drop_unsent(chunk->flights->pdata[i], outcome);
    fan_chunk_step(chunk);
}

void fan_chunk_go_on(struct chunk *chunk)
{
    for (guint i = chunk->flights->len; i-- > 0;)
        if (i < chunk->flights->len)
            fan_flight_recheck(chunk->flights->pdata[i]);
    fan_chunk_step(chunk);
}

void fan_chunk_abort(struct chunk *chunk)
{
    if (chunk->aborting || chunk->phase == CHUNK_LOST || chunk->closing != 0)
        return;
    chunk->aborting = true;
    for (guint i = chunk->flights->len; i-- > 0;)
        if (i < chunk->flights->len)
            fan_flight_drop_unsent(chunk->flights->pdata[i], OUTCOME_RETRY);
    fan_chunk_step(chunk);
}

/* ---- the step ---- */

/* An emergency is being sent: what is out comes to its end, nothing new begins. */
static bool waits(const struct chunk *chunk)
{
    return chunk->lane->channel->overtaken && !chunk->broadcast->emergency && !chunk->aborting &&
           chunk->closing == 0;
}

static void step_sending(struct chunk *chunk)
{
    while (!chunk->aborting && chunk->closing == 0 && !waits(chunk) &&
           chunk->flights->len < FLIGHTS_PER_CHUNK) {
        int32_t left = chunk->member_count - chunk->next_position;
        int32_t flight = (int32_t)fanout_of(chunk)->options.settings->deliver_flight_size;
        if (chunk->again->len > 0) {
            struct range range = g_array_index(chunk->again, struct range, 0);
            g_array_remove_index(chunk->again, 0);
            fan_flight_start(chunk, range.first, range.size, true);
        } else if (left > 0) {
            int32_t first = chunk->next_position;
            chunk->next_position += MIN(left, flight);
            fan_flight_start(chunk, first, MIN(left, flight), false);
        } else {
            break;
        }
    }
    if (chunk->flights->len > 0 || waits(chunk))
        return;
    if (chunk->closing != 0) {
        /* What was to be sent again stays as the dead process left it. */
        chunk->phase = chunk->again->len > 0 ? CHUNK_TAKEOVER : CHUNK_CLOSING;
        g_array_set_size(chunk->again, 0);
    } else if (chunk->aborting)
        chunk->phase = chunk->next_position == chunk->member_count && chunk->again->len == 0
                           ? CHUNK_FINISHING
                           : CHUNK_LEAVING;
    else
        chunk->phase = chunk->maybe_retries ? CHUNK_RETRYING : CHUNK_FINISHING;
    fan_chunk_step(chunk);
}

static void step_retrying(struct chunk *chunk)
{
    if (chunk->flights->len > 0 || waits(chunk))
        return;
    if (chunk->closing != 0)
        chunk->phase = CHUNK_CLOSING;
    else if (chunk->aborting || !chunk->maybe_retries)
        chunk->phase = CHUNK_FINISHING;
    if (chunk->phase == CHUNK_RETRYING)
        fan_flight_start_retries(chunk);
    else
        fan_chunk_step(chunk);
}

static void step_loading(struct chunk *chunk)
{
    switch (chunk->broadcast->state) {
    case FAN_BROADCAST_LOADING:
        return;
    case FAN_BROADCAST_REFUSED:
        chunk->phase = CHUNK_LEAVING;
        break;
    case FAN_BROADCAST_READY:
        /* The first holder of a fresh chunk has nothing to take over. */
        chunk->phase = chunk->claim.epoch == 1 ? CHUNK_SENDING : CHUNK_TAKEOVER;
        break;
    }
    fan_chunk_step(chunk);
}

void fan_chunk_step(struct chunk *chunk)
{
    if (chunk->busy)
        return;
    switch (chunk->phase) {
    case CHUNK_LOADING:
        step_loading(chunk);
        break;
    case CHUNK_TAKEOVER:
        chunk->busy = true;
        fanout_takeover(db_of(chunk), &chunk->claim,
                        chunk->broadcast->emergency && chunk->closing == 0, taken, chunk);
        break;
    case CHUNK_SENDING:
        step_sending(chunk);
        break;
    case CHUNK_RETRYING:
        step_retrying(chunk);
        break;
    case CHUNK_CLOSING:
        chunk->busy = true;
        fanout_close_rest(db_of(chunk), &chunk->claim, chunk->next_position, chunk->closing,
                          rest_closed, chunk);
        break;
    case CHUNK_FINISHING:
        chunk->busy = true;
        fanout_finish(db_of(chunk), &chunk->claim, finished, chunk);
        break;
    case CHUNK_LEAVING:
        chunk->busy = true;
        fanout_release(db_of(chunk), &chunk->claim, released, chunk);
        break;
    case CHUNK_LOST:
        for (guint i = chunk->flights->len; i-- > 0;)
            fan_flight_check_settled(chunk->flights->pdata[i]);
        if (chunk->flights->len == 0)
            leave(chunk);
        break;
    }
}
