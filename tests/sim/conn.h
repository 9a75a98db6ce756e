/* One TLS connection of a client: bytes in, bytes out, life and death. http2.c and http1.c speak
 * on top of it. */
#ifndef LOA_SIM_CONN_H
#define LOA_SIM_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "tests/sim/exchange.h"
#include "tests/sim/loop.h"
#include "tests/sim/service.h"

struct conn;

/* A protocol on top of the bytes. */
struct protocol {
    void *(*open)(struct conn *conn);
    /* Takes what has arrived. False = the connection must end now. */
    bool (*receive)(void *state, const uint8_t *data, size_t len);
    /* Writes at most max bytes to out; 0 = nothing to send. False = the connection must end now. */
    bool (*produce)(void *state, uint8_t *out, size_t max, size_t *out_len);
    /* True when all has been said and the connection may end in order. */
    bool (*finished)(void *state);
    void (*close)(void *state);
};
extern const struct protocol http2_protocol;
extern const struct protocol http1_protocol;

/* A listening socket and what stands behind it. */
struct port {
    struct watch watch;
    struct loop *loop;
    struct service *service;
    SSL_CTX *tls;
    GPtrArray *conns; /* of this port, open */
    enum sim_channel channel;
    bool sandbox;
};

/* Takes a connected, non-blocking socket. */
void conn_start(struct port *port, int fd);
/* Sends what the protocol has to say, outside of a receive. The connection may be gone after. */
void conn_kick(struct conn *conn);
/* Ends the connection without a word, at once. */
void conn_abort(struct conn *conn);

struct port *conn_port(struct conn *conn);
struct peer *conn_peer(struct conn *conn);

#endif
