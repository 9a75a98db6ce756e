/* Freezing the audience: one pass over the devices by ascending id, so that each is targeted
 * exactly once whatever changes meanwhile. Each step reads some thousand devices and writes one
 * chunk per channel and lane; the cursor moves in the same statement. The first step is small:
 * sending starts at once. A plan belongs to one process by a lease with an epoch, like a chunk. */
#include <string.h>

#include "base/log.h"
#include "engine/fanout_internal.h"
#include "engine/member_communes.h"
#include "engine/members.h"

#define FIRST_STEP 2000
#define STEP       MEMBERS_MAX
#define BUCKETS    (FANOUT_CHANNELS_MAX * LANE_COUNT)

static const char *const channel_names[] = {"fcm", "apns", "mqtt"};

struct plan {
    struct fanout *fanout;
    int64_t broadcast_id;
    struct fan_broadcast *broadcast; /* counted in broadcast->chunks */
    bool waiting;                    /* for the broadcast to be loaded */
    int32_t epoch;
    int64_t cursor;
    int32_t next_chunk;
    /* the step being written */
    struct plan_chunk chunks[BUCKETS];
    size_t n_chunks;
    int64_t cursor_after;
    bool last;
    unsigned steps;
};

static void step_clear(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_chunks; i++) {
        g_byte_array_unref(plan->chunks[i].members);
        member_communes_free(plan->chunks[i].communes);
    }
    plan->n_chunks = 0;
}

static void plan_free(struct plan *plan)
{
    fanout_forget(plan->fanout, plan);
    step_clear(plan);
    if (plan->broadcast != NULL)
        plan->broadcast->chunks--;
    g_ptr_array_remove_fast(plan->fanout->plans, plan);
    g_free(plan);
}

static void read_step(void *user);
static void write_step(void *user);

static void finished(PGresult *res, const GError *error, void *user)
{
    (void)res;
    if (error == NULL) /* else the sweep of the poll asks again */
        fanout_poll_soon(user);
}

static void written(PGresult *res, const GError *error, void *user)
{
    struct plan *plan = user;
    struct fanout *f = plan->fanout;

    if (error != NULL) {
        fanout_again(f, "plan_write", error, write_step, plan);
        return;
    }
    if (PQntuples(res) != 1 || !db_get_bool(res, 0, 0)) {
        plan_free(plan); /* cancelled, or another process plans it now */
        fanout_check_drained(f);
        return;
    }
    plan->cursor = plan->cursor_after;
    plan->next_chunk += (int32_t)plan->n_chunks;
    step_clear(plan);
    fanout_claim_all(f); /* the notification of this step comes a round trip later */
    if (plan->last || f->draining) {
        if (plan->last)
            fanout_finish_broadcast(f->options.db_plan, plan->broadcast_id, finished, f);
        plan_free(plan);
        fanout_check_drained(f);
        return;
    }
    read_step(plan);
}

static void write_step(void *user)
{
    struct plan *plan = user;

    fanout_plan_write(plan->fanout->options.db_scan, plan->broadcast_id, plan->epoch, plan->cursor,
                      plan->cursor_after, plan->next_chunk, plan->broadcast->priority, plan->last,
                      plan->chunks, plan->n_chunks,
                      plan->fanout->options.settings->deliver_lease_ms, written, plan);
}

static int bucket_of(const PGresult *res, int row)
{
    const char *channel = db_get_text(res, row, 1);
    enum lane lane = LANE_PROVEN;

    for (int c = 0; c < (int)G_N_ELEMENTS(channel_names); c++) {
        if (strcmp(channel, channel_names[c]) != 0)
            continue;
        if (strcmp(channel, "mqtt") != 0) {
            if (!db_is_null(res, row, 2) && db_get_bool(res, row, 2))
                lane = LANE_SANDBOX;
            else if (!db_get_bool(res, row, 3))
                lane = LANE_UNPROVEN;
        }
        return c * LANE_COUNT + (int)lane;
    }
    return -1;
}

/* Sorts one step's devices into a chunk per channel and lane. */
static void fill_chunks(struct plan *plan, const PGresult *res)
{
    GArray *buckets[BUCKETS] = {NULL};
    struct member_communes *communes[BUCKETS];

    for (int row = 0; row < PQntuples(res); row++) {
        int64_t id = db_get_i64(res, row, 0);
        int bucket = bucket_of(res, row);
        if (bucket < 0)
            continue;
        if (buckets[bucket] == NULL) {
            buckets[bucket] = g_array_new(FALSE, FALSE, sizeof(int64_t));
            communes[bucket] = member_communes_new();
        }
        g_array_append_val(buckets[bucket], id);
        member_communes_add(communes[bucket], db_get_text(res, row, 4));
        plan->cursor_after = id;
    }
    for (int i = 0; i < BUCKETS; i++) {
        if (buckets[i] == NULL)
            continue;
        plan->chunks[plan->n_chunks++] = (struct plan_chunk){
            .channel = channel_names[i / LANE_COUNT],
            .lane = (enum lane)(i % LANE_COUNT),
            .count = (int32_t)buckets[i]->len,
            .members = members_encode((const int64_t *)(void *)buckets[i]->data, buckets[i]->len),
            .communes = communes[i],
        };
        g_array_free(buckets[i], TRUE);
    }
}

static int step_size(const struct plan *plan)
{
    return plan->steps == 0 ? FIRST_STEP : STEP;
}

static void devices_read(PGresult *res, const GError *error, void *user)
{
    struct plan *plan = user;

    if (error != NULL) {
        fanout_again(plan->fanout, "plan_read", error, read_step, plan);
        return;
    }
    plan->cursor_after = plan->cursor;
    plan->last = PQntuples(res) < step_size(plan);
    plan->steps++;
    fill_chunks(plan, res);
    write_step(plan);
}

static bool overtaken(const struct fanout *f)
{
    for (size_t i = 0; i < f->n_channels; i++)
        if (f->channels[i].overtaken)
            return true;
    return false;
}

/* An emergency does not stand behind the scan of another audience, and that one waits meanwhile. */
static void read_step(void *user)
{
    struct plan *plan = user;
    struct fanout *f = plan->fanout;
    const struct broadcast *b = plan->broadcast->broadcast;
    bool ahead = plan->broadcast->emergency && db_async_pending(f->options.db_scan) > 0;

    if (!plan->broadcast->emergency && overtaken(f)) {
        fanout_again(f, "plan_read", NULL, read_step, plan);
        return;
    }
    fanout_plan_read(ahead ? f->options.db_plan : f->options.db_scan,
                     broadcast_realm_name(b->realm), (const char *const *)b->communes,
                     g_strv_length(b->communes), plan->cursor, step_size(plan), devices_read, plan);
}

static void claimed(PGresult *res, const GError *error, void *user)
{
    struct plan *plan = user;
    struct fanout *f = plan->fanout;

    if (error != NULL || PQntuples(res) != 1) {
        plan_free(plan);
        fanout_check_drained(f);
        return;
    }
    plan->cursor = db_get_i64(res, 0, 0);
    plan->next_chunk = (int32_t)db_get_i64(res, 0, 1);
    plan->epoch = (int32_t)db_get_i64(res, 0, 2);
    read_step(plan);
}

void fan_plan_start(struct fanout *f, int64_t broadcast_id)
{
    struct plan *plan;

    for (guint i = 0; i < f->plans->len; i++)
        if (((const struct plan *)f->plans->pdata[i])->broadcast_id == broadcast_id)
            return;
    plan = g_new0(struct plan, 1);
    plan->fanout = f;
    plan->broadcast_id = broadcast_id;
    plan->broadcast = fan_broadcast_get(f, broadcast_id);
    plan->broadcast->chunks++;
    plan->waiting = true;
    g_ptr_array_add(f->plans, plan);
    fan_plans_step(f);
}

/* Only who has verified the broadcast takes the lease: a process without the right public key must
 * not keep the others from planning. */
void fan_plans_step(struct fanout *f)
{
    for (guint i = f->plans->len; i-- > 0;) {
        struct plan *plan = f->plans->pdata[i];
        if (!plan->waiting || plan->broadcast->state == FAN_BROADCAST_LOADING)
            continue;
        plan->waiting = false;
        if (plan->broadcast->state == FAN_BROADCAST_REFUSED)
            plan_free(plan);
        else
            fanout_plan_claim(f->options.db_plan, plan->broadcast_id, f->options.owner,
                              f->options.settings->deliver_lease_ms, claimed, plan);
    }
}

void fan_plans_free(struct fanout *f)
{
    while (f->plans->len > 0)
        plan_free(f->plans->pdata[0]);
    g_ptr_array_free(f->plans, TRUE);
}
