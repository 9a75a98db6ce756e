/* What db_async.c (queue, public calls), db_async_link.c (the connection's life) and
 * db_async_pipeline.c (statements on a ready connection) share. */
#ifndef LOA_BASE_DB_ASYNC_INTERNAL_H
#define LOA_BASE_DB_ASYNC_INTERNAL_H

#include "base/db_async.h"
#include "base/db_internal.h"

enum link_state {
    LINK_WAITING,    /* until retry_at_us → CONNECTING */
    LINK_CONNECTING, /* PQconnectPoll → READY, or WAITING */
    LINK_READY,      /* in pipeline mode → WAITING when it is lost */
};

struct statement {
    const char *sql; /* borrowed for ever, or owned_sql */
    char *owned_sql;
    struct db_params *params;
    db_async_cb cb; /* may be NULL */
    void *user;
    bool setup;     /* of the link itself; dies with its connection */
    bool preparing; /* the first of its results is that of Prepare */
    char *plan_key; /* in db_async.plans; NULL = sent without a plan */
    GError *error;  /* the first failure among its results */
    PGresult *res;  /* the last success */
};

struct subscription {
    char *channel;
    db_async_notify_cb cb;
    void *user;
};

struct db_async {
    char *conninfo;
    const struct clock *clock;
    unsigned queue_max;
    int references; /* one of the owner, one while dispatching */
    bool freed;     /* the owner has let go: call nothing any more */

    GSource *source; /* dispatches on the socket and at the next deadline */
    gpointer fd_tag; /* NULL while there is no socket */
    GIOCondition watched;

    enum link_state state;
    PGconn *conn;
    int64_t deadline_us;     /* monotonic: retry, connect limit, or answer limit; 0 = none */
    int64_t outage_since_us; /* 0 = none */
    char *outage_message;    /* the last one logged */
    int backoff_ms;
    bool flushing;       /* libpq holds bytes that the socket would not take */
    GHashTable *plans;   /* "address.types" → name prepared on this connection */
    unsigned plan_count; /* makes the names unique on a connection */

    GQueue waiting; /* struct statement, not yet given to libpq */
    GQueue sent;    /* struct statement, in the order in which answers come */
    GQueue failed;  /* struct statement with error set, to be called back */
    GPtrArray *subscriptions;
    PGresult *current; /* of the running callback, until kept */
};

void statement_free(struct statement *statement);
/* Calls back with what statement holds and frees it. db may have been freed after it. */
void statement_finish(struct db_async *db, struct statement *statement);

/* Starts an attempt to connect. Calls nothing back. */
void link_start(struct db_async *db);
/* Drops the connection and plans the next attempt: sent statements become failed (UNCERTAIN),
 * waiting ones stay. Calls nothing back. */
void link_lost(struct db_async *db, const char *message);
/* Drops the connection for good. Calls nothing back. */
void link_close(struct db_async *db);
/* Does everything there is to do now. Calls back. */
void link_run(struct db_async *db);
/* Asks the main loop for a link_run as soon as it turns. */
void link_kick(struct db_async *db);

/* Queues what a new connection needs before all that waits. */
void pipeline_setup(struct db_async *db);
/* Queues LISTEN. */
void pipeline_listen(struct db_async *db, const char *channel);
/* Reads answers and notifications, if the socket has any, and sends what waits. Calls back. */
void pipeline_run(struct db_async *db, bool readable);
/* True when something waits and may be sent now. */
bool pipeline_can_send(const struct db_async *db);

#endif
