/* Reading is greedy up to READ_BUDGET so that one busy client cannot starve the others; what TLS
 * has already taken from the socket is read in the next round (loop_again). An orderly end lingers:
 * closing a socket with unread bytes makes the kernel send RST, which would destroy the last
 * answers on their way. */
#include "tests/sim/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MAX         16384 /* one TLS record */
#define READ_BUDGET      (16 * READ_MAX)
#define OUT_MAX          65536
#define HANDSHAKE_MAX_US (10 * USEC_PER_SEC)
#define LINGER_MAX_US    (2 * USEC_PER_SEC)

enum conn_state {
    CONN_HANDSHAKE, /* → OPEN, CLOSED */
    CONN_OPEN,      /* → LINGER, CLOSED */
    CONN_LINGER,    /* all said; reads until the client closes → CLOSED */
    CONN_CLOSED,    /* freed at the end of the round */
};

struct conn {
    struct watch watch; /* first: the loop hands it back */
    struct timer timer; /* of the handshake or of the linger */
    struct port *port;
    SSL *ssl;
    const struct protocol *protocol;
    void *state_of_protocol;
    enum conn_state state;
    bool busy;    /* inside receive: conn_kick has nothing to do */
    bool aborted; /* while busy */
    bool more;    /* the budget ended before TLS had nothing left */
    struct peer peer;
    size_t out_sent, out_len;
    uint8_t out[OUT_MAX];
};

struct port *conn_port(struct conn *conn)
{
    return conn->port;
}

struct peer *conn_peer(struct conn *conn)
{
    return &conn->peer;
}

static void conn_free(void *user)
{
    struct conn *conn = user;

    SSL_free(conn->ssl);
    g_free(conn);
}

static void conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    loop_watch(conn->port->loop, &conn->watch, 0);
    loop_timer_cancel(conn->port->loop, &conn->timer);
    if (conn->state_of_protocol != NULL)
        conn->protocol->close(conn->state_of_protocol);
    conn->state_of_protocol = NULL;
    close(conn->watch.fd);
    g_ptr_array_remove_fast(conn->port->conns, conn);
    loop_defer_free(conn->port->loop, conn, conn_free);
}

void conn_abort(struct conn *conn)
{
    if (conn->busy)
        conn->aborted = true;
    else
        conn_close(conn);
}

static void timer_fire(struct timer *timer)
{
    conn_close((struct conn *)((char *)timer - offsetof(struct conn, timer)));
}

static void start_linger(struct conn *conn)
{
    (void)SSL_shutdown(conn->ssl);
    ERR_clear_error();
    (void)shutdown(conn->watch.fd, SHUT_WR);
    conn->state = CONN_LINGER;
    loop_timer_set(conn->port->loop, &conn->timer, LINGER_MAX_US);
    loop_watch(conn->port->loop, &conn->watch, EPOLLIN);
}

static void linger(struct conn *conn)
{
    char waste[4096];
    ssize_t len;

    do {
        len = read(conn->watch.fd, waste, sizeof(waste));
    } while (len > 0);
    if (len == 0 || (errno != EAGAIN && errno != EINTR))
        conn_close(conn);
}

/* Writes out what stands in the buffer. False = closed. */
static bool flush_buffer(struct conn *conn, bool *out_blocked)
{
    *out_blocked = false;
    while (conn->out_sent < conn->out_len) {
        int len =
            SSL_write(conn->ssl, conn->out + conn->out_sent, (int)(conn->out_len - conn->out_sent));
        if (len > 0) {
            conn->out_sent += (size_t)len;
            continue;
        }
        if (SSL_get_error(conn->ssl, len) != SSL_ERROR_WANT_WRITE) {
            ERR_clear_error();
            conn_close(conn);
            return false;
        }
        *out_blocked = true;
        return true;
    }
    conn->out_sent = conn->out_len = 0;
    return true;
}

/* Asks the protocol for bytes until it has none or the socket is full. False = closed. */
static bool send_all(struct conn *conn)
{
    bool blocked = false;
    size_t len;

    do {
        if (!flush_buffer(conn, &blocked))
            return false;
        if (blocked)
            break;
        if (!conn->protocol->produce(conn->state_of_protocol, conn->out, OUT_MAX, &len)) {
            conn_close(conn);
            return false;
        }
        conn->out_len = len;
    } while (len > 0);
    if (!blocked && conn->protocol->finished(conn->state_of_protocol)) {
        start_linger(conn);
        return false;
    }
    /* A client that does not read its answers is not read either. */
    loop_watch(conn->port->loop, &conn->watch, blocked ? EPOLLOUT : EPOLLIN);
    return true;
}

void conn_kick(struct conn *conn)
{
    if (!conn->busy && conn->state == CONN_OPEN)
        (void)send_all(conn);
}

/* Reads up to the budget. False = the connection must end. */
static bool receive_all(struct conn *conn)
{
    uint8_t data[READ_MAX];
    bool alive = true;
    int budget = READ_BUDGET, len = 0;

    conn->busy = true;
    while (alive && !conn->aborted && budget > 0) {
        len = SSL_read(conn->ssl, data, sizeof(data));
        if (len <= 0)
            break;
        budget -= len;
        alive = conn->protocol->receive(conn->state_of_protocol, data, (size_t)len);
    }
    conn->busy = false;
    conn->more = len > 0;
    if (!alive || conn->aborted)
        return false;
    if (len <= 0 && SSL_get_error(conn->ssl, len) != SSL_ERROR_WANT_READ) {
        ERR_clear_error();
        return false;
    }
    return true;
}

static void open_ready(struct conn *conn, uint32_t events)
{
    if ((events & EPOLLOUT) == 0 && conn->out_len == 0 && !receive_all(conn)) {
        conn_close(conn);
        return;
    }
    if (send_all(conn) && conn->more && conn->out_len == 0)
        loop_again(conn->port->loop, &conn->watch);
}

static void handshake(struct conn *conn)
{
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    int done = SSL_accept(conn->ssl);

    if (done != 1) {
        int why = SSL_get_error(conn->ssl, done);
        ERR_clear_error();
        if (why == SSL_ERROR_WANT_READ)
            loop_watch(conn->port->loop, &conn->watch, EPOLLIN);
        else if (why == SSL_ERROR_WANT_WRITE)
            loop_watch(conn->port->loop, &conn->watch, EPOLLOUT);
        else
            conn_close(conn);
        return;
    }
    SSL_get0_alpn_selected(conn->ssl, &alpn, &alpn_len);
    if (alpn_len == 2 && memcmp(alpn, "h2", 2) == 0) {
        conn->protocol = &http2_protocol;
    } else if (conn->port->channel == SIM_OAUTH) {
        conn->protocol = &http1_protocol;
    } else {
        conn_close(conn);
        return;
    }
    conn->state = CONN_OPEN;
    loop_timer_cancel(conn->port->loop, &conn->timer);
    conn->state_of_protocol = conn->protocol->open(conn);
    open_ready(conn, 0);
}

static void conn_ready(struct watch *watch, uint32_t events)
{
    struct conn *conn = (struct conn *)watch;

    if (conn->state == CONN_HANDSHAKE)
        handshake(conn);
    else if (conn->state == CONN_OPEN)
        open_ready(conn, events);
    else if (conn->state == CONN_LINGER)
        linger(conn);
}

void conn_start(struct port *port, int fd)
{
    struct conn *conn = g_new0(struct conn, 1);
    const int yes = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    conn->watch = (struct watch){.fd = fd, .ready = conn_ready};
    conn->timer.fire = timer_fire;
    conn->port = port;
    conn->peer.sandbox = port->sandbox;
    conn->ssl = SSL_new(port->tls);
    SSL_set_fd(conn->ssl, fd);
    port->service->stats[port->channel].connections++;
    g_ptr_array_add(port->conns, conn);
    loop_timer_set(port->loop, &conn->timer, HANDSHAKE_MAX_US);
    loop_watch(port->loop, &conn->watch, EPOLLIN);
}
