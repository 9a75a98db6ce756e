/* What db.c, db_copy.c, db_params.c and db_async*.c share. Not for other modules. */
#ifndef LOA_BASE_DB_INTERNAL_H
#define LOA_BASE_DB_INTERNAL_H

#include "base/db.h"

#define DB_CONNECT_LIMIT_S   10
#define DB_STATEMENT_LIMIT_S 60

/* The parameters in libpq's form; pointers borrowed from the params they were made from. */
struct db_wire {
    int n;
    Oid types[DB_PARAMS_MAX];
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX];
    int formats[DB_PARAMS_MAX];
};
/* params may be NULL. LIMIT when the values together were too large to keep. */
bool db_params_wire(const struct db_params *params, struct db_wire *out, GError **error);

/* Connection options that Loa adds around the operator's conninfo: keywords and values for
 * PQconnectStartParams, NULL-terminated, borrowed (values until conninfo and name go). */
#define DB_OPTIONS_MAX 12
void db_options(const char *conninfo, const char *name, const char *keywords[DB_OPTIONS_MAX],
                const char *values[DB_OPTIONS_MAX]);
/* "loa ROLE". */
void db_application_name(char *out, size_t size);
/* Sets the session's limits; a statement, so that it works behind PgBouncer too. */
extern const char DB_SESSION_SQL[];
/* True when the error says that a prepared statement must be prepared anew. */
bool db_result_forgets_plan(const PGresult *res);
/* Server notices go to the log at debug level. */
void db_notices_to_log(PGconn *conn);
/* Why a connection could not be made or was lost: libpq's message on one line. Owned. */
char *db_connection_message(const PGconn *conn);
/* The error of a failed attempt to connect: RETRY. */
void db_error_from_connect(const PGconn *conn, GError **error);

struct db {
    PGconn *conn; /* never NULL */
    bool in_transaction;
    bool transaction_lost; /* its connection fell: everything fails with RETRY until rollback */
    bool copying;
};

/* True when conn may take a statement now; renews a connection that fell while idle. */
bool db_ready(struct db *db, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Takes the results of what was just sent; returns the last one, or NULL with error. Owned. */
PGresult *db_collect(struct db *db, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Sets the error for a statement that could not even be sent. */
void db_error_unsent(struct db *db, GError **error);

#endif
