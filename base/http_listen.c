/* Our own socket instead of libmicrohttpd's: one place parses the address and knows the port. */
#include "base/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

/* Splits at the last colon; brackets of an IPv6 address are cut. Owned parts. */
static bool split(const char *text, char **out_host, char **out_port)
{
    const char *colon = strrchr(text, ':');
    guint64 port;
    if (colon == NULL || colon == text ||
        !g_ascii_string_to_unsigned(colon + 1, 10, 0, 65535, &port, NULL))
        return false;
    size_t len = (size_t)(colon - text);
    bool brackets = text[0] == '[' && text[len - 1] == ']';
    if (!brackets && memchr(text, ':', len) != NULL)
        return false; /* an IPv6 address without brackets: which colon is the port's? */
    *out_host = brackets ? g_strndup(text + 1, len - 2) : g_strndup(text, len);
    *out_port = g_strdup(colon + 1);
    return true;
}

static int bind_to(const struct addrinfo *info)
{
    int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (info->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static unsigned bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

int http_listen(const char *listen_on, unsigned *out_port, GError **error)
{
    g_autofree char *host = NULL, *port = NULL;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *info = NULL;
    if (!split(listen_on, &host, &port) || getaddrinfo(host, port, &hints, &info) != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "cannot listen on '%s': write ADDRESS:PORT, an IPv6 address in brackets",
                    listen_on);
        return -1;
    }
    int fd = bind_to(info);
    int saved = errno;
    freeaddrinfo(info);
    if (fd < 0) {
        int code = saved == EADDRINUSE                 ? LOA_ERROR_CONFLICT
                   : saved == EACCES || saved == EPERM ? LOA_ERROR_DENIED
                                                       : LOA_ERROR_INVALID;
        g_set_error(error, LOA_ERROR, code, "cannot listen on %s: %s", listen_on,
                    g_strerror(saved));
        return -1;
    }
    *out_port = bound_port(fd);
    return fd;
}
