/* Finding a device in frozen members: the planner reads ids in one ascending pass, so the chunks of
 * a broadcast have, per channel and lane, disjoint ascending ranges. Their first ids (a few bytes
 * of each) tell the one chunk per channel and lane in which the device can be; only those are read.
 */
#include <string.h>

#include "base/error.h"
#include "engine/channel.h"
#include "engine/device_history.h"
#include "engine/members.h"
#include "engine/outcome.h"

#define PAGE       16   /* broadcasts looked at in one query */
#define PREFIX     "10" /* bytes of the longest LEB128 of a 63-bit id, and one */
#define CANDIDATES (3 * LANE_COUNT)

struct candidate {
    char channel[8];
    int lane;
    int chunk_no;
};

static void history_free(gpointer data)
{
    struct device_history *history = data;

    g_free(history->alert_id);
    g_free(history->message_type);
    g_free(history->channel);
    g_free(history->retry_reason);
    g_free(history);
}

/* Heads of all chunks of a page of broadcasts, newest broadcast first, chunks ascending. */
static PGresult *load_heads(struct db *db, int64_t before_id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, before_id);
    db_param_i32(params, PAGE);
    return db_query(db,
                    "SELECT b.id, b.alert_id, b.version, b.message_type, b.released_at, "
                    "c.channel, c.lane, c.chunk_no, substring(c.members FOR " PREFIX ") "
                    "FROM (SELECT * FROM broadcast WHERE released_at IS NOT NULL AND id < $1 "
                    "ORDER BY id DESC LIMIT $2) b "
                    "LEFT JOIN fanout_chunk c ON c.broadcast_id = b.id "
                    "ORDER BY b.id DESC, c.chunk_no",
                    params, error);
}

/* The chunk with its members, the flight over the position, the retry and the receipt. */
static PGresult *load_member(struct db *db, int64_t broadcast_id, int chunk_no, int position,
                             int64_t device_id, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_i32(params, chunk_no);
    db_param_i32(params, position);
    db_param_i64(params, device_id);
    return db_query(db,
                    "SELECT f.first, f.uncertain, f.codes, r.attempt, r.next_at, r.reason, "
                    "s.shown_at, s.opened_at FROM (VALUES (1)) one "
                    "LEFT JOIN fanout_flight f ON f.broadcast_id = $1 AND f.chunk_no = $2 "
                    "AND f.first <= $3 AND $3 < f.first + f.size "
                    "LEFT JOIN fanout_retry r ON r.broadcast_id = $1 AND r.device_id = $4 "
                    "LEFT JOIN receipt s ON s.broadcast_id = $1 AND s.device_id = $4",
                    params, error);
}

/* Position of the device in a chunk, -1 when it is not there, -2 on error. */
static int find_in_chunk(struct db *db, int64_t broadcast_id, int chunk_no, int64_t device_id,
                         GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    const void *members;
    size_t len;

    db_param_i64(params, broadcast_id);
    db_param_i32(params, chunk_no);
    res = db_query(db, "SELECT members FROM fanout_chunk WHERE broadcast_id = $1 AND chunk_no = $2",
                   params, error);
    if (res == NULL)
        return -2;
    if (PQntuples(res) == 0)
        return -1;
    members = db_get_bytes(res, 0, 0, &len);
    return members_find(members, len, device_id);
}

/* What the flight says: a byte, out, or not sent yet. */
static void fill_outcome(struct device_history *history, const PGresult *res)
{
    size_t len;
    const uint8_t *codes;
    size_t at;

    history->reason = "";
    history->outcome = db_is_null(res, 0, 0) ? "WAITING" : "FLYING";
    history->uncertain = (int)db_get_i64(res, 0, 1);
    codes = db_get_bytes(res, 0, 2, &len);
    if (codes == NULL)
        return;
    at = (size_t)(history->position - db_get_i64(res, 0, 0));
    if (at < len && outcome_name(codes[at]) != NULL) {
        history->outcome = outcome_name(codes[at]);
        history->reason = outcome_reason(codes[at]);
    } else {
        history->outcome = "DAMAGED"; /* not a byte that Loa writes */
    }
}

static bool add_member(struct db *db, const PGresult *heads, int row, const struct candidate *where,
                       int position, int64_t device_id, GPtrArray *out, GError **error)
{
    struct device_history *history;
    g_autoptr(PGresult) res =
        load_member(db, db_get_i64(heads, row, 0), where->chunk_no, position, device_id, error);

    if (res == NULL)
        return false;
    history = g_new0(struct device_history, 1);
    g_ptr_array_add(out, history);
    history->broadcast_id = db_get_i64(heads, row, 0);
    history->alert_id = g_strdup(db_get_text(heads, row, 1));
    history->version = (int)db_get_i64(heads, row, 2);
    history->message_type = g_strdup(db_get_text(heads, row, 3));
    history->released_utc_us = db_get_utc_us(heads, row, 4);
    history->channel = g_strdup(where->channel);
    history->lane = where->lane;
    history->chunk_no = where->chunk_no;
    history->position = position;
    fill_outcome(history, res);
    history->attempts = (int)db_get_i64(res, 0, 3);
    history->retry_at_utc_us = db_get_utc_us(res, 0, 4);
    history->retry_reason = g_strdup(db_get_text(res, 0, 5));
    history->shown_utc_us = db_get_utc_us(res, 0, 6);
    history->opened_utc_us = db_get_utc_us(res, 0, 7);
    return true;
}

/* First id of the chunk in this row; 0 when its bytes are not members. */
static int64_t first_id(const PGresult *heads, int row)
{
    size_t len;
    const uint8_t *bytes = db_get_bytes(heads, row, 8, &len);
    uint64_t id = 0;

    for (size_t i = 0; i < len && i < 9; i++) {
        id |= (uint64_t)(bytes[i] & 0x7f) << (7 * i);
        if ((bytes[i] & 0x80) == 0)
            return (int64_t)id;
    }
    return 0;
}

/* Keeps, per channel and lane, the last chunk that begins at or before the device. */
static void consider(struct candidate *candidates, size_t *n, const PGresult *heads, int row,
                     int64_t device_id)
{
    int64_t first;
    size_t i = 0;

    if (db_is_null(heads, row, 7))
        return; /* a broadcast without a chunk yet */
    first = first_id(heads, row);
    if (first == 0 || first > device_id)
        return;
    while (i < *n && (strcmp(candidates[i].channel, db_get_text(heads, row, 5)) != 0 ||
                      candidates[i].lane != db_get_i64(heads, row, 6)))
        i++;
    if (i == CANDIDATES)
        return;
    *n = MAX(*n, i + 1);
    g_strlcpy(candidates[i].channel, db_get_text(heads, row, 5), sizeof(candidates[i].channel));
    candidates[i].lane = (int)db_get_i64(heads, row, 6);
    candidates[i].chunk_no = (int)db_get_i64(heads, row, 7);
}

/* Looks into the candidates of the broadcast whose rows are [from, to). */
static bool look_into(struct db *db, const PGresult *heads, int from, int to, int64_t device_id,
                      GPtrArray *out, GError **error)
{
    struct candidate candidates[CANDIDATES];
    size_t n = 0;

    for (int row = from; row < to; row++)
        consider(candidates, &n, heads, row, device_id);
    for (size_t i = 0; i < n; i++) {
        int position =
            find_in_chunk(db, db_get_i64(heads, from, 0), candidates[i].chunk_no, device_id, error);
        if (position == -2)
            return false;
        if (position >= 0)
            return add_member(db, heads, from, &candidates[i], position, device_id, out, error);
    }
    return true;
}

GPtrArray *device_history_load(struct db *db, int64_t device_id, int limit, GError **error)
{
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(history_free);
    int64_t before_id = INT64_MAX;

    while (out->len < (guint)limit) {
        g_autoptr(PGresult) heads = load_heads(db, before_id, error);
        int rows = heads != NULL ? PQntuples(heads) : 0;
        if (heads == NULL)
            return NULL;
        if (rows == 0)
            break;
        for (int from = 0, to; from < rows && out->len < (guint)limit; from = to) {
            before_id = db_get_i64(heads, from, 0);
            for (to = from; to < rows && db_get_i64(heads, to, 0) == before_id;)
                to++;
            if (!look_into(db, heads, from, to, device_id, out, error))
                return NULL;
        }
    }
    return g_steal_pointer(&out);
}
