/* PostgreSQL inside an event loop: libpq in pipeline mode on the thread's default GMainContext.
 * Each statement is its own transaction (one Sync each) and carries everything it needs, so a lost
 * connection leaves at worst statements whose fate is unknown, and those are written to be
 * repeatable. Statements run in the order in which they were queued. */
#ifndef LOA_BASE_DB_ASYNC_H
#define LOA_BASE_DB_ASYNC_H

#include "base/clock.h"
#include "base/db.h"

struct db_async;

/* Exactly one of res (borrowed until the callback returns; take a reference is not possible, use
 * db_async_keep_result) and error (borrowed) is set. Errors as db_query; a statement that was
 * queued but not sent when the connection fell gets RETRY, one that was sent UNCERTAIN. */
typedef void (*db_async_cb)(PGresult *res, const GError *error, void *user);

/* Called for each notification received on a channel subscribed with db_async_listen. */
typedef void (*db_async_notify_cb)(const char *channel, const char *payload, void *user);

/* A statement may run for 30 s (RETRY after that); one that is not answered within 45 s counts as
 * lost with its connection. A host name in conninfo is resolved with a blocking call: give an
 * address (hostaddr), a socket folder or a name in /etc/hosts. */

/* Never fails: connects in the background and reconnects for ever (100 ms doubling to 2 s),
 * re-issuing every LISTEN. Statements queued while disconnected wait for the connection, at most
 * queue_max of them (later ones fail with LIMIT). Owned. */
struct db_async *db_async_new(const char *conninfo, unsigned queue_max, const struct clock *clock);
/* Pending callbacks are called with RETRY/UNCERTAIN before it returns; what they queue meanwhile is
 * thrown away. May be called from inside a callback. */
void db_async_free(struct db_async *db);
LOA_AUTO_DEFINE(db_async, db_async_free)

/* Queues one statement. sql must live for ever (a literal): it is prepared once per connection
 * under its address and executed in binary. params taken, may be NULL. The callback is never called
 * from inside this call. */
void db_async_query(struct db_async *db, const char *sql, struct db_params *params, db_async_cb cb,
                    void *user);

/* Inside a callback: keeps the result alive after the callback returns. Owned: PQclear. */
PGresult *db_async_keep_result(struct db_async *db);

/* cb stays subscribed until db_async_free. What is notified while disconnected is lost: poll too.
 */
void db_async_listen(struct db_async *db, const char *channel, db_async_notify_cb cb, void *user);

bool db_async_connected(const struct db_async *db);
/* Statements queued or sent, not yet answered. */
unsigned db_async_pending(const struct db_async *db);

#endif
