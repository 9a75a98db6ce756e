/* SQL and sums of a broadcast's progress. */
#include "engine/progress_store.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const char *const channel_names[PROGRESS_CHANNELS] = {"fcm", "apns", "mqtt"};

struct progress *progress_new(int64_t broadcast_id)
{
    struct progress *p = g_new0(struct progress, 1);

    p->broadcast_id = broadcast_id;
    p->done_chunks = g_array_new(FALSE, FALSE, sizeof(int32_t));
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        p->channels[i].name = p->done[i].name = channel_names[i];
    return p;
}

static void clear_switches(struct progress *p)
{
    for (int i = 0; i < PROGRESS_CHANNELS; i++) {
        g_clear_pointer(&p->channels[i].stopped, g_free);
        g_clear_pointer(&p->channels[i].halted, g_free);
    }
}

void progress_by_commune(struct progress *p)
{
    assert(p->reach == NULL && p->done_chunks->len == 0);
    p->reach = reach_new();
    p->reach_done = reach_new();
}

void progress_free(struct progress *p)
{
    if (p == NULL)
        return;
    clear_switches(p);
    g_array_unref(p->done_chunks);
    reach_free(p->reach);
    reach_free(p->reach_done);
    g_free(p);
}

static struct progress_channel *find(struct progress_channel *channels, const char *name)
{
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        if (name != NULL && strcmp(channels[i].name, name) == 0)
            return &channels[i];
    return NULL;
}

static bool add_to_reach(struct reach *reach, enum reach_channel channel, const PGresult *res,
                         int row, const uint8_t *codes, size_t len, GError **error)
{
    g_auto(GStrv) communes = db_get_text_array(res, row, 7);
    size_t index_len = 0;
    const void *index = db_get_bytes(res, row, 8, &index_len);
    const struct reach_chunk chunk = {.channel = channel,
                                      .members = (size_t)db_get_i64(res, row, 3),
                                      .communes = (const char *const *)communes,
                                      .index = index,
                                      .index_len = index_len,
                                      .codes = codes,
                                      .codes_len = len};

    return reach_add_chunk(reach, &chunk, error);
}

/* reach may be NULL. */
static bool add_chunk(struct progress_channel *c, struct reach *reach, const PGresult *res, int row,
                      GError **error)
{
    size_t len = 0;
    const uint8_t *codes = db_get_bytes(res, row, 6, &len);
    uint64_t sending = (uint64_t)db_get_i64(res, row, 5);

    c->targeted += (uint64_t)db_get_i64(res, row, 3);
    c->not_sent += (uint64_t)(db_get_i64(res, row, 3) - db_get_i64(res, row, 4));
    c->sending += sending;
    c->chunks++;
    if (!db_get_bool(res, row, 2))
        c->chunks_open++;
    if (codes != NULL)
        outcome_tally_add(&c->tally, codes, len);
    c->tally.by_byte[OUTCOME_NONE] -= sending; /* they stand in for flights that are out */
    return reach == NULL ||
           add_to_reach(reach, reach_channel_find(c->name), res, row, codes, len, error);
}

static bool read_chunks(struct db *db, struct progress *p, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, p->broadcast_id);
    db_param_i32_array(params, (const int32_t *)(void *)p->done_chunks->data, p->done_chunks->len);
    db_param_bool(params, p->reach != NULL);
    res =
        db_query(db,
                 "SELECT c.chunk_no, c.channel, c.state = 'done', c.member_count, c.next_position,"
                 " f.sending, f.codes, CASE WHEN $3 THEN c.communes END,"
                 " CASE WHEN $3 THEN c.member_commune END"
                 " FROM fanout_chunk c, LATERAL (SELECT"
                 "   coalesce(sum(size) FILTER (WHERE codes IS NULL), 0)::bigint AS sending,"
                 "   string_agg(coalesce(codes, decode(repeat('00', size), 'hex')), ''::bytea"
                 "     ORDER BY first) AS codes FROM fanout_flight f"
                 "   WHERE f.broadcast_id = c.broadcast_id AND f.chunk_no = c.chunk_no) f"
                 " WHERE c.broadcast_id = $1 AND c.chunk_no <> ALL ($2)",
                 params, error);
    if (res == NULL)
        return false;
    for (int row = 0; row < PQntuples(res); row++) {
        struct progress_channel *done = find(p->done, db_get_text(res, row, 1));
        int32_t chunk_no = (int32_t)db_get_i64(res, row, 0);
        if (done == NULL || !db_get_bool(res, row, 2))
            continue;
        if (!add_chunk(done, p->reach_done, res, row, error))
            return false;
        g_array_append_val(p->done_chunks, chunk_no);
    }
    clear_switches(p);
    memcpy(p->channels, p->done, sizeof(p->channels));
    if (p->reach != NULL)
        reach_copy(p->reach, p->reach_done);
    for (int row = 0; row < PQntuples(res); row++) {
        struct progress_channel *channel = find(p->channels, db_get_text(res, row, 1));
        if (channel != NULL && !db_get_bool(res, row, 2) &&
            !add_chunk(channel, p->reach, res, row, error))
            return false;
    }
    return true;
}

static bool read_state(struct db *db, struct progress *p, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, p->broadcast_id);
    res = db_query(db,
                   "SELECT coalesce(p.done, false), b.finished_at IS NOT NULL,"
                   " b.refused_at IS NOT NULL FROM broadcast b"
                   " LEFT JOIN fanout_plan p ON p.broadcast_id = b.id WHERE b.id = $1",
                   params, error);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "no broadcast %" PRId64,
                    p->broadcast_id);
        return false;
    }
    p->planned = db_get_bool(res, 0, 0);
    p->finished = db_get_bool(res, 0, 1);
    p->refused = db_get_bool(res, 0, 2);
    return true;
}

/* Rows (channel or null for every channel, reason). */
static bool read_switches(struct db *db, struct progress *p, const char *sql, bool halt,
                          GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, p->broadcast_id);
    res = db_query(db, sql, params, error);
    if (res == NULL)
        return false;
    for (int row = 0; row < PQntuples(res); row++) {
        for (int i = 0; i < PROGRESS_CHANNELS; i++) {
            struct progress_channel *c = &p->channels[i];
            char **field = halt ? &c->halted : &c->stopped;
            if (*field == NULL &&
                (db_is_null(res, row, 0) || strcmp(c->name, db_get_text(res, row, 0)) == 0))
                *field = g_strdup(db_get_text(res, row, 1));
        }
    }
    return true;
}

static bool read_receipts(struct db *db, struct progress *p, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, p->broadcast_id);
    res = db_query(db,
                   "SELECT channel, commune, count(shown_at), count(opened_at) FROM receipt"
                   " WHERE broadcast_id = $1 GROUP BY 1, 2",
                   params, error);
    if (res == NULL)
        return false;
    p->shown = p->opened = 0;
    if (p->reach != NULL)
        reach_clear_receipts(p->reach_done);
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        p->done[i].shown = p->done[i].opened = 0;
    for (int row = 0; row < PQntuples(res); row++) {
        /* Kept in done[], which outlives readings without receipts. */
        struct progress_channel *channel = find(p->done, db_get_text(res, row, 0));
        uint64_t shown = (uint64_t)db_get_i64(res, row, 2);
        uint64_t opened = (uint64_t)db_get_i64(res, row, 3);
        p->shown += shown;
        p->opened += opened;
        if (channel != NULL) {
            channel->shown += shown;
            channel->opened += opened;
        }
        if (p->reach != NULL)
            reach_add_receipts(p->reach_done, db_get_text(res, row, 1),
                               reach_channel_find(db_get_text(res, row, 0)), shown, opened);
    }
    return true;
}

bool progress_store_read(struct db *db, struct progress *p, bool receipts, GError **error)
{
    static const char stops[] =
        "SELECT CASE WHEN scope LIKE 'channel:%' THEN substr(scope, 9) END, reason FROM fanout_stop"
        " WHERE scope = 'all' OR scope LIKE 'channel:%' OR scope = 'broadcast:' || $1";
    static const char halts[] = "SELECT channel, reason FROM fanout_halt WHERE broadcast_id = $1";

    return read_state(db, p, error) && (!receipts || read_receipts(db, p, error)) &&
           read_chunks(db, p, error) && read_switches(db, p, stops, false, error) &&
           read_switches(db, p, halts, true, error);
}

int64_t progress_unaccounted(const struct progress_channel *c)
{
    return (int64_t)c->targeted -
           (int64_t)(outcome_tally_final(&c->tally) + c->tally.by_byte[OUTCOME_RETRY] + c->sending +
                     c->not_sent);
}
