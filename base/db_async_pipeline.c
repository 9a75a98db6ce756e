/* Statements on a ready connection: [Prepare] Execute Sync each, so that each is a transaction of
 * its own and a failing one does not abort those behind it. At most SENT_MAX are out at a time, and
 * none is added while the socket is full: a lost connection leaves few in doubt and libpq's buffer
 * small. */
#include <assert.h>
#include <string.h>

#include "base/db_async_internal.h"
#include "base/log.h"
#include "base/metrics.h"

#define SENT_MAX        128
#define ANSWER_LIMIT_US (45 * USEC_PER_SEC)
/* plan_cache_mode: a plan made while a table was still empty would be kept for ever. jit: without
 * statistics a claim looks dear enough to be compiled, for 100 ms each time. */
#define SETUP_SQL                                                                                  \
    "SELECT set_config('statement_timeout', '30s', false),"                                        \
    " set_config('idle_in_transaction_session_timeout', '60s', false),"                            \
    " set_config('plan_cache_mode', 'force_custom_plan', false),"                                  \
    " set_config('jit', 'off', false), set_config('TimeZone', 'UTC', false)"

static struct statement *setup_new(char *sql)
{
    struct statement *statement = g_new0(struct statement, 1);
    *statement = (struct statement){.sql = sql, .owned_sql = sql, .setup = true};
    return statement;
}

static struct statement *listen_new(struct db_async *db, const char *channel)
{
    char *name = PQescapeIdentifier(db->conn, channel, strlen(channel));
    assert(name != NULL); /* channel names are literals of ours */
    struct statement *statement = setup_new(g_strdup_printf("LISTEN %s", name));
    PQfreemem(name);
    return statement;
}

void pipeline_setup(struct db_async *db)
{
    for (guint i = 0; i < db->subscriptions->len; i++) {
        const struct subscription *s = db->subscriptions->pdata[i];
        g_queue_push_head(&db->waiting, listen_new(db, s->channel));
    }
    g_queue_push_head(&db->waiting, setup_new(g_strdup(SETUP_SQL)));
}

void pipeline_listen(struct db_async *db, const char *channel)
{
    g_queue_push_tail(&db->waiting, listen_new(db, channel));
}

/* A plan belongs to the literal and the parameter types: a null without a type may make the server
 * choose another type than a later value has. */
static char *plan_key(const struct statement *statement, const struct db_wire *wire)
{
    GString *key = g_string_new(NULL);
    g_string_printf(key, "%p", (const void *)statement->sql);
    for (int i = 0; i < wire->n; i++)
        g_string_append_printf(key, ".%u", wire->types[i]);
    return g_string_free(key, FALSE);
}

/* Gives one statement to libpq, up to its Sync. */
static bool put_statement(struct db_async *db, struct statement *statement,
                          const struct db_wire *wire)
{
    if (statement->setup)
        return PQsendQueryParams(db->conn, statement->sql, 0, NULL, NULL, NULL, NULL, 1) == 1;
    statement->plan_key = plan_key(statement, wire);
    const char *plan = g_hash_table_lookup(db->plans, statement->plan_key);
    if (plan == NULL) {
        char *name = g_strdup_printf("l%u", ++db->plan_count);
        g_hash_table_insert(db->plans, g_strdup(statement->plan_key), name);
        plan = name;
        statement->preparing = true;
        if (PQsendPrepare(db->conn, name, statement->sql, wire->n, wire->types) != 1)
            return false;
    }
    return PQsendQueryPrepared(db->conn, plan, wire->n, wire->values, wire->lengths, wire->formats,
                               1) == 1;
}

static void lost(struct db_async *db)
{
    g_autofree char *message = db_connection_message(db->conn);
    link_lost(db, message);
}

static void progress(struct db_async *db)
{
    db->deadline_us = db->sent.length == 0 ? 0 : db->clock->mono_us(db->clock) + ANSWER_LIMIT_US;
}

/* False when the connection fell. Without its Sync a statement is never committed, so it may wait
 * for the next connection. */
static bool send_head(struct db_async *db)
{
    struct statement *statement = g_queue_peek_head(&db->waiting);
    struct db_wire wire;
    if (!db_params_wire(statement->params, &wire, &statement->error)) {
        g_queue_push_tail(&db->failed, g_queue_pop_head(&db->waiting));
        return true;
    }
    if (!put_statement(db, statement, &wire)) {
        g_clear_pointer(&statement->plan_key, g_free);
        statement->preparing = false;
        lost(db);
        return false;
    }
    g_queue_push_tail(&db->sent, g_queue_pop_head(&db->waiting));
    if (db->sent.length == 1)
        progress(db);
    metric_add(METRIC_DB_QUERIES, NULL, 1);
    if (PQpipelineSync(db->conn) != 1) {
        lost(db);
        return false;
    }
    return true;
}

bool pipeline_can_send(const struct db_async *db)
{
    return db->state == LINK_READY && db->waiting.length > 0 && db->sent.length < SENT_MAX &&
           !db->flushing;
}

static void send_waiting(struct db_async *db)
{
    for (;;) {
        int rest = PQflush(db->conn);
        if (rest < 0) {
            lost(db);
            return;
        }
        db->flushing = rest == 1;
        if (!pipeline_can_send(db) || !send_head(db))
            return;
    }
}

static void take_failure(struct db_async *db, struct statement *statement, const PGresult *res)
{
    if (statement->error != NULL)
        return;
    db_error_from_result(res, &statement->error);
    if (statement->plan_key != NULL && (statement->preparing || db_result_forgets_plan(res)))
        g_hash_table_remove(db->plans, statement->plan_key);
}

static void take_end(struct db_async *db)
{
    struct statement *statement = g_queue_pop_head(&db->sent);
    if (!statement->setup) {
        statement_finish(db, statement);
        return;
    }
    if (statement->error == NULL)
        db->backoff_ms = 0; /* a server that answers: the next outage starts afresh */
    else
        link_lost(db, statement->error->message);
    statement_free(statement);
}

/* One result belongs to the statement sent first. res is taken. */
static void take_result(struct db_async *db, PGresult *res)
{
    struct statement *statement = g_queue_peek_head(&db->sent);
    switch (PQresultStatus(res)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(res);
        take_end(db);
        return;
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        statement->preparing = false;
        PQclear(statement->res);
        statement->res = res;
        return;
    case PGRES_PIPELINE_ABORTED: /* Execute after a failed Prepare */
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        g_set_error(&statement->error, LOA_ERROR, LOA_ERROR_INTERNAL, "COPY cannot be pipelined");
        link_lost(db, "COPY in a pipeline");
        break;
    default:
        take_failure(db, statement, res);
    }
    PQclear(res);
}

static bool is_ready(const struct db_async *db)
{
    return !db->freed && db->state == LINK_READY;
}

static void take_results(struct db_async *db)
{
    bool was_null = false; /* libpq parts two statements by one NULL, never by two */
    while (is_ready(db) && db->sent.length > 0 && !PQisBusy(db->conn)) {
        PGresult *res = PQgetResult(db->conn);
        if (res == NULL && (was_null || PQstatus(db->conn) != CONNECTION_OK))
            return;
        was_null = res == NULL;
        if (res == NULL)
            continue;
        take_result(db, res);
        if (is_ready(db))
            progress(db);
    }
}

static void take_notification(struct db_async *db, const PGnotify *notify)
{
    for (guint i = 0; !db->freed && i < db->subscriptions->len; i++) {
        const struct subscription *s = db->subscriptions->pdata[i];
        if (strcmp(s->channel, notify->relname) == 0)
            s->cb(notify->relname, notify->extra, s->user);
    }
}

static void take_notifications(struct db_async *db)
{
    PGnotify *notify;
    while (is_ready(db) && (notify = PQnotifies(db->conn)) != NULL) {
        take_notification(db, notify);
        PQfreemem(notify);
    }
}

void pipeline_run(struct db_async *db, bool readable)
{
    bool open = !readable || PQconsumeInput(db->conn) == 1;
    take_results(db); /* also what had arrived before the connection fell */
    take_notifications(db);
    if (!is_ready(db))
        return;
    if (!open || PQstatus(db->conn) != CONNECTION_OK)
        lost(db);
    else
        send_waiting(db);
}
