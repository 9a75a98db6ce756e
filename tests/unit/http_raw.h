/* Raw bytes over a socket, for tests of the HTTP server. */
#ifndef LOA_TESTS_UNIT_HTTP_RAW_H
#define LOA_TESTS_UNIT_HTTP_RAW_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "base/clock.h"
#include "base/http_server.h"

#define RAW_REPLY_MAX (256 * 1024)

/* A blocking connection to 127.0.0.1 whose calls take at most 20 seconds. */
static inline int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        g_error("no connection to the server under test");
    return fd;
}

/* One connection: bytes out (in pieces), everything in until the server closes. Runs on a thread of
 * its own, because the server may live on this one's main loop. */
struct exchange {
    unsigned port;
    const char *out;
    size_t out_len;
    size_t piece; /* bytes per send; 0 = all */
    int drip_ms;  /* waits for an answer between pieces */
    char in[RAW_REPLY_MAX];
    size_t in_len;
    bool closed; /* the server ended it within the limit */
    int64_t took_us;
    int done; /* atomic */
    pthread_t thread;
};

static inline void *exchange_thread(void *user)
{
    struct exchange *x = user;
    int64_t before = clock_system()->mono_us(clock_system());
    int fd = connect_to(x->port);
    size_t piece = x->piece != 0 ? x->piece : x->out_len;
    for (size_t at = 0; at < x->out_len; at += piece) {
        struct pollfd answer = {.fd = fd, .events = POLLIN};
        if (x->drip_ms > 0 && poll(&answer, 1, x->drip_ms) > 0)
            break;
        if (send(fd, x->out + at, MIN(piece, x->out_len - at), MSG_NOSIGNAL) < 0)
            break;
    }
    ssize_t n;
    while ((n = recv(fd, x->in + x->in_len, sizeof x->in - 1 - x->in_len, 0)) > 0)
        x->in_len += (size_t)n;
    x->closed = n == 0 || (n < 0 && errno == ECONNRESET);
    close(fd);
    x->took_us = clock_system()->mono_us(clock_system()) - before;
    __atomic_store_n(&x->done, 1, __ATOMIC_RELEASE);
    g_main_context_wakeup(NULL);
    return NULL;
}

static inline void exchange_start(struct exchange *x)
{
    if (pthread_create(&x->thread, NULL, exchange_thread, x) != 0)
        g_error("no thread for the test");
}

static inline void exchange_finish(struct exchange *x)
{
    while (!__atomic_load_n(&x->done, __ATOMIC_ACQUIRE))
        g_main_context_iteration(NULL, TRUE);
    pthread_join(x->thread, NULL);
    x->in[x->in_len] = '\0';
}

static inline void exchange_run(struct exchange *x)
{
    exchange_start(x);
    exchange_finish(x);
}

/* Sends it all at once and waits for the end. Owned: g_free. */
static inline struct exchange *exchange(struct http_server *server, const char *out, size_t len)
{
    struct exchange *x = g_new0(struct exchange, 1);
    x->port = http_server_port(server);
    x->out = out;
    x->out_len = len;
    exchange_run(x);
    return x;
}

/* Status of the first answer, 0 when there is none. */
static inline unsigned status_of(const char *reply)
{
    return g_str_has_prefix(reply, "HTTP/1.1 ") ? (unsigned)strtoul(reply + 9, NULL, 10) : 0;
}

static inline unsigned count_in(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        n++;
    return n;
}

#endif
