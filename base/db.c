/* One synchronous connection. It owns its PGconn for its whole life (PQreset renews it in place)
 * and knows whether a transaction is open, because that decides what a lost connection means:
 * inside a transaction nothing has happened, outside of one the statement may have. */
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/db_internal.h"
#include "base/log.h"
#include "base/metrics.h"

const char DB_SESSION_SQL[] = "SELECT set_config('statement_timeout', '60s', false),"
                              " set_config('idle_in_transaction_session_timeout', '60s', false),"
                              " set_config('jit', 'off', false),"
                              " set_config('TimeZone', 'UTC', false)";

void db_application_name(char *out, size_t size)
{
    g_snprintf(out, size, "loa %s", log_role());
}

void db_options(const char *conninfo, const char *name, const char *keywords[DB_OPTIONS_MAX],
                const char *values[DB_OPTIONS_MAX])
{
    /* What stands before dbname the operator may override, what stands after it he may not. */
    static const char *const fixed[][2] = {
        {"keepalives_idle", "10"},  {"keepalives_interval", "5"},
        {"keepalives_count", "3"},  {"tcp_user_timeout", "30000"},
        {"dbname", NULL},           {"connect_timeout", G_STRINGIFY(DB_CONNECT_LIMIT_S)},
        {"application_name", NULL}, {"client_encoding", "UTF8"},
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(fixed) < DB_OPTIONS_MAX);
    size_t n = 0;
    for (; n < G_N_ELEMENTS(fixed); n++) {
        keywords[n] = fixed[n][0];
        values[n] = fixed[n][1];
        if (strcmp(keywords[n], "dbname") == 0)
            values[n] = conninfo;
        else if (strcmp(keywords[n], "application_name") == 0)
            values[n] = name;
    }
    keywords[n] = values[n] = NULL;
}

/* What every new or renewed connection needs. */
static bool session_begin(struct db *db, GError **error)
{
    if (PQstatus(db->conn) != CONNECTION_OK) {
        db_error_from_connect(db->conn, error);
        return false;
    }
    g_autoptr(PGresult) res = PQexec(db->conn, DB_SESSION_SQL);
    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        return true;
    g_autoptr(GError) cause = NULL;
    db_error_from_result(res, &cause);
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "%s", cause->message);
    return false;
}

struct db *db_open(const char *conninfo, GError **error)
{
    const char *keywords[DB_OPTIONS_MAX], *values[DB_OPTIONS_MAX];
    char name[64];
    db_application_name(name, sizeof name);
    db_options(conninfo, name, keywords, values);
    PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (conn == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "cannot connect to the database: no memory");
        return NULL;
    }
    loa_auto(db) db = g_new0(struct db, 1);
    db->conn = conn;
    db_notices_to_log(conn);
    if (!session_begin(db, error))
        return NULL;
    return g_steal_pointer(&db);
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    PQfinish(db->conn); /* the server rolls back what is open */
    g_free(db);
}

PGconn *db_conn(struct db *db)
{
    return db->conn;
}

/* Reads what an idle connection has received meanwhile, so that "terminated by administrator" is
 * noticed before a statement is wasted on it. */
static bool is_alive(PGconn *conn)
{
    while (PQstatus(conn) == CONNECTION_OK) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        if (poll(&fd, 1, 0) <= 0)
            return true;
        if (PQconsumeInput(conn) == 0)
            return false;
        (void)PQisBusy(conn);
    }
    return false;
}

bool db_ready(struct db *db, GError **error)
{
    assert(!db->copying);
    if (db->in_transaction && db->transaction_lost) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY,
                    "the transaction was lost with its connection");
        return false;
    }
    if (is_alive(db->conn))
        return true;
    if (db->in_transaction) {
        db->transaction_lost = true;
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY,
                    "database connection lost inside a transaction");
        return false;
    }
    PQreset(db->conn);
    if (!session_begin(db, error))
        return false;
    metric_add(METRIC_DB_RECONNECTS, NULL, 1);
    return true;
}

void db_error_unsent(struct db *db, GError **error)
{
    g_autofree char *message = db_connection_message(db->conn);
    db->transaction_lost = db->in_transaction;
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "database statement not sent: %s", message);
}

static bool is_success(const PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return true;
    default:
        return false;
    }
}

static bool is_copy(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

PGresult *db_collect(struct db *db, GError **error)
{
    g_autoptr(PGresult) last = NULL;
    for (PGresult *res = PQgetResult(db->conn); res != NULL; res = PQgetResult(db->conn)) {
        /* The first failure is the cause; what libpq adds after it says less. */
        if (last != NULL && !is_success(last)) {
            PQclear(res);
        } else {
            PQclear(last);
            last = res;
        }
        if (is_copy(last) || PQstatus(db->conn) != CONNECTION_OK)
            break; /* PQgetResult would give it again for ever */
    }
    if (last != NULL && is_success(last))
        return g_steal_pointer(&last);
    if (last != NULL && is_copy(last)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "COPY sent as a plain statement");
        PQreset(db->conn); /* the only way out of an unknown COPY */
        db->transaction_lost = db->in_transaction;
        return NULL;
    }
    if (PQstatus(db->conn) != CONNECTION_OK)
        db->transaction_lost = db->in_transaction;
    db_error_from_result(last, error);
    return NULL;
}

/* Inside a transaction a lost connection has undone everything: the caller may simply begin again.
 */
static void soften_lost_transaction(const struct db *db, GError **error)
{
    if (error != NULL && *error != NULL && db->in_transaction && db->transaction_lost &&
        g_error_matches(*error, LOA_ERROR, LOA_ERROR_UNCERTAIN))
        (*error)->code = LOA_ERROR_RETRY;
}

PGresult *db_query(struct db *db, const char *sql, struct db_params *params, GError **error)
{
    loa_auto(db_params) owned = params;
    struct db_wire wire;
    if (!db_params_wire(owned, &wire, error) || !db_ready(db, error))
        return NULL;
    metric_add(METRIC_DB_QUERIES, NULL, 1);
    if (PQsendQueryParams(db->conn, sql, wire.n, wire.types, wire.values, wire.lengths,
                          wire.formats, 1) == 0) {
        db_error_unsent(db, error);
        return NULL;
    }
    PGresult *res = db_collect(db, error);
    if (res == NULL)
        soften_lost_transaction(db, error);
    return res;
}

bool db_exec(struct db *db, const char *sql, struct db_params *params, GError **error)
{
    g_autoptr(PGresult) res = db_query(db, sql, params, error);
    return res != NULL;
}

/* The simple protocol: several statements, text results, no parameters. */
static PGresult *simple_query(struct db *db, const char *sql, GError **error)
{
    if (!db_ready(db, error))
        return NULL;
    if (PQsendQuery(db->conn, sql) == 0) {
        db_error_unsent(db, error);
        return NULL;
    }
    return db_collect(db, error);
}

bool db_script(struct db *db, const char *sql, GError **error)
{
    g_autoptr(PGresult) res = simple_query(db, sql, error);
    if (res == NULL)
        soften_lost_transaction(db, error);
    return res != NULL;
}

bool db_begin(struct db *db, GError **error)
{
    assert(!db->in_transaction);
    g_autoptr(GError) cause = NULL;
    g_autoptr(PGresult) res = simple_query(db, "BEGIN", &cause);
    if (res != NULL) {
        db->in_transaction = true;
        db->transaction_lost = false;
        return true;
    }
    /* A lost BEGIN has done nothing. */
    if (g_error_matches(cause, LOA_ERROR, LOA_ERROR_UNCERTAIN))
        cause->code = LOA_ERROR_RETRY;
    g_propagate_error(error, g_steal_pointer(&cause));
    return false;
}

bool db_commit(struct db *db, GError **error)
{
    assert(db->in_transaction);
    g_autoptr(PGresult) res = simple_query(db, "COMMIT", error);
    db->in_transaction = db->transaction_lost = false;
    if (res == NULL)
        return false;
    if (strcmp(PQcmdStatus(res), "COMMIT") != 0) {
        /* PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and calls it success. */
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                    "commit of a transaction in which a statement had failed");
        return false;
    }
    return true;
}

void db_rollback(struct db *db)
{
    if (!db->in_transaction)
        return;
    db_copy_abort(db);
    if (!db->transaction_lost) {
        g_autoptr(GError) ignored = NULL; /* a connection that is gone has rolled back */
        PQclear(simple_query(db, "ROLLBACK", &ignored));
    }
    db->in_transaction = db->transaction_lost = false;
}
