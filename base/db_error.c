/* The only place where SQLSTATEs and libpq's failures become LOA_ERROR. The server's DETAIL is
 * never taken over: it quotes row values, and those may be somebody's data. */
#include <assert.h>
#include <string.h>

#include "base/db_internal.h"
#include "base/log.h"

/* The longest matching prefix wins, so exceptions stand before their class. */
static const struct {
    const char *prefix;
    enum loa_error code;
} sqlstates[] = {
    {"LO001", LOA_ERROR_CONFLICT},  /* raised by our own functions: the state forbids it */
    {"23505", LOA_ERROR_CONFLICT},  /* unique violation */
    {"23P01", LOA_ERROR_CONFLICT},  /* exclusion violation */
    {"23", LOA_ERROR_INVALID},      /* other integrity constraints */
    {"22", LOA_ERROR_INVALID},      /* bad data */
    {"21", LOA_ERROR_INVALID},      /* the same row twice in one upsert */
    {"40003", LOA_ERROR_UNCERTAIN}, /* statement completion unknown */
    {"40", LOA_ERROR_RETRY},        /* serialization failure, deadlock */
    {"25006", LOA_ERROR_RETRY},     /* read-only: a standby that is about to be promoted */
    {"26000", LOA_ERROR_RETRY},     /* the prepared statement is gone; it is prepared anew */
    {"55", LOA_ERROR_RETRY},        /* lock not available, object in use */
    {"57014", LOA_ERROR_RETRY},     /* cancelled or over its time limit, and rolled back */
    {"57P03", LOA_ERROR_RETRY},     /* starting up or shutting down: nothing was executed */
    {"57P", LOA_ERROR_UNCERTAIN},   /* the backend was stopped under the statement */
    {"08", LOA_ERROR_UNCERTAIN},    /* the connection was lost under the statement */
    {"28", LOA_ERROR_DENIED},       /* login refused */
    {"42501", LOA_ERROR_DENIED},    /* insufficient privilege */
    {"53", LOA_ERROR_LIMIT},        /* disk full, out of memory, too many connections */
    {"54", LOA_ERROR_LIMIT},        /* program limit exceeded */
};

static enum loa_error code_of(const char *sqlstate)
{
    for (size_t i = 0; i < G_N_ELEMENTS(sqlstates); i++) {
        if (strncmp(sqlstate, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) == 0)
            return sqlstates[i].code;
    }
    return LOA_ERROR_INTERNAL;
}

/* A plan that no longer fits its table after a migration: preparing anew cures it. */
static bool is_stale_plan(const PGresult *res, const char *sqlstate)
{
    return strcmp(sqlstate, "0A000") == 0 &&
           g_strcmp0(PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION), "RevalidateCachedQuery") ==
               0;
}

bool db_result_forgets_plan(const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    return sqlstate != NULL && (strcmp(sqlstate, "26000") == 0 || is_stale_plan(res, sqlstate));
}

void db_error_from_result(const PGresult *res, GError **error)
{
    const char *sqlstate = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (sqlstate == NULL) {
        /* Made by libpq itself: the connection fell before an answer came. */
        g_autofree char *text = g_strdup(res == NULL ? "no answer" : PQresultErrorMessage(res));
        g_set_error(error, LOA_ERROR, LOA_ERROR_UNCERTAIN, "database connection lost: %s",
                    g_strstrip(g_strdelimit(text, "\n", ' ')));
        return;
    }
    enum loa_error code = is_stale_plan(res, sqlstate) ? LOA_ERROR_RETRY : code_of(sqlstate);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    g_autoptr(GString) text = g_string_new(message != NULL ? message : "database error");
    if (constraint != NULL && strstr(text->str, constraint) == NULL)
        g_string_append_printf(text, " (%s)", constraint);
    if (position != NULL)
        g_string_append_printf(text, " at character %s", position);
    g_set_error(error, LOA_ERROR, code, "%s [%s]", text->str, sqlstate);
}

bool db_error_is_servers(const GError *error)
{
    const char *at = strrchr(error->message, '[');
    return error->domain == LOA_ERROR && at != NULL &&
           strspn(at + 1, G_CSET_A_2_Z G_CSET_DIGITS) == 5 && strcmp(at + 6, "]") == 0;
}

char *db_connection_message(const PGconn *conn)
{
    char *text = g_strdup(PQerrorMessage(conn));
    return g_strstrip(g_strdelimit(text, "\n", ' '));
}

void db_error_from_connect(const PGconn *conn, GError **error)
{
    g_autofree char *message = db_connection_message(conn);
    /* libpq keeps no SQLSTATE of a failed start-up; what is refused there stays refused until an
     * operator acts, but he may be acting right now: RETRY serves both. */
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "cannot connect to the database: %s", message);
}

static void log_notice(void *user, const PGresult *res)
{
    (void)user;
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    log_event(LOG_LEVEL_DEBUG, "database_noticed", LOG_STR("sqlstate", sqlstate),
              LOG_STR("message", message));
}

void db_notices_to_log(PGconn *conn)
{
    PQsetNoticeReceiver(conn, log_notice, NULL);
}
