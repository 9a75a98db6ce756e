/* A chunk from claim to end. fan_chunk_step looks at what is there and does the next thing; every
 * callback ends in it. Every statement is repeatable, so a failed one is simply run again; an
 * answer "not held" means that another process has the chunk: it is dropped on the spot. */
#include <assert.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/fanout_internal.h"
#include "engine/members.h"

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

static void step_sending(struct chunk *chunk)
{
    while (!chunk->aborting && chunk->closing == 0 && chunk->flights->len < FLIGHTS_PER_CHUNK) {
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
    if (chunk->flights->len > 0)
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
    if (chunk->flights->len > 0)
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

/* ---- claiming and renewing ---- */

static void chunk_claimed(struct fan_lane *lane, const PGresult *res, int row, int64_t asked_us)
{
    struct chunk *chunk = g_new0(struct chunk, 1);
    size_t len;
    const void *members = db_get_bytes(res, row, 5, &len);
    g_autoptr(GError) error = NULL;

    chunk->lane = lane;
    chunk->claim = (struct chunk_claim){
        .broadcast_id = db_get_i64(res, row, 0),
        .chunk_no = (int32_t)db_get_i64(res, row, 1),
        .epoch = (int32_t)db_get_i64(res, row, 2),
        .lease_ms = lane->channel->fanout->options.settings->deliver_lease_ms,
    };
    chunk->member_count = (int32_t)db_get_i64(res, row, 3);
    chunk->next_position = (int32_t)db_get_i64(res, row, 4);
    chunk->closing = (uint8_t)db_get_i64(res, row, 6);
    chunk->maybe_retries = chunk->claim.epoch > 1;
    chunk->again = g_array_new(FALSE, FALSE, sizeof(struct range));
    chunk->flights = g_ptr_array_new();
    chunk->ids = g_new(int64_t, (gsize)chunk->member_count);
    chunk->broadcast = fan_broadcast_get(lane->channel->fanout, chunk->claim.broadcast_id);
    chunk->broadcast->chunks++;
    fan_chunk_held(chunk, asked_us);
    g_ptr_array_add(lane->chunks, chunk);
    metric_add(METRIC_CHUNKS_CLAIMED, lane->channel->channel->name, 1);
    if (!members_decode(members, len, chunk->ids, (size_t)chunk->member_count, &error)) {
        log_event(LOG_LEVEL_ALERT, "chunk_broken", LOG_INT("broadcast", chunk->claim.broadcast_id),
                  LOG_INT("chunk", chunk->claim.chunk_no), LOG_STR("error", error->message));
        chunk->phase = CHUNK_LOST; /* the lease stays: tried once per lease, not without a pause */
    }
    fan_chunk_step(chunk);
}

struct claim_call {
    struct fan_lane *lane;
    bool *claiming; /* the claim's flag: one at a time */
    int64_t asked_us;
};

static void claimed(PGresult *res, const GError *error, void *user)
{
    g_autofree struct claim_call *call = user;
    struct fan_lane *lane = call->lane;

    if (error != NULL) /* the next poll tries again */
        log_event(LOG_LEVEL_WARN, "claim_failed", LOG_STR("error", error->message));
    for (int row = 0; error == NULL && row < PQntuples(res); row++)
        chunk_claimed(lane, res, row, call->asked_us);
    *call->claiming = false;
    fanout_check_drained(lane->channel->fanout);
}

static struct claim_call *claim_begin(struct fan_lane *lane, bool *claiming)
{
    struct claim_call *call = g_new0(struct claim_call, 1);

    *claiming = true;
    call->lane = lane;
    call->claiming = claiming;
    call->asked_us = fanout_mono(lane->channel->fanout);
    return call;
}

static int free_places(const struct fan_lane *lane)
{
    const struct fanout *f = lane->channel->fanout;

    if (f->draining || !f->any_live)
        return 0;
    return (int)f->options.settings->deliver_chunks_per_lane - (int)lane->chunks->len;
}

/* Broadcasts refused here: their chunks are left alone, also before the refusal is written. */
static GArray *refused(struct fanout *f)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
    GHashTableIter iter;
    struct fan_broadcast *b;

    g_hash_table_iter_init(&iter, f->broadcasts);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&b))
        if (b->state == FAN_BROADCAST_REFUSED)
            g_array_append_val(ids, b->id);
    return ids;
}

/* The database knows the stop switches: under one it hands out only what is over. */
void fan_lane_claim(struct fan_lane *lane)
{
    struct fanout *f = lane->channel->fanout;
    int limit = free_places(lane);
    g_autoptr(GArray) except = NULL;

    if (lane->n_slots == 0 || lane->claiming || limit <= 0 || lane->channel->stopped)
        return;
    except = refused(f);
    fanout_claim(f->options.db_plan, lane->channel->channel->name, lane->lane, limit,
                 f->options.owner, f->options.settings->deliver_lease_ms,
                 (const int64_t *)(void *)except->data, except->len, claimed,
                 claim_begin(lane, &lane->claiming));
}

/* Nothing is sent for them, so any lane can hold them. */
void fanout_claim_over(struct fanout *f)
{
    struct fan_lane *lane = &f->channels[0].lanes[0];
    int limit = f->n_channels > 0 ? free_places(lane) : 0;
    g_autoptr(GArray) except = NULL;

    if (limit <= 0 || f->claiming_over)
        return;
    except = refused(f);
    fanout_claim_unserved(f->options.db_plan, limit, f->options.owner,
                          f->options.settings->deliver_lease_ms,
                          (const int64_t *)(void *)except->data, except->len, claimed,
                          claim_begin(lane, &f->claiming_over));
}

/* ---- renewing every lease in one statement ---- */

struct renew_call {
    struct fanout *fanout;
    int64_t asked_us;
    GArray *claims; /* struct chunk_claim: what was asked for */
};

static struct chunk *find_chunk(struct fanout *f, const struct chunk_claim *claim)
{
    for (size_t i = 0; i < f->n_channels; i++)
        for (int l = 0; l < LANE_COUNT; l++) {
            GPtrArray *chunks = f->channels[i].lanes[l].chunks;
            for (guint c = 0; c < chunks->len; c++) {
                struct chunk *chunk = chunks->pdata[c];
                if (chunk->claim.broadcast_id == claim->broadcast_id &&
                    chunk->claim.chunk_no == claim->chunk_no && chunk->claim.epoch == claim->epoch)
                    return chunk;
            }
        }
    return NULL;
}

static bool answered(const PGresult *res, const struct chunk_claim *claim)
{
    for (int row = 0; row < PQntuples(res); row++)
        if (db_get_i64(res, row, 0) == claim->broadcast_id &&
            db_get_i64(res, row, 1) == claim->chunk_no)
            return true;
    return false;
}

static void renewed(PGresult *res, const GError *error, void *user)
{
    g_autofree struct renew_call *call = user;
    struct fanout *f = call->fanout;

    f->renewing = false;
    for (guint i = 0; error == NULL && i < call->claims->len; i++) {
        const struct chunk_claim *claim = &g_array_index(call->claims, struct chunk_claim, i);
        struct chunk *chunk = find_chunk(f, claim);
        if (chunk == NULL || chunk->phase == CHUNK_LOST)
            continue;
        if (answered(res, claim)) {
            fan_chunk_held(chunk, call->asked_us);
        } else if (chunk->phase != CHUNK_FINISHING && chunk->phase != CHUNK_LEAVING) {
            fan_chunk_lose(chunk);
            fan_chunk_step(chunk);
        }
    }
    g_array_free(call->claims, TRUE);
    for (size_t i = 0; i < f->n_channels; i++)
        fan_channel_pump_soon(&f->channels[i]);
}

void fanout_renew_all(struct fanout *f)
{
    struct renew_call *call;

    if (f->renewing)
        return;
    call = g_new0(struct renew_call, 1);
    call->fanout = f;
    call->asked_us = fanout_mono(f);
    call->claims = g_array_new(FALSE, FALSE, sizeof(struct chunk_claim));
    for (size_t i = 0; i < f->n_channels; i++)
        for (int l = 0; l < LANE_COUNT; l++) {
            const GPtrArray *chunks = f->channels[i].lanes[l].chunks;
            for (guint c = 0; c < chunks->len; c++)
                g_array_append_val(call->claims, ((struct chunk *)chunks->pdata[c])->claim);
        }
    if (call->claims->len == 0) {
        g_array_free(call->claims, TRUE);
        g_free(call);
        return;
    }
    f->renewing = true;
    fanout_renew(f->options.db, (const struct chunk_claim *)(void *)call->claims->data,
                 call->claims->len, renewed, call);
}
