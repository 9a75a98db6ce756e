/* "127.0.0.1:8080", "[::1]:0", "localhost:80" → a listening TCP socket. */
#ifndef LOA_BASE_HTTP_LISTEN_H
#define LOA_BASE_HTTP_LISTEN_H

#include <glib.h>

/* Non-blocking, close-on-exec; port 0 = any free one. -1: INVALID (text or address), CONFLICT (in
 * use), DENIED (privileged port). Owned descriptor. */
int http_listen(const char *listen_on, unsigned *out_port, GError **error);

#endif
