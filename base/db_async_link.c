/* The life of one connection: wait → connect → ready → lost → wait … Nothing here blocks and
 * nothing here calls back except link_run, at its top, where no state is half changed. */
#include <assert.h>
#include <glib-unix.h>

#include "base/db_async_internal.h"
#include "base/log.h"
#include "base/metrics.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000

static int64_t mono_us(const struct db_async *db)
{
    return db->clock->mono_us(db->clock);
}

void link_kick(struct db_async *db)
{
    if (!db->freed)
        g_source_set_ready_time(db->source, 0);
}

static void watch(struct db_async *db, GIOCondition events)
{
    if (db->fd_tag == NULL)
        db->fd_tag = g_source_add_unix_fd(db->source, PQsocket(db->conn), events);
    else if (events != db->watched) /* each change wakes the loop once more */
        g_source_modify_unix_fd(db->source, db->fd_tag, events);
    db->watched = events;
}

static void unwatch(struct db_async *db)
{
    if (db->fd_tag != NULL)
        g_source_remove_unix_fd(db->source, db->fd_tag);
    db->fd_tag = NULL;
}

void link_close(struct db_async *db)
{
    unwatch(db);
    g_clear_pointer(&db->conn, PQfinish);
    g_hash_table_remove_all(db->plans);
    db->flushing = false;
    db->state = LINK_WAITING;
}

/* One log line when the connection falls and one for every new reason while it stays away. */
static void log_outage(struct db_async *db, const char *message)
{
    if (db->outage_since_us == 0)
        db->outage_since_us = mono_us(db);
    if (g_strcmp0(message, db->outage_message) == 0)
        return;
    g_free(db->outage_message);
    db->outage_message = g_strdup(message);
    log_event(LOG_LEVEL_WARN, "database_lost", LOG_STR("error", message),
              LOG_INT("uncertain", db->sent.length), LOG_INT("waiting", db->waiting.length));
}

static void drop_setup(GQueue *queue)
{
    for (GList *l = queue->head; l != NULL;) {
        GList *next = l->next;
        struct statement *statement = l->data;
        if (statement->setup) {
            statement_free(statement);
            g_queue_delete_link(queue, l);
        }
        l = next;
    }
}

void link_lost(struct db_async *db, const char *message)
{
    log_outage(db, message);
    drop_setup(&db->sent);
    drop_setup(&db->waiting);
    struct statement *statement;
    while ((statement = g_queue_pop_head(&db->sent)) != NULL) {
        /* An error that came before the end is final; a result is not: the commit comes last. */
        if (statement->error == NULL)
            g_set_error(&statement->error, LOA_ERROR, LOA_ERROR_UNCERTAIN,
                        "database connection lost: %s", message);
        g_queue_push_tail(&db->failed, statement);
    }
    link_close(db);
    db->deadline_us = mono_us(db) + db->backoff_ms * USEC_PER_MSEC;
    db->backoff_ms = MIN(db->backoff_ms * 2, BACKOFF_MAX_MS);
    link_kick(db);
}

void link_start(struct db_async *db)
{
    const char *keywords[DB_OPTIONS_MAX], *values[DB_OPTIONS_MAX];
    char name[64];
    db_application_name(name, sizeof name);
    db_options(db->conninfo, name, keywords, values);
    db->backoff_ms = MAX(db->backoff_ms, BACKOFF_MIN_MS);
    db->conn = PQconnectStartParams(keywords, values, 1);
    if (db->conn == NULL || PQstatus(db->conn) == CONNECTION_BAD) {
        g_autofree char *message = db_connection_message(db->conn);
        link_lost(db, message);
        return;
    }
    db_notices_to_log(db->conn);
    db->state = LINK_CONNECTING;
    db->deadline_us = mono_us(db) + DB_CONNECT_LIMIT_S * USEC_PER_SEC;
    watch(db, G_IO_OUT);
}

static void link_up(struct db_async *db)
{
    if (PQsetnonblocking(db->conn, 1) != 0 || PQenterPipelineMode(db->conn) != 1) {
        link_lost(db, "pipeline mode refused");
        return;
    }
    db->state = LINK_READY;
    db->deadline_us = 0;
    if (db->outage_since_us != 0)
        metric_add(METRIC_DB_RECONNECTS, NULL, 1);
    log_event(LOG_LEVEL_INFO, "database_connected",
              LOG_INT("outage_ms", db->outage_since_us == 0
                                       ? 0
                                       : (mono_us(db) - db->outage_since_us) / USEC_PER_MSEC));
    db->outage_since_us = 0;
    g_clear_pointer(&db->outage_message, g_free);
    pipeline_setup(db);
    pipeline_run(db, false);
}

/* libpq may have changed to another socket meanwhile, so the watch is always made anew. */
static void link_connect(struct db_async *db)
{
    PostgresPollingStatusType status = PQconnectPoll(db->conn);
    unwatch(db);
    switch (status) {
    case PGRES_POLLING_READING:
        watch(db, G_IO_IN);
        break;
    case PGRES_POLLING_WRITING:
        watch(db, G_IO_OUT);
        break;
    case PGRES_POLLING_OK:
        link_up(db);
        break;
    default: {
        g_autofree char *message = db_connection_message(db->conn);
        link_lost(db, message);
    }
    }
}

/* The failed ones that were there at the start: a callback that queues again and is refused again
 * must not hold the loop. */
static void finish_failed(struct db_async *db)
{
    for (guint n = db->failed.length; n > 0 && !db->freed; n--)
        statement_finish(db, g_queue_pop_head(&db->failed));
}

static void rearm(struct db_async *db)
{
    if (db->state == LINK_READY)
        watch(db, db->flushing ? G_IO_IN | G_IO_OUT : G_IO_IN);
    gint64 ready = -1;
    if (db->failed.length > 0 || pipeline_can_send(db))
        ready = 0;
    else if (db->deadline_us != 0)
        ready = g_get_monotonic_time() + MAX(db->deadline_us - mono_us(db), 0);
    g_source_set_ready_time(db->source, ready);
}

void link_run(struct db_async *db)
{
    GIOCondition ready = db->fd_tag == NULL ? 0 : g_source_query_unix_fd(db->source, db->fd_tag);
    bool overdue = db->deadline_us != 0 && mono_us(db) >= db->deadline_us;
    finish_failed(db);
    if (db->freed)
        return;
    switch (db->state) {
    case LINK_WAITING:
        if (overdue)
            link_start(db);
        break;
    case LINK_CONNECTING:
        if (ready != 0)
            link_connect(db);
        else if (overdue)
            link_lost(db, "no connection within " G_STRINGIFY(DB_CONNECT_LIMIT_S) " s");
        break;
    case LINK_READY:
        if (overdue && ready == 0)
            link_lost(db, "no answer within the limit");
        else
            pipeline_run(db, (ready & ~G_IO_OUT) != 0);
        break;
    }
    if (!db->freed)
        rearm(db);
}
