/* libcurl's multi interface on a GMainContext: libcurl says which sockets and which timer to watch,
 * sources tell it what happened. Finished calls wait in a queue that its own source empties, so a
 * callback never runs inside libcurl and may do anything, also free the client. */
#include "base/http_client.h"

#include <curl/curl.h>
#include <glib-unix.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"

#define BODY_MAX          (64 * 1024)
#define CONNECT_MAX_MS    10000 /* a dead address must not eat the whole time of a call */
#define CONNECTIONS_KEPT  4
#define RETRY_AFTER_MAX_S 3600

struct call {
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    char *host; /* for messages */
    char error_text[CURL_ERROR_SIZE];
    GString *body;
    bool too_large;
    long status;
    int64_t retry_after_s;
    GError *error;
    http_client_cb cb;
    void *user;
};

struct http_client {
    unsigned refs; /* one of the owner, one while callbacks are delivered */
    bool closed;
    CURLM *multi;
    char *ca_file;
    GMainContext *context;
    GSource *timer;
    GSource *delivery;
    GHashTable *running; /* struct call, set */
    GQueue finished;     /* struct call */
};

static void deliver_soon(struct http_client *client);

static void call_free(void *data)
{
    struct call *call = data;
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    explicit_bzero(call->body->str, call->body->len); /* it may be a token */
    g_string_free(call->body, TRUE);
    g_clear_error(&call->error);
    g_free(call->host);
    g_free(call);
}

/* Scheme and host for messages: a path may hold what no log should. Owned. */
static char *host_of(const char *url)
{
    const char *scheme = strstr(url, "://");
    const char *start = scheme != NULL ? scheme + 3 : url;
    g_autofree char *authority = g_strndup(start, strcspn(start, "/?#"));
    const char *at = strrchr(authority, '@');
    return g_strdup(at != NULL ? at + 1 : authority);
}

/* True once a byte of the request has left: the server may have acted on it. */
static bool was_sent(CURL *easy)
{
    long bytes = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

static GError *error_of(const struct call *call, CURLcode code)
{
    const char *text = *call->error_text != '\0' ? call->error_text : curl_easy_strerror(code);
    int answer = was_sent(call->easy) ? LOA_ERROR_UNCERTAIN : LOA_ERROR_RETRY;
    switch (code) {
    case CURLE_OK:
        return NULL;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return g_error_new(LOA_ERROR, LOA_ERROR_DENIED,
                           "TLS certificate of %s refused: %s (the request was not sent)",
                           call->host, text);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return g_error_new(LOA_ERROR, LOA_ERROR_INVALID, "%s: %s (only https is called)",
                           call->host, text);
    default:
        if (call->too_large)
            text = "the answer is larger than 64 KiB";
        return g_error_new(LOA_ERROR, answer, "%s: %s%s", call->host, text,
                           answer == LOA_ERROR_UNCERTAIN ? " (the request may have arrived)" : "");
    }
}

static void finish(struct call *call, CURLcode code)
{
    struct http_client *client = call->client;
    curl_multi_remove_handle(client->multi, call->easy);
    g_hash_table_remove(client->running, call);
    call->error = error_of(call, code);
    if (call->error == NULL) {
        curl_off_t retry_after_s = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
        curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
        call->retry_after_s = CLAMP(retry_after_s, 0, RETRY_AFTER_MAX_S);
    }
    g_queue_push_tail(&client->finished, call);
    deliver_soon(client);
}

static void collect_finished(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct call *call = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result; /* message dies with remove_handle */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        finish(call, code);
    }
}

static void act(struct http_client *client, curl_socket_t fd, int what)
{
    int running;
    curl_multi_socket_action(client->multi, fd, what, &running);
    collect_finished(client);
}

static void client_unref(struct http_client *client)
{
    if (--client->refs > 0)
        return;
    g_main_context_unref(client->context);
    g_free(client->ca_file);
    g_free(client);
}

static gboolean on_delivery(gpointer user)
{
    struct http_client *client = user;
    client->refs++;
    while (!client->closed && !g_queue_is_empty(&client->finished)) {
        struct call *call = g_queue_pop_head(&client->finished);
        struct http_client_response response = {
            .status = call->status,
            .body = call->body->str,
            .body_len = call->body->len,
            .retry_after_s = call->retry_after_s,
            .error = call->error,
        };
        call->cb(&response, call->user);
        call_free(call);
    }
    if (!client->closed)
        g_clear_pointer(&client->delivery, g_source_unref);
    client_unref(client);
    return G_SOURCE_REMOVE;
}

static void deliver_soon(struct http_client *client)
{
    if (client->delivery != NULL)
        return;
    client->delivery = g_idle_source_new();
    g_source_set_priority(client->delivery, G_PRIORITY_DEFAULT);
    g_source_set_callback(client->delivery, on_delivery, client, NULL);
    g_source_attach(client->delivery, client->context);
}

static gboolean on_timer(gpointer user)
{
    struct http_client *client = user;
    g_clear_pointer(&client->timer, g_source_unref);
    act(client, CURL_SOCKET_TIMEOUT, 0);
    return G_SOURCE_REMOVE;
}

static int set_timer(CURLM *multi, long timeout_ms, void *user)
{
    struct http_client *client = user;
    (void)multi;
    if (client->timer != NULL)
        g_source_destroy(client->timer);
    g_clear_pointer(&client->timer, g_source_unref);
    if (timeout_ms >= 0) {
        client->timer = g_timeout_source_new((guint)MIN(timeout_ms, INT_MAX));
        g_source_set_callback(client->timer, on_timer, client, NULL);
        g_source_attach(client->timer, client->context);
    }
    return 0;
}

static gboolean on_socket(gint fd, GIOCondition condition, gpointer user)
{
    int what = ((condition & (G_IO_IN | G_IO_HUP)) != 0 ? CURL_CSELECT_IN : 0) |
               ((condition & G_IO_OUT) != 0 ? CURL_CSELECT_OUT : 0) |
               ((condition & G_IO_ERR) != 0 ? CURL_CSELECT_ERR : 0);
    act(user, fd, what);
    return G_SOURCE_CONTINUE; /* set_socket destroys it */
}

/* slot: the source that watches this socket so far. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *slot)
{
    struct http_client *client = user;
    (void)easy;
    if (slot != NULL) {
        g_source_destroy(slot);
        g_source_unref(slot);
    }
    curl_multi_assign(client->multi, fd, NULL);
    if (what == CURL_POLL_REMOVE)
        return 0;
    GIOCondition condition = G_IO_ERR | G_IO_HUP;
    if ((what & CURL_POLL_IN) != 0)
        condition |= G_IO_IN;
    if ((what & CURL_POLL_OUT) != 0)
        condition |= G_IO_OUT;
    GSource *source = g_unix_fd_source_new(fd, condition);
    g_source_set_callback(source, G_SOURCE_FUNC(on_socket), client, NULL);
    g_source_attach(source, client->context);
    curl_multi_assign(client->multi, fd, source);
    return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct call *call = user;
    size_t len = size * n;
    if (len > BODY_MAX - call->body->len) {
        call->too_large = true;
        return 0; /* ends the call */
    }
    g_string_append_len(call->body, data, (gssize)len);
    return len;
}

static void global_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        g_error("libcurl cannot start");
}

struct http_client *http_client_new(const char *ca_file)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct http_client *client = g_new0(struct http_client, 1);
    client->refs = 1;
    client->multi = curl_multi_init();
    if (client->multi == NULL)
        g_error("libcurl cannot start");
    client->ca_file = g_strdup(ca_file);
    client->context = g_main_context_ref_thread_default();
    client->running = g_hash_table_new(NULL, NULL);
    g_queue_init(&client->finished);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    return client;
}

void http_client_free(struct http_client *client)
{
    GHashTableIter iter;
    gpointer call;
    if (client == NULL)
        return;
    client->closed = true;
    g_hash_table_iter_init(&iter, client->running);
    while (g_hash_table_iter_next(&iter, &call, NULL)) {
        curl_multi_remove_handle(client->multi, ((struct call *)call)->easy);
        call_free(call);
    }
    g_hash_table_unref(client->running);
    while ((call = g_queue_pop_head(&client->finished)) != NULL)
        call_free(call);
    curl_multi_cleanup(client->multi); /* takes its sockets and timer back first */
    if (client->timer != NULL)
        g_source_destroy(client->timer);
    g_clear_pointer(&client->timer, g_source_unref);
    if (client->delivery != NULL)
        g_source_destroy(client->delivery);
    g_clear_pointer(&client->delivery, g_source_unref);
    client_unref(client);
}

/* Safety first: none of these has a setting. */
static bool set_safety(CURL *easy, const struct http_client *client)
{
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK && /* not by environment */
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           (client->ca_file == NULL || *client->ca_file == '\0' ||
            (curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK));
}

static bool set_headers(struct call *call, const char *const *headers)
{
    call->headers = curl_slist_append(NULL, "Expect:"); /* no waiting for 100 Continue */
    for (; headers != NULL && *headers != NULL; headers++) {
        if (strpbrk(*headers, "\r\n") != NULL)
            return false;
        call->headers = curl_slist_append(call->headers, *headers);
    }
    return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

static bool set_request(struct call *call, const char *method, const char *url, const void *body,
                        size_t body_len, unsigned timeout_ms)
{
    CURL *easy = call->easy;
    bool ok = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                               (long)MIN(timeout_ms, CONNECT_MAX_MS)) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_USERAGENT, "loa/" LOA_VERSION) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error_text) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK;
    if (strcmp(method, "HEAD") == 0)
        return ok && curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    if (strcmp(method, "GET") != 0)
        ok =
            ok &&
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_len) == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body_len > 0 ? body : "") == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
    return ok;
}

void http_client_send(struct http_client *client, const char *method, const char *url,
                      const char *const *headers, const void *body, size_t body_len,
                      unsigned timeout_ms, http_client_cb cb, void *user)
{
    struct call *call = g_new0(struct call, 1);
    call->client = client;
    call->cb = cb;
    call->user = user;
    call->host = host_of(url);
    call->body = g_string_new(NULL);
    call->easy = curl_easy_init();
    if (call->easy != NULL && set_safety(call->easy, client) && set_headers(call, headers) &&
        set_request(call, method, url, body, body_len, timeout_ms) &&
        curl_multi_add_handle(client->multi, call->easy) == CURLM_OK) {
        g_hash_table_add(client->running, call);
        return;
    }
    call->error =
        g_error_new(LOA_ERROR, LOA_ERROR_INVALID, "%s: the request cannot be made", call->host);
    g_queue_push_tail(&client->finished, call);
    deliver_soon(client);
}
