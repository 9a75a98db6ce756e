/* Claiming chunks under a lease with an epoch, and renewing all of a process's leases in one
 * statement. What happens to a chunk once it is held stands in fanout_chunk.c. */
#include "base/log.h"
#include "base/metrics.h"
#include "engine/fanout_internal.h"
#include "engine/members.h"

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
    chunk->ids = g_new(int64_t, (gsize)MIN(chunk->member_count, MEMBERS_MAX));
    chunk->broadcast = fan_broadcast_get(lane->channel->fanout, chunk->claim.broadcast_id);
    chunk->broadcast->chunks++;
    fan_chunk_held(chunk, asked_us);
    g_ptr_array_add(lane->chunks, chunk);
    metric_add(METRIC_CHUNKS_CLAIMED, lane->channel->channel->name, 1);
    if (chunk->member_count > MEMBERS_MAX || chunk->next_position < 0 ||
        chunk->next_position > chunk->member_count ||
        !members_decode(members, len, chunk->ids, (size_t)chunk->member_count, &error)) {
        log_event(LOG_LEVEL_ALERT, "chunk_broken", LOG_INT("broadcast", chunk->claim.broadcast_id),
                  LOG_INT("chunk", chunk->claim.chunk_no),
                  LOG_STR("error", error != NULL ? error->message : "its numbers do not fit"));
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

/* Chunks of emergencies have places of their own. */
static int held_chunks(const struct fan_lane *lane, bool emergency)
{
    int n = 0;

    for (guint i = 0; i < lane->chunks->len; i++)
        n += ((const struct chunk *)lane->chunks->pdata[i])->broadcast->emergency == emergency;
    return n;
}

static int free_places(const struct fan_lane *lane, bool emergency)
{
    const struct fanout *f = lane->channel->fanout;

    if (f->draining || !f->any_live)
        return 0;
    return (int)f->options.settings->deliver_chunks_per_lane - held_chunks(lane, emergency);
}

/* The one broadcast that has all of the lane's places; 0 when there are several or none. */
static int64_t only_broadcast(const struct fan_lane *lane)
{
    int64_t id = 0;

    for (guint i = 0; i < lane->chunks->len; i++) {
        const struct chunk *chunk = lane->chunks->pdata[i];
        if (id != 0 && chunk->claim.broadcast_id != id)
            return 0;
        id = chunk->claim.broadcast_id;
    }
    return id;
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

/* Who has no connection claims nothing: others may have one. The database knows the stop switches:
 * under one it hands out only what is over. When one broadcast has all places, there is one more
 * for any other. */
void fan_lane_claim(struct fan_lane *lane)
{
    struct fanout *f = lane->channel->fanout;
    bool emergency = lane->channel->overtaken;
    int limit = free_places(lane, emergency);
    bool more = limit == 0 && !emergency && !f->draining && f->any_live;
    int64_t only = more ? only_broadcast(lane) : 0;
    g_autoptr(GArray) except = NULL;

    if (lane->n_slots == 0 || lane->claiming || lane->channel->stopped ||
        (limit <= 0 && only == 0) || !fan_lane_connected(lane))
        return;
    except = refused(f);
    fanout_claim(f->options.db_plan,
                 &(struct claim_wish){.channel = lane->channel->channel->name,
                                      .lane = lane->lane,
                                      .limit = only != 0 ? 1 : limit,
                                      .emergencies_only = emergency,
                                      .not_of = only,
                                      .owner = f->options.owner,
                                      .lease_ms = f->options.settings->deliver_lease_ms,
                                      .except = (const int64_t *)(void *)except->data,
                                      .n_except = except->len},
                 claimed, claim_begin(lane, &lane->claiming));
}

void fanout_claim_all(struct fanout *f)
{
    for (size_t i = 0; i < f->n_channels; i++)
        for (int l = 0; l < LANE_COUNT; l++)
            fan_lane_claim(&f->channels[i].lanes[l]);
}

/* Nothing is sent for them, so any lane can hold them. */
void fanout_claim_over(struct fanout *f)
{
    struct fan_lane *lane = &f->channels[0].lanes[0];
    int limit = f->n_channels > 0 ? free_places(lane, false) : 0;
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
