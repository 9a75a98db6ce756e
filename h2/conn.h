/* One HTTP/2 connection to a provider that comes back by itself: resolve, connect, verify, send,
 * drain, wait, again. Runs on the thread's default GMainContext. Only for h2/; users have
 * h2/pool.h. */
#ifndef LOA_H2_CONN_H
#define LOA_H2_CONN_H

#include <gio/gio.h>

#include "base/auto.h"
#include "h2/pool.h"
#include "h2/request.h"

struct ssl_ctx_st;

enum h2_state {
    H2_WAITING,    /* until it is time to try again → CONNECTING */
    H2_CONNECTING, /* DNS, TCP, TLS → GREETING, WAITING */
    H2_GREETING,   /* until the peer's SETTINGS have come → READY, WAITING */
    H2_READY,      /* → DRAINING, WAITING */
    H2_DRAINING,   /* open requests end, no new ones → WAITING */
};

/* Where the connections of a pool go. */
struct h2_target {
    struct h2_config config; /* defaults filled in */
    char *host;              /* without brackets */
    uint16_t port;
    char *authority;
    struct ssl_ctx_st *tls;
};

struct h2_conn;

/* target is borrowed and outlives it; number: which of the pool's, for spreading over the host's
 * addresses and for the log. Begins with start. Owned. */
struct h2_conn *h2_conn_new(const struct h2_target *target, unsigned number);
/* Every request is settled and its done called before this returns; done must not send then. */
void h2_conn_free(struct h2_conn *conn);
LOA_AUTO_DEFINE(h2_conn, h2_conn_free)

/* The rest is as in h2/pool.h. */
void h2_conn_start(struct h2_conn *conn);
enum h2_state h2_conn_state(const struct h2_conn *conn);
unsigned h2_conn_in_flight(const struct h2_conn *conn);
unsigned h2_conn_room(const struct h2_conn *conn);
void h2_conn_send(struct h2_conn *conn, const struct h2_request *request);
void h2_conn_settle(struct h2_conn *conn, const struct h2_request *request, enum h2_outcome outcome,
                    const char *reason);
void h2_conn_flush(struct h2_conn *conn);
void h2_conn_prove(struct h2_conn *conn);
void h2_conn_drain(struct h2_conn *conn, const char *reason);
const char *h2_conn_trouble(const struct h2_conn *conn);

#endif
