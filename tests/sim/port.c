/* Accepts until the backlog is empty; a connection lives in its port's list until it has closed. */
#include "tests/sim/port.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#define BACKLOG 1024

/* data: whether HTTP/1.1 may be chosen. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *data)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";

    (void)ssl;
    if (SSL_select_next_proto((unsigned char **)out, out_len, both,
                              data != NULL ? sizeof(both) - 1 : 3, in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *port_tls_new(const char *dir, const char *name, bool with_http1, GError **error)
{
    g_autofree char *pem_name = g_strconcat(name, ".pem", NULL);
    g_autofree char *key_name = g_strconcat(name, ".key", NULL);
    g_autofree char *pem = g_build_filename(dir, pem_name, NULL);
    g_autofree char *key = g_build_filename(dir, key_name, NULL);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, 65536);
    SSL_CTX_set_alpn_select_cb(tls, select_alpn, with_http1 ? tls : NULL);
    if (SSL_CTX_use_certificate_chain_file(tls, pem) == 1 &&
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) == 1)
        return tls;
    ERR_clear_error();
    SSL_CTX_free(tls);
    g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND,
                "cannot use %s and %s (make them with: loa-sim pki %s)", pem, key, dir);
    return NULL;
}

bool port_parse_address(const char *address, char **out_host, char **out_port, GError **error)
{
    const char *colon = strrchr(address, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - address) : 0;

    if (host_len == 0 || colon[1] == '\0') {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "'%s': expected HOST:PORT", address);
        return false;
    }
    *out_port = g_strdup(colon + 1);
    if (address[0] == '[' && address[host_len - 1] == ']')
        *out_host = g_strndup(address + 1, host_len - 2);
    else
        *out_host = g_strndup(address, host_len);
    return true;
}

static void accept_ready(struct watch *watch, uint32_t events)
{
    struct port *port = (struct port *)watch;
    int fd;

    (void)events;
    while ((fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        conn_start(port, fd);
}

static int listen_on(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int yes = 1;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    close(fd);
    return -1;
}

static int open_socket(const char *address, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    g_autofree char *host = NULL, *service = NULL;
    int fd = -1, why;

    if (!port_parse_address(address, &host, &service, error))
        return -1;
    why = getaddrinfo(host, service, &hints, &list);
    if (why != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: %s", address, gai_strerror(why));
        return -1;
    }
    for (const struct addrinfo *info = list; info != NULL && fd < 0; info = info->ai_next)
        fd = listen_on(info);
    if (fd < 0)
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "cannot listen on %s: %s", address,
                    g_strerror(errno));
    freeaddrinfo(list);
    return fd;
}

struct port *port_new(struct loop *loop, struct service *service, enum sim_channel channel,
                      const char *address, SSL_CTX *tls, GError **error)
{
    struct port *port;
    int fd = open_socket(address, error);

    if (fd < 0) {
        SSL_CTX_free(tls);
        return NULL;
    }
    port = g_new0(struct port, 1);
    port->watch = (struct watch){.fd = fd, .ready = accept_ready};
    port->loop = loop;
    port->service = service;
    port->tls = tls;
    port->conns = g_ptr_array_new();
    port->channel = channel;
    loop_watch(loop, &port->watch, EPOLLIN);
    return port;
}

void port_free(struct port *port)
{
    loop_watch(port->loop, &port->watch, 0);
    close(port->watch.fd);
    while (port->conns->len > 0)
        conn_abort(g_ptr_array_index(port->conns, port->conns->len - 1));
    g_ptr_array_free(port->conns, TRUE);
    SSL_CTX_free(port->tls);
    g_free(port);
}

int port_number(const struct port *port)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    if (getsockname(port->watch.fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}
