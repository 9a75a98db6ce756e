/* Questions to the processes of `loa dev`: control sockets of the simulators, status pages. */
#ifndef LOA_APP_DEV_CONTROL_H
#define LOA_APP_DEV_CONTROL_H

#include <stdbool.h>

#include "base/json.h"

/* {"cmd":command} to a control socket; its answer. Blocks for at most 5 s. Owned. */
json_t *dev_control_call(const char *socket_path, const char *command, GError **error);
json_t *dev_control_stats(const char *socket_path, GError **error);
/* Something accepts connections on 127.0.0.1:port. */
bool dev_control_listens(int port);
/* GET http://127.0.0.1:port/readyz says 200; else *out_body (owned, may be NULL) says why not. */
bool dev_control_ready(int port, char **out_body);

#endif
