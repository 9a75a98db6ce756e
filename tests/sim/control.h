/* The control socket of `loa-sim serve`: one JSON object per line in, one per line out. */
#ifndef LOA_SIM_CONTROL_H
#define LOA_SIM_CONTROL_H

#include <glib.h>

#include "base/auto.h"
#include "base/json.h"
#include "tests/sim/loop.h"
#include "tests/sim/service.h"

#define CONTROL_LINE_MAX    65536
#define CONTROL_CLIENTS_MAX 64

/* Executes one command line and returns the answer object, {"ok":false,"error":…} for a wrong one.
 * Owned. */
json_t *control_execute(struct service *service, const char *line, size_t len);

struct control;
/* Listens on a unix socket, replacing a file left behind at path. Owned. */
struct control *control_new(struct loop *loop, struct service *service, const char *path,
                            GError **error);
/* Closes and removes the socket. */
void control_free(struct control *control);
LOA_AUTO_DEFINE(control, control_free)

#endif
