/* The queue and the public side of the asynchronous connection: waiting → sent → called back, each
 * statement exactly once. Nothing is called back from inside a caller's own call; the work is done
 * in the source's dispatch. db_async_link.c owns the connection. */
#include <assert.h>

#include "base/db_async_internal.h"
#include "base/log.h"

void statement_free(struct statement *statement)
{
    g_free(statement->owned_sql);
    db_params_free(statement->params);
    g_free(statement->plan_key);
    g_clear_error(&statement->error);
    PQclear(statement->res);
    g_free(statement);
}

void statement_finish(struct db_async *db, struct statement *statement)
{
    PGresult *outer = db->current; /* a callback may free db, which finishes the others inside it */
    db->current = statement->error == NULL ? g_steal_pointer(&statement->res) : NULL;
    if (statement->cb != NULL)
        statement->cb(db->current, statement->error, statement->user);
    else if (statement->error != NULL)
        log_event(LOG_LEVEL_WARN, "statement_failed", LOG_STR("error", statement->error->message));
    PQclear(db->current);
    db->current = outer;
    statement_free(statement);
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer user)
{
    (void)source;
    (void)callback;
    struct db_async *db = user;
    db->references++;
    link_run(db);
    if (--db->references == 0) {
        g_free(db);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

/* GSource hands the callback's user data to dispatch; the callback itself is never called. */
static gboolean never_called(gpointer user)
{
    (void)user;
    return G_SOURCE_REMOVE;
}

struct db_async *db_async_new(const char *conninfo, unsigned queue_max, const struct clock *clock)
{
    static GSourceFuncs funcs = {.dispatch = dispatch};
    struct db_async *db = g_new0(struct db_async, 1);
    db->conninfo = g_strdup(conninfo);
    db->queue_max = queue_max;
    db->clock = clock;
    db->references = 1;
    db->plans = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    db->subscriptions = g_ptr_array_new();
    g_queue_init(&db->waiting);
    g_queue_init(&db->sent);
    g_queue_init(&db->failed);
    db->source = g_source_new(&funcs, sizeof(GSource));
    g_source_set_static_name(db->source, "loa database");
    g_source_set_callback(db->source, never_called, db, NULL);
    g_source_attach(db->source, g_main_context_get_thread_default());
    link_start(db);
    return db;
}

static void fail_all(struct db_async *db, GQueue *queue, enum loa_error code)
{
    struct statement *statement;
    while ((statement = g_queue_pop_head(queue)) != NULL) {
        if (statement->setup) {
            statement_free(statement);
            continue;
        }
        if (statement->error == NULL)
            g_set_error(&statement->error, LOA_ERROR, (int)code,
                        "the database connection was closed");
        statement_finish(db, statement);
    }
}

void db_async_free(struct db_async *db)
{
    if (db == NULL)
        return;
    assert(!db->freed);
    db->freed = true;
    link_close(db);
    fail_all(db, &db->failed, LOA_ERROR_RETRY);
    fail_all(db, &db->sent, LOA_ERROR_UNCERTAIN);
    fail_all(db, &db->waiting, LOA_ERROR_RETRY);
    for (guint i = 0; i < db->subscriptions->len; i++) {
        struct subscription *s = db->subscriptions->pdata[i];
        g_free(s->channel);
        g_free(s);
    }
    g_ptr_array_free(db->subscriptions, TRUE);
    g_hash_table_destroy(db->plans);
    g_free(db->outage_message);
    g_free(db->conninfo);
    g_source_destroy(db->source);
    g_source_unref(db->source);
    if (--db->references == 0)
        g_free(db);
}

unsigned db_async_pending(const struct db_async *db)
{
    return db->waiting.length + db->sent.length + db->failed.length;
}

void db_async_query(struct db_async *db, const char *sql, struct db_params *params, db_async_cb cb,
                    void *user)
{
    if (db->freed) { /* a callback of db_async_free */
        db_params_free(params);
        return;
    }
    struct statement *statement = g_new0(struct statement, 1);
    *statement = (struct statement){.sql = sql, .params = params, .cb = cb, .user = user};
    if (db->waiting.length + db->sent.length >= db->queue_max) {
        g_set_error(&statement->error, LOA_ERROR, LOA_ERROR_LIMIT,
                    "%u statements wait for the database already", db->queue_max);
        g_queue_push_tail(&db->failed, statement);
    } else {
        g_queue_push_tail(&db->waiting, statement);
    }
    link_kick(db);
}

PGresult *db_async_keep_result(struct db_async *db)
{
    assert(db->current != NULL);
    return g_steal_pointer(&db->current);
}

void db_async_listen(struct db_async *db, const char *channel, db_async_notify_cb cb, void *user)
{
    struct subscription *subscription = g_new0(struct subscription, 1);
    *subscription = (struct subscription){.channel = g_strdup(channel), .cb = cb, .user = user};
    g_ptr_array_add(db->subscriptions, subscription);
    if (db->state == LINK_READY)
        pipeline_listen(db, channel);
    link_kick(db);
}

bool db_async_connected(const struct db_async *db)
{
    return db->state == LINK_READY;
}
