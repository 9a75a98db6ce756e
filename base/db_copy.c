/* COPY … FROM STDIN. While it runs the connection takes nothing else (asserted in db_ready). It
 * lasts as long as its input, so the statement's time limit is an hour meanwhile; inside a
 * transaction it stays so until the end, because a large COPY is followed by large merges. */
#include <assert.h>

#include "base/db_internal.h"
#include "base/metrics.h"

#define PUT_BYTES_MAX (16u << 20)

static bool limit_lift(struct db *db, GError **error)
{
    struct db_params *params = db_params_new();
    db_param_bool(params, db->in_transaction);
    return db_exec(db, "SELECT set_config('statement_timeout', '1h', $1)", params, error);
}

/* A failure means that the connection is gone, and a new one starts with the usual limit. */
static void limit_restore(struct db *db)
{
    g_autoptr(GError) ignored = NULL;
    if (!db->in_transaction)
        (void)!db_exec(db, "SELECT set_config('statement_timeout', '60s', false)", NULL, &ignored);
}

bool db_copy_start(struct db *db, const char *copy_sql, GError **error)
{
    if (!limit_lift(db, error) || !db_ready(db, error))
        return false;
    metric_add(METRIC_DB_QUERIES, NULL, 1);
    if (PQsendQuery(db->conn, copy_sql) == 0) {
        db_error_unsent(db, error);
        return false;
    }
    g_autoptr(PGresult) res = PQgetResult(db->conn);
    if (PQresultStatus(res) == PGRES_COPY_IN) {
        db->copying = true;
        return true;
    }
    if (PQresultStatus(res) == PGRES_FATAL_ERROR)
        db_error_from_result(res, error);
    else
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "not a COPY FROM STDIN statement");
    g_autoptr(GError) ignored = NULL;
    g_autoptr(PGresult) rest = db_collect(db, &ignored);
    limit_restore(db);
    return false;
}

bool db_copy_put(struct db *db, const char *data, size_t len, GError **error)
{
    assert(db->copying && len <= PUT_BYTES_MAX);
    if (PQputCopyData(db->conn, data, (int)len) == 1)
        return true;
    /* Nothing is kept of a COPY that has not ended. */
    g_autofree char *message = db_connection_message(db->conn);
    db->copying = false;
    db->transaction_lost = db->in_transaction;
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "COPY broke off: %s", message);
    return false;
}

bool db_copy_end(struct db *db, GError **error)
{
    assert(db->copying);
    db->copying = false;
    if (PQputCopyEnd(db->conn, NULL) != 1) {
        db_error_unsent(db, error);
        return false;
    }
    g_autoptr(GError) cause = NULL;
    g_autoptr(PGresult) res = db_collect(db, &cause);
    limit_restore(db);
    if (res != NULL)
        return true;
    if (db->in_transaction && db->transaction_lost)
        cause->code = LOA_ERROR_RETRY;
    g_propagate_error(error, g_steal_pointer(&cause));
    return false;
}

void db_copy_abort(struct db *db)
{
    if (!db->copying)
        return;
    db->copying = false;
    if (PQputCopyEnd(db->conn, "broken off by the client") != 1) {
        db->transaction_lost = db->in_transaction;
        return;
    }
    g_autoptr(GError) ignored = NULL; /* the server says what we asked for */
    g_autoptr(PGresult) res = db_collect(db, &ignored);
    limit_restore(db);
}
