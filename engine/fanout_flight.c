/* A flight: at most 1,000 members under one durable mark. It loads their addresses, hands them to
 * the channel through the pump, turns verdicts into outcome bytes and retries, and writes all of it
 * in one statement. Tokens are borrowed from the result that brought them: nothing is copied per
 * device. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "engine/fanout_internal.h"
#include "engine/push_id.h"

static struct fanout *fanout_of(const struct flight *flight)
{
    return flight->chunk->lane->channel->fanout;
}

static struct flight *flight_new(struct chunk *chunk, enum flight_kind kind, int32_t first,
                                 int32_t size)
{
    struct flight *flight = g_new0(struct flight, 1);

    flight->chunk = chunk;
    flight->kind = kind;
    flight->first = first;
    flight->size = size;
    flight->at_once = g_array_new(FALSE, FALSE, sizeof(int32_t));
    g_ptr_array_add(chunk->flights, flight);
    return flight;
}

void fan_flight_free(struct flight *flight)
{
    struct chunk *chunk = flight->chunk;

    fanout_forget(fanout_of(flight), flight);
    fan_lane_unready(chunk->lane, flight);
    g_ptr_array_remove(chunk->flights, flight);
    g_clear_pointer(&flight->devices, PQclear);
    g_array_free(flight->at_once, TRUE);
    g_free(flight->pushes);
    g_free(flight->members);
    g_free(flight);
}

/* Frees the flight and lets its chunk go on. The chunk may be gone afterwards. */
static void flight_end(struct flight *flight)
{
    struct chunk *chunk = flight->chunk;

    fan_flight_free(flight);
    fan_chunk_step(chunk);
}

/* ---- members ---- */

/* Information to iOS waits while an emergency is live for the device: APNs would store it in the
 * emergency's place. Warnings do not wait, they are newer danger. */
static bool holds(const struct fan_broadcast *b)
{
    return b->broadcast->kind == BROADCAST_THONG_TIN && b->broadcast->realm == BROADCAST_LIVE;
}

bool fan_flight_stale(const struct flight *flight)
{
    return holds(flight->chunk->broadcast) &&
           flight->overtakes_before != flight->chunk->lane->channel->overtakes;
}

void fan_flight_recheck(struct flight *flight)
{
    if (fan_flight_stale(flight))
        fan_flight_drop_unsent(flight, OUTCOME_RETRY);
}

/* Why a device is not sent to now; OUTCOME_NONE when it is. Row layout: fanout_devices. */
static uint8_t suppressed(const struct flight *flight, const PGresult *res, int row)
{
    const struct fan_lane *lane = flight->chunk->lane;
    const struct fan_broadcast *b = flight->chunk->broadcast;
    const char *channel = db_get_text(res, row, 1);

    if (channel == NULL || strcmp(channel, "none") == 0)
        return OUTCOME_SUPPRESSED_UNREGISTERED;
    if (strcmp(channel, lane->channel->channel->name) != 0)
        return OUTCOME_SUPPRESSED_MOVED;
    if (db_get_bool(res, row, 4) != (lane->lane == LANE_SANDBOX))
        return OUTCOME_SUPPRESSED_MOVED;
    if (strcmp(db_get_text(res, row, 6), broadcast_realm_name(b->broadcast->realm)) != 0)
        return OUTCOME_SUPPRESSED_REALM;
    if (db_get_bool(res, row, 7) && !b->emergency)
        return OUTCOME_SUPPRESSED_STALE;
    return OUTCOME_NONE;
}

static void member_fill(struct flight *flight, int32_t i, const PGresult *res, int row)
{
    struct member *member = &flight->members[i];
    struct push *push = &flight->pushes[i];
    struct chunk *chunk = flight->chunk;
    struct fan_broadcast *b = chunk->broadcast;
    struct fan_payload *payload;
    const char *token;
    bool silent;

    member->code = suppressed(flight, res, row);
    if (member->code != OUTCOME_NONE)
        return;
    if (!db_is_null(res, row, 11)) {
        fan_member_retry(member, db_get_i64(res, row, 11), OUTCOME_EXPIRED, "emergency_live");
        member->code = OUTCOME_RETRY;
        return;
    }
    silent = db_get_bool(res, row, 10) && b->broadcast->kind == BROADCAST_THONG_TIN;
    member->payload_index = (int16_t)fan_broadcast_payload(b, chunk->lane->channel->channel,
                                                           db_get_text(res, row, 5), silent);
    payload = &g_array_index(b->payloads, struct fan_payload, member->payload_index);
    if (payload->payload == NULL) {
        member->code = OUTCOME_REJECTED_PAYLOAD;
        return;
    }
    member->token_at_us = db_get_utc_us(res, row, 8);
    member->proven_before = db_get_bool(res, row, 9);
    push->payload = payload->payload;
    token = db_get_text(res, row, 2);
    push->token = token != NULL ? token : "";
    push->is_fid = db_get_bool(res, row, 3);
    push->broadcast_id = b->id;
    push->lane = chunk->lane->lane;
    push->done = fan_flight_done;
    push->owner = flight;
}

static void flight_ready(struct flight *flight)
{
    struct chunk *chunk = flight->chunk;

    flight->open = 0;
    for (int32_t i = 0; i < flight->size; i++)
        flight->open += flight->members[i].code == OUTCOME_NONE;
    if (chunk->closing != 0)
        fan_flight_drop_unsent(flight, chunk->closing);
    else if (chunk->aborting)
        fan_flight_drop_unsent(flight, OUTCOME_RETRY);
    else if (flight->open > 0)
        fan_lane_ready(chunk->lane, flight);
    if (!chunk->lane->channel->overtaken)
        fan_flight_recheck(flight);
    fan_flight_check_settled(flight);
}

static void allocate(struct flight *flight)
{
    flight->pushes = g_new0(struct push, (gsize)flight->size);
    flight->members = g_new0(struct member, (gsize)flight->size);
}

/* Rows come by ascending id, as do the chunk's members: a merge; who is missing is unregistered. */
static void fill_first(struct flight *flight)
{
    const PGresult *res = flight->devices;
    int row = 0, rows = PQntuples(res);
    int64_t row_id = rows > 0 ? db_get_i64(res, 0, 0) : INT64_MAX;

    allocate(flight);
    for (int32_t i = 0; i < flight->size; i++) {
        struct member *member = &flight->members[i];
        int64_t id = flight->chunk->ids[flight->first + i];
        member->position = flight->first + i;
        member->may_have_arrived = flight->resend;
        flight->pushes[i].device_id = id;
        while (row_id < id)
            row_id = ++row < rows ? db_get_i64(res, row, 0) : INT64_MAX;
        if (row_id == id)
            member_fill(flight, i, res, row);
        else
            member->code = OUTCOME_SUPPRESSED_UNREGISTERED;
    }
}

/* ---- first flights: load and mark ---- */

static void ask_devices(void *user);
static void ask_mark(void *user);

/* One of its loading statements is answered; the last answer decides. */
static void loading_answered(struct flight *flight)
{
    if (--flight->asked > 0)
        return;
    if (flight->refused || flight->chunk->phase == CHUNK_LOST) {
        flight_end(flight);
        return;
    }
    fill_first(flight);
    flight_ready(flight);
}

static void devices_read(PGresult *res, const GError *error, void *user)
{
    struct flight *flight = user;

    (void)res;
    if (error != NULL) {
        fanout_again(fanout_of(flight), "devices_read", error, ask_devices, flight);
        return;
    }
    flight->devices = db_async_keep_result(fanout_of(flight)->options.db);
    loading_answered(flight);
}

static void ask_devices(void *user)
{
    struct flight *flight = user;
    struct fanout *f = fanout_of(flight);

    flight->overtakes_before = flight->chunk->lane->channel->overtakes;
    fanout_devices(f->options.db, flight->chunk->ids + flight->first, (size_t)flight->size,
                   f->options.settings->device_stale_days, holds(flight->chunk->broadcast),
                   devices_read, flight);
}

/* What the answer to a mark says about the chunk. */
static void follow_mark(struct chunk *chunk, const PGresult *res)
{
    bool held = PQntuples(res) == 1 && db_get_bool(res, 0, 1);

    if (!held)
        fan_chunk_lose(chunk);
    else if (db_get_i64(res, 0, 2) != 0)
        fan_chunk_close(chunk, (uint8_t)db_get_i64(res, 0, 2));
    else if (db_get_bool(res, 0, 3))
        fan_chunk_abort(chunk);
}

/* A mark that is refused without a reason is asked for again: the flight before it is not marked
 * yet, or an earlier run of this statement was still on its way. Going on from here on a guess
 * would send to some members twice. */
static void mark_written(PGresult *res, const GError *error, void *user)
{
    struct flight *flight = user;
    struct chunk *chunk = flight->chunk;

    if (error != NULL) {
        fanout_again(fanout_of(flight), "flight_mark", error, ask_mark, flight);
        return;
    }
    follow_mark(chunk, res);
    flight->refused = PQntuples(res) != 1 || !db_get_bool(res, 0, 0);
    if (flight->refused && chunk->phase != CHUNK_LOST && chunk->closing == 0 && !chunk->aborting) {
        fanout_again(fanout_of(flight), "flight_mark", NULL, ask_mark, flight);
        return;
    }
    if (flight->refused && flight->first < chunk->next_position)
        chunk->next_position = flight->first; /* the members are where they were */
    loading_answered(flight);
}

static void ask_mark(void *user)
{
    struct flight *flight = user;

    fanout_mark(fanout_of(flight)->options.db, &flight->chunk->claim, flight->first, flight->size,
                mark_written, flight);
}

void fan_flight_start(struct chunk *chunk, int32_t first, int32_t size, bool resend)
{
    struct flight *flight = flight_new(chunk, FLIGHT_FIRST, first, size);

    flight->resend = resend;
    flight->asked = resend ? 1 : 2;
    ask_devices(flight);
    if (!resend)
        ask_mark(flight);
}

/* ---- retry flights ---- */

static void ask_retries(void *user);

static void retries_read(PGresult *res, const GError *error, void *user)
{
    struct flight *flight = user;
    struct chunk *chunk = flight->chunk;

    if (error != NULL) {
        fanout_again(fanout_of(flight), "retries_read", error, ask_retries, flight);
        return;
    }
    flight->asked--;
    flight->size = PQntuples(res);
    if (flight->size == 0 || chunk->phase == CHUNK_LOST) {
        chunk->maybe_retries = false;
        flight_end(flight);
        return;
    }
    flight->devices = db_async_keep_result(fanout_of(flight)->options.db);
    allocate(flight);
    for (int32_t i = 0; i < flight->size; i++) {
        struct member *member = &flight->members[i];
        member->attempts = (int16_t)db_get_i64(flight->devices, i, 12);
        member->position = (int32_t)db_get_i64(flight->devices, i, 13);
        member->first_age_ms = db_get_i64(flight->devices, i, 14);
        member->may_have_arrived = db_get_i64(flight->devices, i, 15) == OUTCOME_UNKNOWN_SENT;
        flight->pushes[i].device_id = db_get_i64(flight->devices, i, 16);
        member_fill(flight, i, flight->devices, i);
    }
    flight_ready(flight);
}

static void ask_retries(void *user)
{
    struct flight *flight = user;
    struct fanout *f = fanout_of(flight);

    flight->overtakes_before = flight->chunk->lane->channel->overtakes;
    fanout_retries(f->options.db, &flight->chunk->claim,
                   (int32_t)f->options.settings->deliver_flight_size,
                   f->options.settings->device_stale_days, holds(flight->chunk->broadcast),
                   retries_read, flight);
}

void fan_flight_start_retries(struct chunk *chunk)
{
    struct flight *flight = flight_new(chunk, FLIGHT_RETRY, 0, 0);

    flight->asked = 1; /* flying_epoch, their mark, is set by the statement that reads them */
    ask_retries(flight);
}

/* ---- closing members ---- */

void fan_member_close(struct flight *flight, struct member *member, uint8_t code)
{
    assert(member->code == OUTCOME_NONE && code != OUTCOME_NONE);
    if (member->may_have_arrived &&
        (code == OUTCOME_EXPIRED || code == OUTCOME_CANCELLED || code == OUTCOME_REJECTED_CONFIG))
        code = OUTCOME_UNKNOWN_SENT;
    member->code = code;
    flight->open--;
}

void fan_member_retry(struct member *member, int64_t delay_ms, uint8_t if_expired,
                      const char *reason)
{
    member->delay_ms = delay_ms;
    member->if_expired = member->may_have_arrived ? OUTCOME_UNKNOWN_SENT : if_expired;
    member->reason = reason;
}

void fan_flight_drop_unsent(struct flight *flight, uint8_t code)
{
    if (flight->members == NULL || flight->settling)
        return; /* not yet filled: flight_ready looks at closing and aborting itself */
    fan_lane_unready(flight->chunk->lane, flight);
    for (guint i = 0; i < flight->at_once->len; i++) {
        struct member *member = &flight->members[g_array_index(flight->at_once, int32_t, i)];
        fan_member_retry(member, 0, OUTCOME_EXPIRED, "not_sent");
        fan_member_close(flight, member, code);
    }
    g_array_set_size(flight->at_once, 0);
    for (; flight->next < flight->size; flight->next++) {
        struct member *member = &flight->members[flight->next];
        if (member->code != OUTCOME_NONE)
            continue;
        fan_member_retry(member, 0, OUTCOME_EXPIRED, "not_sent");
        fan_member_close(flight, member, code);
    }
    fan_flight_check_settled(flight);
}

/* ---- settling ---- */

static void settle(void *user);

static void outcome_metrics(const struct flight *flight)
{
    struct outcome_tally tally = {0};

    for (int32_t i = 0; i < flight->size; i++)
        tally.by_byte[flight->members[i].code]++;
    for (int byte = 1; byte < 256; byte++) {
        if (tally.by_byte[byte] == 0)
            continue;
        g_autofree char *label = g_strdup_printf(
            "%s/%s", flight->chunk->lane->channel->channel->name, outcome_name((uint8_t)byte));
        metric_add(METRIC_PUSH_OUTCOMES, label, (double)tally.by_byte[byte]);
    }
}

static void settled(PGresult *res, const GError *error, void *user)
{
    struct flight *flight = user;

    if (error != NULL) {
        fanout_again(fanout_of(flight), "flight_settle", error, settle, flight);
        return;
    }
    if (PQntuples(res) != 1 || !db_get_bool(res, 0, 0))
        fan_chunk_lose(flight->chunk);
    else
        outcome_metrics(flight);
    flight_end(flight);
}

/* The arrays of one result, filled from the members; freed after the statement is queued. */
struct result_arrays {
    uint8_t codes[FLIGHT_MAX];
    int64_t retry_device[FLIGHT_MAX], retry_delay[FLIGHT_MAX];
    int32_t retry_position[FLIGHT_MAX], retry_attempt[FLIGHT_MAX], retry_expired[FLIGHT_MAX];
    const char *retry_reason[FLIGHT_MAX];
    int64_t dead_device[FLIGHT_MAX], proven_device[FLIGHT_MAX];
    const char *dead_token[FLIGHT_MAX], *proven_token[FLIGHT_MAX];
    int64_t device[FLIGHT_MAX];
    int32_t position[FLIGHT_MAX];
};

static void fill_result(const struct flight *flight, struct result_arrays *a,
                        struct flight_result *result)
{
    *result = (struct flight_result){
        .first = flight->first,
        .codes = a->codes,
        .size = flight->size,
        .retry_device = a->retry_device,
        .retry_position = a->retry_position,
        .retry_attempt = a->retry_attempt,
        .retry_delay_ms = a->retry_delay,
        .retry_if_expired = a->retry_expired,
        .retry_reason = a->retry_reason,
        .dead_device = a->dead_device,
        .dead_token = a->dead_token,
        .proven_device = a->proven_device,
        .proven_token = a->proven_token,
    };
    for (int32_t i = 0; i < flight->size; i++) {
        const struct member *member = &flight->members[i];
        const struct push *push = &flight->pushes[i];
        a->codes[i] = member->code;
        a->device[i] = push->device_id;
        a->position[i] = member->position;
        if (member->code == OUTCOME_RETRY) {
            size_t n = result->n_retry++;
            a->retry_device[n] = push->device_id;
            a->retry_position[n] = member->position;
            a->retry_attempt[n] = member->attempts;
            a->retry_delay[n] = member->delay_ms;
            a->retry_expired[n] = member->if_expired;
            a->retry_reason[n] = member->reason;
        }
        if (member->token_dead) {
            a->dead_device[result->n_dead] = push->device_id;
            a->dead_token[result->n_dead++] = push->token;
        }
        if (member->token_proven) {
            a->proven_device[result->n_proven] = push->device_id;
            a->proven_token[result->n_proven++] = push->token;
        }
    }
}

static void settle(void *user)
{
    struct flight *flight = user;
    struct db_async *db = fanout_of(flight)->options.db;
    g_autofree struct result_arrays *arrays = g_new(struct result_arrays, 1);
    struct flight_result result;

    fill_result(flight, arrays, &result);
    if (flight->kind == FLIGHT_FIRST)
        fanout_settle(db, &flight->chunk->claim, &result, settled, flight);
    else
        fanout_settle_retries(db, &flight->chunk->claim, &result, arrays->device, arrays->position,
                              settled, flight);
}

void fan_flight_check_settled(struct flight *flight)
{
    if (flight->settling || flight->outstanding > 0 || flight->asked > 0)
        return;
    if (flight->chunk->phase == CHUNK_LOST) {
        fan_flight_free(flight);
        return;
    }
    if (flight->members == NULL || flight->open > 0)
        return;
    flight->settling = true;
    fan_lane_unready(flight->chunk->lane, flight);
    settle(flight);
}
