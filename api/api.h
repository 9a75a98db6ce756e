/* The HTTP API: routes and nothing else. docs/openapi.yaml is the contract. */
#ifndef LOA_API_API_H
#define LOA_API_API_H

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/http_server.h"
#include "base/settings.h"

struct api;

/* Loads the keys that the settings name; connects to nothing yet. settings and clock are borrowed
 * and must outlive it. INVALID, DENIED: a key or setting is wrong. Owned. */
struct api *api_new(const struct settings *settings, const struct clock *clock, GError **error);
/* After http_server_stop. */
void api_free(struct api *api);
LOA_AUTO_DEFINE(api, api_free)

/* The route table; static. Handlers take the struct api * as user. */
const struct http_route *api_routes(size_t *out_n);

#endif
