/* What a handler sees of a request and says in reply. A reply is only collected here; http_server.c
 * hands it to the library when the handler has returned. */
#include <arpa/inet.h>
#include <assert.h>
#include <microhttpd.h>
#include <string.h>

#include "base/http_internal.h"
#include "base/http_problem.h"
#include "base/log.h"

struct http_request *http_request_new(struct http_server *server, struct MHD_Connection *connection,
                                      const char *uri)
{
    struct http_request *request = g_new0(struct http_request, 1);
    request->server = server;
    request->connection = connection;
    request->stage = HTTP_STAGE_HEAD;
    request->uri_at = uri;
    request->uri = g_strdup(uri != NULL ? uri : "");
    request->uri_len = strlen(request->uri);
    return request;
}

static void reply_field_clear(void *data)
{
    struct http_reply_field *field = data;
    g_free(field->name);
    g_free(field->value);
}

void http_request_free(struct http_request *request)
{
    if (request == NULL)
        return;
    g_free(request->uri);
    g_free(request->allow);
    http_target_free(request->target);
    if (request->body != NULL) {
        explicit_bzero(request->body->str, request->body->len); /* tokens, personal data */
        g_string_free(request->body, TRUE);
    }
    g_free(request->reply_type);
    g_free(request->reply);
    if (request->reply_fields != NULL)
        g_array_unref(request->reply_fields);
    g_free(request);
}

const char *http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->target->path;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    return http_target_query(request->target, name);
}

const char *http_request_segment(const struct http_request *request, unsigned n)
{
    return n < request->n_params ? request->params[n] : NULL;
}

const char *http_request_body(const struct http_request *request, size_t *out_len)
{
    *out_len = request->body != NULL ? request->body->len : 0;
    return request->body != NULL ? request->body->str : "";
}

bool http_address_normalise(const char *text, char out[INET6_ADDRSTRLEN])
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return inet_ntop(AF_INET, &v4, out, INET6_ADDRSTRLEN) != NULL;
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&v6))
        return inet_ntop(AF_INET, &v6.s6_addr[12], out, INET6_ADDRSTRLEN) != NULL;
    return inet_ntop(AF_INET6, &v6, out, INET6_ADDRSTRLEN) != NULL;
}

static void peer_address(const struct http_request *request, char out[INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN] = "";
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != NULL && info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)info->client_addr;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    } else if (info != NULL && info->client_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 =
            (const struct sockaddr_in6 *)(const void *)info->client_addr;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    }
    if (!http_address_normalise(text, out))
        g_strlcpy(out, "unknown", INET6_ADDRSTRLEN);
}

/* Keeps the last X-Forwarded-For line: the one the nearest proxy wrote. */
static enum MHD_Result keep_forwarded(void *user, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    (void)kind;
    if (g_ascii_strcasecmp(name, "X-Forwarded-For") == 0)
        *(const char **)user = value;
    return MHD_YES;
}

const char *http_request_address(const struct http_request *request)
{
    char *address = ((struct http_request *)request)->address; /* worked out once, on first use */
    if (*address != '\0')
        return address;
    peer_address(request, address);
    if (!g_strv_contains((const char *const *)request->server->trusted_proxies, address))
        return address;
    const char *forwarded = NULL;
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, keep_forwarded, &forwarded);
    if (forwarded != NULL) {
        const char *comma = strrchr(forwarded, ',');
        g_autofree char *last = g_strstrip(g_strdup(comma != NULL ? comma + 1 : forwarded));
        http_address_normalise(last, address); /* rubbish: the proxy's own address stays */
    }
    return address;
}

unsigned http_request_thread(const struct http_request *request)
{
    struct http_server *server = request->server;
    if (server->options.threads == 0)
        return 0;
    uintptr_t index = (uintptr_t)pthread_getspecific(server->thread_key);
    if (index == 0) { /* first request of this thread; 0 means unset, so numbers start at 1 */
        index = __atomic_add_fetch(&server->next_thread, 1, __ATOMIC_RELAXED);
        assert(index <= server->options.threads);
        pthread_setspecific(server->thread_key, (void *)index);
    }
    return (unsigned)index - 1;
}

void http_request_suspend(struct http_request *request, http_handler then, void *data,
                          GDestroyNotify free_data)
{
    assert(request->status == 0 && request->then == NULL && request->handling);
    request->then = then;
    request->then_data = data;
    request->then_free = free_data;
    request->stage = HTTP_STAGE_SUSPENDED;
    MHD_suspend_connection(request->connection);
}

void http_request_resume(struct http_request *request)
{
    struct http_server *server = request->server;

    /* The request may be over, and the server about to stop, before the library's call returns. */
    __atomic_add_fetch(&server->handling, 1, __ATOMIC_SEQ_CST);
    MHD_resume_connection(request->connection);
    __atomic_sub_fetch(&server->handling, 1, __ATOMIC_SEQ_CST);
}

void http_reply(struct http_request *request, unsigned status, const char *content_type,
                const void *body, size_t len)
{
    assert(request->status == 0 && status >= 200 && status < 600);
    request->status = status;
    request->reply_type = g_strdup(content_type);
    request->reply = len > 0 ? g_memdup2(body, len) : NULL;
    request->reply_len = len;
}

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
    assert(strpbrk(name, "\r\n:") == NULL && strpbrk(value, "\r\n") == NULL);
    if (request->reply_fields == NULL) {
        request->reply_fields = g_array_new(FALSE, FALSE, sizeof(struct http_reply_field));
        g_array_set_clear_func(request->reply_fields, reply_field_clear);
    }
    struct http_reply_field field = {g_strdup(name), g_strdup(value)};
    g_array_append_val(request->reply_fields, field);
}

void http_reply_problem(struct http_request *request, unsigned status, const char *type,
                        const char *title, const char *detail,
                        const struct http_problem_field *fields, size_t n_fields)
{
    g_autofree char *json = http_problem_json(status, type, title, detail, fields, n_fields);
    http_reply(request, status, HTTP_PROBLEM_TYPE, json, strlen(json));
}

void http_reply_error(struct http_request *request, const GError *error)
{
    struct http_problem_error e = http_problem_from_error(error);
    if (e.status == 500)
        log_event(LOG_LEVEL_ERROR, "http_request_failed", LOG_STR("error", error->message),
                  LOG_STR("route", request->route != NULL ? request->route->name : NULL));
    if (e.status == 503)
        http_reply_header(request, "Retry-After", "5");
    http_reply_problem(request, e.status, e.type, e.title, e.detail, NULL, 0);
}

void http_reply_verdict(struct http_request *request, enum http_verdict verdict)
{
    const struct http_verdict_text *text = http_verdict_text(verdict);
    if (verdict == HTTP_VERDICT_BAD_METHOD)
        http_reply_header(request, "Allow", request->allow);
    if (verdict == HTTP_VERDICT_STOPPING)
        http_reply_header(request, "Retry-After", "5");
    http_reply_problem(request, text->status, text->type, text->title, text->detail, NULL, 0);
}

struct MHD_Response *http_request_response(struct http_request *request)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
        request->reply_len, request->reply, g_free);
    if (response == NULL)
        return NULL;
    request->reply = NULL;
    bool caching = false;
    for (guint i = 0; request->reply_fields != NULL && i < request->reply_fields->len; i++) {
        const struct http_reply_field *field =
            &g_array_index(request->reply_fields, struct http_reply_field, i);
        MHD_add_response_header(response, field->name, field->value);
        caching = caching || g_ascii_strcasecmp(field->name, "Cache-Control") == 0;
    }
    if (request->reply_type != NULL)
        MHD_add_response_header(response, "Content-Type", request->reply_type);
    if (!caching)
        MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (request->close)
        MHD_add_response_header(response, "Connection", "close");
    return response;
}
