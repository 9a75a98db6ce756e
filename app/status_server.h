/* /metrics, /healthz and /readyz of the roles that have no API of their own, on their main loop. */
#ifndef LOA_APP_STATUS_SERVER_H
#define LOA_APP_STATUS_SERVER_H

#include <stdbool.h>

#include <glib.h>

#include "base/http_server.h"

struct status_server;

/* listen "" = no server: returns NULL without an error. ready: asked for /readyz; on false
 * *out_reason (static) says why not. Owned. */
struct status_server *status_server_start(const char *listen,
                                          bool (*ready)(void *user, const char **out_reason),
                                          void *user, GError **error);
/* NULL is allowed. */
void status_server_stop(struct status_server *server);
LOA_AUTO_DEFINE(status_server, status_server_stop)

#endif
