/* libmicrohttpd's callbacks: request line → head → body → handler → answer. Nothing reaches a route
 * before http_guard.c has found that the head has one meaning only. Requests are answered when they
 * are complete; an answer before that ends the connection, so that bytes of a body can never be
 * taken for a request. A suspended request is out of the library's loop altogether: only resuming
 * brings it back, and the library aborts when it is stopped before. Stopping goes without
 * MHD_quiesce_daemon: with a thread pool that call of 0.9.75 races with the workers and aborts the
 * process. Instead new requests get 503 until those under way have ended. */
#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_internal.h"
#include "base/http_listen.h"
#include "base/log.h"
#include "base/metrics.h"

#define CONNECTION_MEMORY 26624         /* per connection: head, reading and header of the reply */
#define SWALLOW_MAX       (1024 * 1024) /* bytes read after a refusal, for the client to see it */
#define STOP_WAIT_S       5             /* for answers on their way when the server stops */
#define DRAIN_STEP_MS     20

static int64_t now_us(void)
{
    return clock_system()->mono_us(clock_system());
}

static void count_refused(enum http_verdict verdict)
{
    metric_add(METRIC_HTTP_REFUSED, http_verdict_text(verdict)->type, 1);
}

/* The request is in its handler's hands, or back. Together with `stopping`, in this order on both
 * sides, it makes sure that nothing is suspended behind http_server_stop's back. */
static void begin_handling(struct http_request *request)
{
    request->handling = true;
    __atomic_add_fetch(&request->server->handling, 1, __ATOMIC_SEQ_CST);
}

static void end_handling(struct http_request *request)
{
    if (request->handling)
        __atomic_sub_fetch(&request->server->handling, 1, __ATOMIC_SEQ_CST);
    request->handling = false;
}

/* Hands the collected reply to the library. */
static enum MHD_Result queue_reply(struct http_request *request)
{
    end_handling(request);
    struct MHD_Response *response = http_request_response(request);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    request->stage = HTTP_STAGE_ANSWERED;
    return result;
}

static enum MHD_Result answer_verdict(struct http_request *request, enum http_verdict verdict)
{
    count_refused(verdict);
    http_reply_verdict(request, verdict);
    return queue_reply(request);
}

static enum MHD_Result add_field(void *user, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    struct http_head *head = user;
    (void)kind;
    if (head->n_fields < HTTP_FIELDS_MAX)
        head->fields[head->n_fields] =
            (struct http_field){name, name_len, value != NULL ? value : "", value_len};
    head->n_fields++;
    return head->n_fields <= HTTP_FIELDS_MAX ? MHD_YES : MHD_NO;
}

static enum http_verdict check_head(struct http_request *request, const char *version,
                                    int64_t *out_length)
{
    struct http_head head = {
        .method = request->method,
        .uri = request->uri,
        .uri_len = request->uri_len,
        .uri_at = request->uri_at,
        .version = version,
    };
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, add_field, &head);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    head.size = info != NULL ? info->header_size : 0;
    return http_guard_check(&head, out_length);
}

static enum http_verdict find_route(struct http_request *request, int64_t length)
{
    const struct http_server_options *options = &request->server->options;
    request->target = http_target_parse(request->uri, request->uri_len);
    if (request->target == NULL)
        return HTTP_VERDICT_TARGET;
    request->route =
        http_route_find(options->routes, options->n_routes, request->method, request->target,
                        request->params, &request->n_params, &request->allow);
    if (request->route == NULL)
        return request->allow != NULL ? HTTP_VERDICT_BAD_METHOD : HTTP_VERDICT_NO_ROUTE;
    if (length > 0 && (uint64_t)length > request->route->body_max)
        return HTTP_VERDICT_BODY_LARGE;
    if (length < 0 && request->route->body_max == 0)
        return HTTP_VERDICT_BODY_LARGE;
    return HTTP_VERDICT_OK;
}

/* The head is there. An answer now ends the connection; without a body there is no need for that,
 * so the answer waits for the second call. */
static enum MHD_Result on_head(struct http_request *request, const char *version)
{
    int64_t length = 0;
    enum http_verdict guard = check_head(request, version, &length);
    request->close = guard != HTTP_VERDICT_OK || length != 0;
    request->verdict = guard != HTTP_VERDICT_OK ? guard : find_route(request, length);
    if (request->verdict != HTTP_VERDICT_OK && request->close)
        return answer_verdict(request, request->verdict);
    request->close = length < 0; /* after chunks nothing may follow: their end is easily disputed */
    request->stage = HTTP_STAGE_BODY;
    if (length != 0)
        request->body = g_string_new(NULL);
    return MHD_YES;
}

static enum MHD_Result on_body(struct http_request *request, const char *data, size_t *len)
{
    size_t n = *len;
    *len = 0;
    if (request->stage == HTTP_STAGE_REFUSED) {
        request->swallowed += n;
        return request->swallowed <= SWALLOW_MAX ? MHD_YES : MHD_NO;
    }
    assert(request->stage == HTTP_STAGE_BODY && request->body != NULL);
    if (n > request->route->body_max - request->body->len) {
        http_watch_refuse(request->watched, HTTP_VERDICT_BODY_LARGE);
        request->stage = HTTP_STAGE_REFUSED;
        return MHD_YES;
    }
    g_string_append_len(request->body, data, (gssize)n);
    return MHD_YES;
}

static enum MHD_Result answer_handled(struct http_request *request)
{
    assert(request->status != 0);
    g_autofree char *label =
        g_strdup_printf("%s/%uxx", request->route->name, request->status / 100);
    metric_add(METRIC_HTTP_REQUESTS, label, 1);
    return queue_reply(request);
}

static enum MHD_Result on_complete(struct http_request *request)
{
    struct http_server *server = request->server;
    if (request->stage != HTTP_STAGE_BODY || !http_watch_received(request->watched))
        return MHD_NO; /* answered on the socket */
    begin_handling(request);
    if (__atomic_load_n(&server->stopping, __ATOMIC_SEQ_CST)) {
        request->close = true;
        return answer_verdict(request, HTTP_VERDICT_STOPPING);
    }
    if (request->verdict != HTTP_VERDICT_OK)
        return answer_verdict(request, request->verdict);
    request->route->handler(request, server->options.user);
    return request->stage == HTTP_STAGE_SUSPENDED ? MHD_YES : answer_handled(request);
}

static void forget_suspension(struct http_request *request)
{
    if (request->then_free != NULL)
        request->then_free(request->then_data);
    request->then = NULL;
    request->then_free = NULL;
}

static enum MHD_Result on_resumed(struct http_request *request)
{
    request->stage = HTTP_STAGE_BODY;
    request->then(request, request->then_data);
    assert(request->stage == HTTP_STAGE_BODY);
    forget_suspension(request);
    return answer_handled(request);
}

static enum MHD_Result on_access(void *user, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **slot)
{
    struct http_request *request = *slot;
    (void)user, (void)connection, (void)url;
    if (request->stage == HTTP_STAGE_HEAD) {
        request->method = method;
        return on_head(request, version);
    }
    if (request->stage == HTTP_STAGE_SUSPENDED)
        return on_resumed(request);
    return *len > 0 ? on_body(request, data, len) : on_complete(request);
}

static void *on_request_line(void *user, const char *uri, struct MHD_Connection *connection)
{
    struct http_request *request = http_request_new(user, connection, uri);
    request->watched =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    http_watch_begin(request->watched);
    return request;
}

static void on_end(void *user, struct MHD_Connection *connection, void **slot,
                   enum MHD_RequestTerminationCode code)
{
    struct http_request *request = *slot;
    (void)user, (void)connection, (void)code;
    if (request == NULL)
        return;
    forget_suspension(request); /* the client went away meanwhile */
    end_handling(request);
    http_watch_end(request->watched);
    http_request_free(request);
    *slot = NULL;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = user;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *slot = http_watch_add(server->watch, info->connect_fd);
    } else if (*slot != NULL) {
        http_watch_remove(*slot);
        *slot = NULL;
    }
}

/* The target is decoded by http_route.c, with limits. */
static size_t no_unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user, (void)connection;
    return strlen(text);
}

static void on_library_log(void *user, const char *format, va_list args) G_GNUC_PRINTF(2, 0);
static void on_library_log(void *user, const char *format, va_list args)
{
    char text[256];
    (void)user;
    g_vsnprintf(text, sizeof text, format, args);
    g_strchomp(text);
    log_event(LOG_LEVEL_DEBUG, "http_library_reported", LOG_STR("text", text));
}

/* threads == 0: the library's epoll descriptor and deadlines as a source of the main loop. */
struct loop_source {
    GSource source;
    struct http_server *server;
};

static gboolean loop_prepare(GSource *source, gint *timeout_ms)
{
    struct http_server *server = ((struct loop_source *)source)->server;
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    int64_t wait_ms = INT_MAX, due = http_watch_due(server->watch);
    if (MHD_get_timeout(server->daemon, &library_ms) == MHD_YES)
        wait_ms = (int64_t)MIN(library_ms, (MHD_UNSIGNED_LONG_LONG)INT_MAX);
    if (due != INT64_MAX)
        wait_ms = MIN(wait_ms, MAX(0, (due - now_us() + USEC_PER_MSEC - 1) / USEC_PER_MSEC));
    *timeout_ms = wait_ms == INT_MAX ? -1 : (gint)wait_ms;
    return wait_ms == 0;
}

static gboolean loop_dispatch(GSource *source, GSourceFunc callback, gpointer user)
{
    struct http_server *server = ((struct loop_source *)source)->server;
    (void)callback, (void)user;
    if (http_watch_due(server->watch) <= now_us())
        http_watch_scan(server->watch, now_us());
    MHD_run(server->daemon);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs loop_funcs = {.prepare = loop_prepare, .dispatch = loop_dispatch};

static void loop_attach(struct http_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    server->source = g_source_new(&loop_funcs, sizeof(struct loop_source));
    ((struct loop_source *)server->source)->server = server;
    g_source_add_unix_fd(server->source, info->epoll_fd, G_IO_IN);
    g_source_attach(server->source, NULL);
}

static struct MHD_Daemon *daemon_start(struct http_server *server, int fd)
{
    const struct http_server_options *options = &server->options;
    unsigned flags = MHD_USE_ERROR_LOG | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    if (options->threads > 0)
        flags |= MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC;
    /* A pool of one is no pool for the library; each thread gets its share of the connections. */
    unsigned pool = options->threads > 1 ? options->threads : 0;
    struct MHD_OptionItem more[] = {
        {pool > 0 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, pool, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        MAX(options->connections_max, MAX(options->threads, 1)), MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        options->connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, server, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        server, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
}

static char **normalised_proxies(const char *const *proxies, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    for (; proxies != NULL && *proxies != NULL; proxies++) {
        char address[INET6_ADDRSTRLEN];
        if (!http_address_normalise(*proxies, address)) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "trusted proxy '%s' is no address",
                        *proxies);
            return NULL;
        }
        g_ptr_array_add(list, g_strdup(address));
    }
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
}

struct http_server *http_server_start(const struct http_server_options *options, GError **error)
{
    int fd = -1;
    loa_auto(http_server) server = g_new0(struct http_server, 1);
    server->options = *options;
    server->watch = http_watch_new(options->idle_timeout_s, options->request_timeout_s);
    if (pthread_key_create(&server->thread_key, NULL) != 0)
        g_error("no thread key for the HTTP server");
    server->trusted_proxies = normalised_proxies(options->trusted_proxies, error);
    if (server->trusted_proxies == NULL)
        return NULL;
    server->options.trusted_proxies = NULL; /* borrowed only during this call, like listen */
    server->options.listen = NULL;
    fd = http_listen(options->listen, &server->port, error);
    if (fd < 0)
        return NULL;
    server->daemon = daemon_start(server, fd);
    if (server->daemon == NULL) {
        close(fd);
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INTERNAL, "libmicrohttpd cannot start");
        return NULL;
    }
    if (options->threads == 0)
        loop_attach(server);
    else if (!http_watch_thread_start(server->watch, error))
        return NULL;
    return g_steal_pointer(&server);
}

/* Until every request has its answer on the wire, or none is being handled and STOP_WAIT_S are
 * over.
 */
static void drain(struct http_server *server)
{
    int64_t until = now_us() + STOP_WAIT_S * USEC_PER_SEC;
    __atomic_store_n(&server->stopping, true, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&server->handling, __ATOMIC_SEQ_CST) > 0 ||
           (http_watch_active(server->watch) > 0 && now_us() < until)) {
        if (server->options.threads == 0)
            MHD_run_wait(server->daemon, DRAIN_STEP_MS);
        else
            http_watch_wait_idle(server->watch, now_us() + DRAIN_STEP_MS * USEC_PER_MSEC);
    }
}

void http_server_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->source != NULL) {
        g_source_destroy(server->source);
        g_source_unref(server->source);
    }
    if (server->daemon != NULL) {
        drain(server);
        MHD_stop_daemon(server->daemon);
    }
    http_watch_free(server->watch);
    pthread_key_delete(server->thread_key);
    g_strfreev(server->trusted_proxies);
    g_free(server);
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}
