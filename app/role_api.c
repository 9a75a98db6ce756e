/* loa api: the HTTP server with its threads; the main thread only tells every two seconds that this
 * process is alive, and waits for the signal to end. */
#include <sysexits.h>

#include "api/api.h"
#include "app/role.h"
#include "base/http_server.h"
#include "base/log.h"

static struct http_server *start_server(const struct settings *settings, struct api *api,
                                        GError **error)
{
    struct http_server_options options = {
        .listen = settings->api_listen,
        .threads = (unsigned)settings->api_threads,
        .connections_max = (unsigned)settings->api_connections_max,
        .connections_per_address = (unsigned)settings->api_connections_per_address,
        .idle_timeout_s = (unsigned)settings->api_idle_timeout_s,
        .request_timeout_s = (unsigned)settings->api_request_timeout_s,
        .trusted_proxies = (const char *const *)settings->api_trusted_proxies,
        .user = api,
    };

    options.routes = api_routes(&options.n_routes);
    return http_server_start(&options, error);
}

int role_api(struct command *command, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
    loa_auto(api) api = NULL; /* freed after the server has stopped */
    struct http_server *server;
    struct role role;
    int code = EX_OK;

    if (!command_parse("api", "Serves the HTTP API until SIGTERM.", entries, &argc, &argv, &code))
        return code;
    api = api_new(command->settings, command->clock, &error);
    if (api == NULL)
        return command_fail("api", error);
    if (!role_init(&role, command, "api", NULL, ""))
        return EX_UNAVAILABLE;
    server = start_server(command->settings, api, &error);
    if (server != NULL) {
        log_event(LOG_LEVEL_INFO, "api_listening", LOG_STR("listen", command->settings->api_listen),
                  LOG_INT("port", http_server_port(server)));
        role_run(&role);
        http_server_stop(server); /* requests that run are answered first */
    }
    role_clear(&role);
    return error != NULL ? command_fail("api", error) : EX_OK;
}
