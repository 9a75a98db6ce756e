/* See the header. A TLS record is written whole or not at all as far as the caller can tell: what
 * h2_link_write has not counted cannot be decrypted by the peer. */
#include "h2/link.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/error.h"
#include "base/tls.h"

#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_EVERY_S 15
#define KEEPALIVE_PROBES  3
#define USER_TIMEOUT_MS   20000 /* bytes that nobody acknowledges */
#define READ_BUFFER       65536 /* several records with one system call */

struct h2_link {
    SSL *ssl;
    int fd;
    char *host;
    bool connected; /* TCP */
    bool broken;    /* after an error TLS must not say goodbye */
    bool wants_write;
};

static void set_option(int fd, int level, int option, int value)
{
    /* A connection without one of these is slower or notices its death later, but works. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int socket_open(GSocketAddress *address, GError **error)
{
    struct sockaddr_storage native;
    gssize len = g_socket_address_get_native_size(address);
    int fd;

    if (!g_socket_address_to_native(address, &native, sizeof(native), error))
        return -1;
    fd = socket(native.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
        if (connect(fd, (struct sockaddr *)&native, (socklen_t)len) == 0 || errno == EINPROGRESS)
            return fd;
    }
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "cannot connect: %s", g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct h2_link *h2_link_open(struct ssl_ctx_st *tls, const char *host, GSocketAddress *address,
                             GError **error)
{
    int fd = socket_open(address, error);
    struct h2_link *link;

    if (fd < 0)
        return NULL;
    link = g_new0(struct h2_link, 1);
    link->fd = fd;
    link->host = g_strdup(host);
    link->wants_write = true;
    link->ssl = SSL_new(tls);
    if (link->ssl == NULL || SSL_set_fd(link->ssl, fd) != 1)
        g_error("out of memory");
    SSL_set_read_ahead(link->ssl, 1);
    SSL_set_default_read_buffer_len(link->ssl, READ_BUFFER);
    if (tls_expect_host(link->ssl, host, error))
        return link;
    h2_link_close(link);
    return NULL;
}

void h2_link_close(struct h2_link *link)
{
    if (link == NULL)
        return;
    if (!link->broken && SSL_is_init_finished(link->ssl))
        (void)SSL_shutdown(link->ssl);
    ERR_clear_error();
    SSL_free(link->ssl);
    close(link->fd);
    g_free(link->host);
    g_free(link);
}

int h2_link_fd(const struct h2_link *link)
{
    return link->fd;
}

bool h2_link_wants_write(const struct h2_link *link)
{
    return link->wants_write;
}

static enum h2_io io_result(struct h2_link *link, int result, GError **error)
{
    int saved = errno;

    switch (SSL_get_error(link->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        link->wants_write = false;
        return H2_IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        link->wants_write = true;
        return H2_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return H2_IO_CLOSED;
    case SSL_ERROR_SYSCALL:
        link->broken = true;
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "%s: %s", link->host,
                    saved != 0 ? g_strerror(saved) : "connection lost");
        ERR_clear_error();
        return H2_IO_FAILED;
    default:
        link->broken = true;
        tls_error(link->ssl, link->host, error);
        return H2_IO_FAILED;
    }
}

static enum h2_io tcp_connected(struct h2_link *link, GError **error)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(int), peer_len = sizeof(peer);
    int code = 0;

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &code, &len) == 0 && code == 0) {
        if (getpeername(link->fd, (struct sockaddr *)&peer, &peer_len) == 0) {
            link->connected = true;
            return H2_IO_DONE;
        }
        if (errno == ENOTCONN) {
            link->wants_write = true;
            return H2_IO_AGAIN;
        }
        code = errno;
    }
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "cannot connect: %s", g_strerror(code));
    return H2_IO_FAILED;
}

enum h2_io h2_link_handshake(struct h2_link *link, GError **error)
{
    enum h2_io io = link->connected ? H2_IO_DONE : tcp_connected(link, error);
    int result;

    if (io != H2_IO_DONE)
        return io;
    ERR_clear_error();
    errno = 0;
    result = SSL_connect(link->ssl);
    if (result != 1)
        return io_result(link, result, error);
    if (tls_protocol_is(link->ssl, "h2"))
        return H2_IO_DONE;
    g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "%s does not speak HTTP/2", link->host);
    return H2_IO_FAILED;
}

enum h2_io h2_link_read(struct h2_link *link, uint8_t *data, size_t max, size_t *out_len,
                        GError **error)
{
    int result;

    ERR_clear_error(); /* SSL_get_error looks at what others have left */
    errno = 0;
    result = SSL_read(link->ssl, data, (int)MIN(max, INT_MAX));
    if (result <= 0)
        return io_result(link, result, error);
    *out_len = (size_t)result;
    return H2_IO_DONE;
}

enum h2_io h2_link_write(struct h2_link *link, const uint8_t *data, size_t len, size_t *out_len,
                         GError **error)
{
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_write(link->ssl, data, (int)MIN(len, INT_MAX));
    if (result <= 0)
        return io_result(link, result, error);
    *out_len = (size_t)result;
    return H2_IO_DONE;
}
