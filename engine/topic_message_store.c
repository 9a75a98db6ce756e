/* SQL of messages to topics (engine/topic_store.h). The intent is committed before the request
 * leaves; what a lost process left is unknown, never forgotten. */
#include "base/error.h"
#include "engine/topic_store.h"

static const char *const state_names[] = {
#define TOPIC_WORD(id, word) [id] = word,
    TOPIC_MESSAGE_STATES(TOPIC_WORD)
#undef TOPIC_WORD
};

const char *topic_state_name(enum topic_message_state state)
{
    return state_names[state];
}

static enum topic_message_state state_of(const char *word)
{
    for (int i = 0; i < TOPIC_STATE_COUNT; i++)
        if (g_strcmp0(state_names[i], word) == 0)
            return (enum topic_message_state)i;
    return TOPIC_UNKNOWN; /* the column's CHECK allows no other word */
}

static void message_free(void *data)
{
    struct topic_message *m = data;

    g_free(m->commune);
    g_free(m->topic);
    g_free(m->by_name);
    g_free(m->reason);
    g_free(m->message_name);
    g_free(m->detail);
    g_free(m);
}

GPtrArray *topic_store_messages(struct db *db, int64_t broadcast_id, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    GPtrArray *messages;

    db_param_i64(params, broadcast_id);
    res = db_query(db,
                   "SELECT m.id, m.commune, m.topic, a.name, m.reason, m.state,"
                   " coalesce(m.message_name, ''), m.detail, m.requested_at, m.answered_at"
                   " FROM topic_message m JOIN account a ON a.id = m.account_id"
                   " WHERE m.broadcast_id = $1 ORDER BY m.id",
                   params, error);
    if (res == NULL)
        return NULL;
    messages = g_ptr_array_new_with_free_func(message_free);
    for (int i = 0; i < PQntuples(res); i++) {
        struct topic_message *m = g_new0(struct topic_message, 1);
        m->id = db_get_i64(res, i, 0);
        m->commune = g_strdup(db_get_text(res, i, 1));
        m->topic = g_strdup(db_get_text(res, i, 2));
        m->by_name = g_strdup(db_get_text(res, i, 3));
        m->reason = g_strdup(db_get_text(res, i, 4));
        m->state = state_of(db_get_text(res, i, 5));
        m->message_name = g_strdup(db_get_text(res, i, 6));
        m->detail = g_strdup(db_get_text(res, i, 7));
        m->requested_utc_us = db_get_utc_us(res, i, 8);
        m->answered_utc_us = db_get_utc_us(res, i, 9);
        g_ptr_array_add(messages, m);
    }
    return messages;
}

bool topic_store_add_message(struct db *db, int64_t broadcast_id, const struct account *account,
                             const char *commune, const char *topic, const char *reason,
                             int64_t *out_id, GError **error)
{
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;

    db_param_i64(params, broadcast_id);
    db_param_i64(params, account->id);
    db_param_text(params, commune);
    db_param_text(params, topic);
    db_param_text(params, reason);
    res = db_query(db,
                   "INSERT INTO topic_message (broadcast_id, account_id, commune, topic, reason)"
                   " VALUES ($1, $2, $3, $4, $5) RETURNING id",
                   params, error);
    if (res == NULL)
        return false;
    *out_id = db_get_i64(res, 0, 0);
    return true;
}

bool topic_store_settle_message(struct db *db, int64_t id, enum topic_message_state state,
                                const char *message_name, const char *detail, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, id);
    db_param_text(params, topic_state_name(state));
    db_param_text(params, state == TOPIC_ACCEPTED ? message_name : NULL);
    db_param_text(params, detail);
    return db_exec(db,
                   "UPDATE topic_message SET state = $2, message_name = $3, detail = left($4, 500),"
                   " answered_at = clock_timestamp() WHERE id = $1 AND state = 'sending'",
                   params, error);
}

bool topic_store_settle_lost(struct db *db, int64_t broadcast_id, int64_t seconds, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i64(params, broadcast_id);
    db_param_i64(params, seconds);
    return db_exec(db,
                   "UPDATE topic_message SET state = 'unknown', detail = 'the sender ended early',"
                   " answered_at = clock_timestamp() WHERE broadcast_id = $1 AND state = 'sending'"
                   " AND requested_at < clock_timestamp() - make_interval(secs => $2)",
                   params, error);
}

static void owed_free(void *data)
{
    struct topic_owed *owed = data;

    g_free(owed->alert_id);
    g_free(owed);
}

GPtrArray *topic_store_owed(struct db *db, int64_t broadcast_id, GError **error)
{
    /* Phones move: the province's topic of the correction reaches whoever has left the commune
     * since. Those that never saw the alert show nothing. */
    static const char sql[] =
        "SELECT c.id, c.alert_id FROM broadcast c JOIN broadcast b ON b.id = c.corrects"
        " WHERE ($1 = 0 OR b.id = $1) AND c.released_at IS NOT NULL"
        " AND c.expires_at > clock_timestamp()"
        " AND EXISTS (SELECT FROM (SELECT DISTINCT t.commune FROM topic_message m,"
        "   LATERAL (VALUES (m.commune), ('')) AS t (commune)"
        "   WHERE m.broadcast_id = b.id AND m.state IN ('sending', 'accepted', 'unknown')) w"
        "  WHERE NOT EXISTS (SELECT FROM topic_message a WHERE a.broadcast_id = c.id"
        "   AND a.commune = w.commune AND a.state = 'accepted'))"
        " ORDER BY c.id";
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    GPtrArray *list;

    db_param_i64(params, broadcast_id);
    res = db_query(db, sql, params, error);
    if (res == NULL)
        return NULL;
    list = g_ptr_array_new_with_free_func(owed_free);
    for (int i = 0; i < PQntuples(res); i++) {
        struct topic_owed *owed = g_new0(struct topic_owed, 1);
        owed->correction_id = db_get_i64(res, i, 0);
        owed->alert_id = g_strdup(db_get_text(res, i, 1));
        g_ptr_array_add(list, owed);
    }
    return list;
}
