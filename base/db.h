/* PostgreSQL through libpq: typed parameters, binary results, errors mapped once.
 * Synchronous here; base/db_async.h is the same for event loops. SQL stands only in *_store.c. */
#ifndef LOA_BASE_DB_H
#define LOA_BASE_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

#include "base/error.h"

#define DB_PARAMS_MAX 32

/* Parameters of one statement, all sent in binary with their type. Fill in order $1, $2, …;
 * values are copied. Init with db_params_new, hand over to db_query/db_async_query (taken). */
struct db_params;

struct db_params *db_params_new(void);
void db_params_free(struct db_params *params);
LOA_AUTO_DEFINE(db_params, db_params_free)

void db_param_null(struct db_params *params);
void db_param_i64(struct db_params *params, int64_t value);      /* bigint */
void db_param_i32(struct db_params *params, int32_t value);      /* integer */
void db_param_bool(struct db_params *params, bool value);        /* boolean */
void db_param_text(struct db_params *params, const char *value); /* text; NULL → null */
void db_param_bytes(struct db_params *params, const void *data,
                    size_t len);                                /* bytea; NULL → null */
void db_param_utc_us(struct db_params *params, int64_t utc_us); /* timestamptz */
void db_param_i64_array(struct db_params *params, const int64_t *values, size_t n); /* bigint[] */
void db_param_i32_array(struct db_params *params, const int32_t *values, size_t n); /* integer[] */
void db_param_text_array(struct db_params *params, const char *const *values,
                         size_t n); /* text[]; NULL items → null */
void db_param_utc_us_array(struct db_params *params, const int64_t *values,
                           size_t n); /* timestamptz[] */

/* Readers of binary results. Row and column must exist (asserted). */
bool db_is_null(const PGresult *res, int row, int col);
int64_t db_get_i64(const PGresult *res, int row, int col); /* int2, int4, int8; 0 when null */
bool db_get_bool(const PGresult *res, int row, int col);
const char *db_get_text(const PGresult *res, int row,
                        int col); /* borrowed until PQclear; NULL when null */
const void *db_get_bytes(const PGresult *res, int row, int col,
                         size_t *out_len); /* borrowed; NULL when null */
int64_t db_get_utc_us(const PGresult *res, int row,
                      int col); /* timestamptz; 0 when null; ±infinity → INT64_MAX/MIN */
char **db_get_text_array(const PGresult *res, int row,
                         int col); /* text[]; owned strv; NULL when null */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PGresult, PQclear)

/* One connection; not thread safe: one per thread. */
struct db;

/* Connects (10 s limit), sets application_name "loa ROLE", statement_timeout (60 s; longer work
 * says SET LOCAL statement_timeout in its transaction) and idle_in_transaction_session_timeout (60
 * s). RETRY when the server cannot be reached or refuses the login. Owned. */
struct db *db_open(const char *conninfo, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void db_close(struct db *db);
LOA_AUTO_DEFINE(db, db_close)

/* Runs one statement; params taken (may be NULL). Outside a transaction a broken connection is
 * renewed once before the statement is sent. Errors: RETRY (not executed, or serialization and
 * deadlock failures, over the time limit, or anything lost inside a transaction except COMMIT),
 * UNCERTAIN (connection lost after it was sent), CONFLICT (unique/exclusion violation, state raised
 * by a function with SQLSTATE LO001), INVALID (check, not-null, foreign key, bad data), DENIED
 * (42501), LIMIT (53xxx: disk full, too many connections), INTERNAL. */
PGresult *db_query(struct db *db, const char *sql, struct db_params *params,
                   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Same when no rows matter. */
bool db_exec(struct db *db, const char *sql, struct db_params *params,
             GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Runs a script of several statements as one simple query (migrations, checks). */
bool db_script(struct db *db, const char *sql, GError **error) G_GNUC_WARN_UNUSED_RESULT;

bool db_begin(struct db *db, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool db_commit(struct db *db, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void db_rollback(struct db *db); /* no-op outside a transaction; never fails */

/* COPY table(columns) FROM STDIN in text format: start, put rows as raw bytes (at most 16 MiB
 * each), end. Its limit is an hour; inside a transaction that stays so until the transaction's end.
 */
bool db_copy_start(struct db *db, const char *copy_sql, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool db_copy_put(struct db *db, const char *data, size_t len,
                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool db_copy_end(struct db *db, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends a running COPY so that none of its rows is kept; no-op otherwise. db_rollback does it too.
 */
void db_copy_abort(struct db *db);

/* Maps a failed result or connection to LOA_ERROR, as documented at db_query. For db_async.c. */
void db_error_from_result(const PGresult *res, GError **error);
/* The server said so: the message ends in its SQLSTATE and may name tables and constraints. */
bool db_error_is_servers(const GError *error);

/* The raw connection, for LISTEN and for advisory use inside base/ only. */
PGconn *db_conn(struct db *db);

#endif
