/* Three routes, no thread: a loop that is stuck does not answer, which is what /healthz must show.
 */
#include "app/status_server.h"

#include <string.h>

#include "base/metrics.h"

struct status_server {
    struct http_server *http;
    bool (*ready)(void *user, const char **out_reason);
    void *user;
};

static void on_metrics(struct http_request *request, void *user)
{
    g_autofree char *text = metrics_text();
    (void)user;

    http_reply(request, 200, "text/plain; version=0.0.4", text, strlen(text));
}

static void on_health(struct http_request *request, void *user)
{
    (void)user;
    http_reply(request, 200, "text/plain", "ok\n", 3);
}

static void on_ready(struct http_request *request, void *user)
{
    struct status_server *server = user;
    const char *reason = "not ready";

    if (server->ready(server->user, &reason))
        http_reply(request, 200, "text/plain", "ready\n", 6);
    else
        http_reply_problem(request, 503, "not-ready", "Not ready", reason, NULL, 0);
}

struct status_server *status_server_start(const char *listen,
                                          bool (*ready)(void *user, const char **out_reason),
                                          void *user, GError **error)
{
    static const struct http_route routes[] = {
        {"GET", "/metrics", "metrics", 0, on_metrics},
        {"GET", "/healthz", "healthz", 0, on_health},
        {"GET", "/readyz", "readyz", 0, on_ready},
    };

    if (listen[0] == '\0')
        return NULL;
    struct status_server *server = g_new0(struct status_server, 1);
    const struct http_server_options options = {.listen = listen,
                                                .connections_max = 32,
                                                .connections_per_address = 32,
                                                .idle_timeout_s = 10,
                                                .request_timeout_s = 5,
                                                .routes = routes,
                                                .n_routes = G_N_ELEMENTS(routes),
                                                .user = server};
    server->ready = ready;
    server->user = user;
    server->http = http_server_start(&options, error);
    if (server->http == NULL) {
        g_free(server);
        return NULL;
    }
    return server;
}

void status_server_stop(struct status_server *server)
{
    if (server == NULL)
        return;
    http_server_stop(server->http);
    g_free(server);
}
