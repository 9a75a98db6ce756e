/* An HTTP/2 server for tests of h2/ and the channels on it: nghttp2 over TLS on the test's own main
 * loop, so that a script decides frame by frame what the client meets. Certificates are those of
 * tests/support/pki.sh. */
#ifndef LOA_TESTS_UNIT_H2_PEER_H
#define LOA_TESTS_UNIT_H2_PEER_H

#include <fcntl.h>
#include <string.h>

#include <glib-unix.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>

#include "tests/unit/tls_peer.h"

#define PEER_HEADERS_MAX 20

struct peer;

/* One connection of a client. */
struct peer_conn {
    struct peer *peer;
    SSL *ssl;
    int fd;
    guint watch;
    GIOCondition watched;
    bool accepted;      /* TLS */
    bool close_flushed; /* end when everything is written */
    nghttp2_session *h2;
    GByteArray *out;
    GPtrArray *live; /* requests whose stream is open */
    unsigned requests;
};

/* One request as it came. */
struct peer_request {
    struct peer_conn *conn;
    int32_t stream_id;
    unsigned n_headers;
    struct {
        char *name, *value;
        bool never_indexed;
    } headers[PEER_HEADERS_MAX];
    GString *body;
    const char *answer; /* what of the answer's body is still to go */
};

struct peer {
    SSL_CTX *tls;
    int fd;
    guint watch;
    unsigned port;
    GPtrArray *conns;
    /* the script */
    unsigned max_streams; /* in the first SETTINGS; 0 = none named */
    bool silent_start;    /* never sends SETTINGS */
    bool deaf;            /* reads nothing after SETTINGS, answers no PING */
    void (*on_request)(struct peer_request *request, void *user);
    void *user;
    /* what happened */
    unsigned connections, requests;
    unsigned open, most_open; /* streams */
};

static inline const char *peer_header(const struct peer_request *request, const char *name)
{
    for (unsigned i = 0; i < request->n_headers; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

static inline void peer_request_free(void *data)
{
    struct peer_request *request = data;
    request->conn->peer->open--;
    for (unsigned i = 0; i < request->n_headers; i++) {
        g_free(request->headers[i].name);
        g_free(request->headers[i].value);
    }
    g_string_free(request->body, TRUE);
    g_free(request);
}

static inline void peer_conn_free(void *data)
{
    struct peer_conn *conn = data;
    if (conn->watch != 0)
        g_source_remove(conn->watch);
    g_ptr_array_unref(conn->live);
    nghttp2_session_del(conn->h2);
    SSL_free(conn->ssl);
    close(conn->fd);
    g_byte_array_unref(conn->out);
    g_free(conn);
}

static inline void peer_conn_end(struct peer_conn *conn)
{
    g_ptr_array_remove_fast(conn->peer->conns, conn);
}

/* ---- nghttp2 callbacks ---- */

static inline int peer_on_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct peer_conn *conn = user;
    struct peer_request *request;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    request = g_new0(struct peer_request, 1);
    request->conn = conn;
    request->stream_id = frame->hd.stream_id;
    request->body = g_string_new(NULL);
    g_ptr_array_add(conn->live, request);
    nghttp2_session_set_stream_user_data(h2, frame->hd.stream_id, request);
    conn->peer->open++;
    conn->peer->most_open = MAX(conn->peer->most_open, conn->peer->open);
    return 0;
}

static inline int peer_on_header(nghttp2_session *h2, const nghttp2_frame *frame,
                                 const uint8_t *name, size_t name_len, const uint8_t *value,
                                 size_t value_len, uint8_t flags, void *user)
{
    struct peer_request *request = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    (void)user;
    if (request == NULL || request->n_headers == PEER_HEADERS_MAX)
        return 0;
    request->headers[request->n_headers].name = g_strndup((const char *)name, name_len);
    request->headers[request->n_headers].value = g_strndup((const char *)value, value_len);
    request->headers[request->n_headers++].never_indexed = (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;
    return 0;
}

static inline int peer_on_data(nghttp2_session *h2, uint8_t flags, int32_t stream_id,
                               const uint8_t *data, size_t len, void *user)
{
    struct peer_request *request = nghttp2_session_get_stream_user_data(h2, stream_id);
    (void)flags, (void)user;
    if (request != NULL)
        g_string_append_len(request->body, (const char *)data, (gssize)len);
    return 0;
}

static inline int peer_on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct peer_conn *conn = user;
    struct peer_request *request;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
        (request = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id)) == NULL)
        return 0;
    conn->requests++;
    conn->peer->requests++;
    conn->peer->on_request(request, conn->peer->user);
    return 0;
}

static inline int peer_on_close(nghttp2_session *h2, int32_t stream_id, uint32_t code, void *user)
{
    struct peer_conn *conn = user;
    struct peer_request *request = nghttp2_session_get_stream_user_data(h2, stream_id);
    (void)code;
    if (request != NULL)
        g_ptr_array_remove(conn->live, request);
    return 0;
}

static inline ssize_t peer_read_answer(nghttp2_session *h2, int32_t stream_id, uint8_t *buf,
                                       size_t length, uint32_t *flags, nghttp2_data_source *source,
                                       void *user)
{
    struct peer_request *request = source->ptr;
    size_t n = MIN(length, strlen(request->answer));
    (void)h2, (void)stream_id, (void)user;
    memcpy(buf, request->answer, n);
    request->answer += n;
    if (*request->answer == '\0')
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* ---- what a script does ---- */

/* headers: "name", "value", … NULL. body lives until the answer is sent. */
static inline void peer_answer(struct peer_request *request, const char *status, const char *body,
                               const char *const *headers)
{
    nghttp2_nv nv[8] = {
        {(uint8_t *)":status", (uint8_t *)status, 7, strlen(status), NGHTTP2_NV_FLAG_NONE}};
    nghttp2_data_provider provider = {.source.ptr = request, .read_callback = peer_read_answer};
    size_t n = 1;
    for (; headers != NULL && headers[0] != NULL && n < G_N_ELEMENTS(nv); headers += 2)
        nv[n++] = (nghttp2_nv){(uint8_t *)headers[0], (uint8_t *)headers[1], strlen(headers[0]),
                               strlen(headers[1]), NGHTTP2_NV_FLAG_NONE};
    request->answer = body;
    nghttp2_submit_response(request->conn->h2, request->stream_id, nv, n,
                            *body != '\0' ? &provider : NULL);
}

static inline void peer_reset(struct peer_request *request, uint32_t code)
{
    nghttp2_submit_rst_stream(request->conn->h2, NGHTTP2_FLAG_NONE, request->stream_id, code);
}

static inline void peer_goaway(struct peer_conn *conn, int32_t last_id, uint32_t code,
                               const char *text)
{
    nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE, last_id, code, (const uint8_t *)text,
                          strlen(text));
}

static inline void peer_settings(struct peer_conn *conn, unsigned max_streams)
{
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams};
    nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, &entry, 1);
}

/* ---- input and output ---- */

static inline gboolean peer_io(gint fd, GIOCondition condition, gpointer data);

static inline void peer_watch(struct peer_conn *conn, GIOCondition wanted)
{
    if (conn->watch != 0 && conn->watched == wanted)
        return;
    if (conn->watch != 0)
        g_source_remove(conn->watch);
    conn->watched = wanted;
    conn->watch = g_unix_fd_add(conn->fd, wanted, peer_io, conn);
}

static inline void peer_gather(struct peer_conn *conn)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(conn->h2, &data)) > 0)
        g_byte_array_append(conn->out, data, (guint)n);
}

/* false: the connection is over. */
static inline bool peer_flush(struct peer_conn *conn)
{
    while (conn->out->len > 0) {
        int n = SSL_write(conn->ssl, conn->out->data, (int)MIN(conn->out->len, 16384u));
        if (n <= 0)
            return SSL_get_error(conn->ssl, n) == SSL_ERROR_WANT_WRITE;
        g_byte_array_remove_range(conn->out, 0, (guint)n);
    }
    return !conn->close_flushed;
}

static inline bool peer_accept_tls(struct peer_conn *conn)
{
    int result = SSL_accept(conn->ssl);
    if (result != 1) {
        int code = SSL_get_error(conn->ssl, result);
        ERR_clear_error();
        return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE;
    }
    conn->accepted = true;
    if (!conn->peer->silent_start)
        nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE,
                                &(nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                          conn->peer->max_streams},
                                conn->peer->max_streams > 0);
    return true;
}

static inline bool peer_receive(struct peer_conn *conn)
{
    uint8_t data[16384];
    int n;
    while ((n = SSL_read(conn->ssl, data, sizeof data)) > 0)
        if (nghttp2_session_mem_recv(conn->h2, data, (size_t)n) < 0)
            return false;
    n = SSL_get_error(conn->ssl, n);
    ERR_clear_error();
    return n == SSL_ERROR_WANT_READ;
}

static inline gboolean peer_io(gint fd, GIOCondition condition, gpointer data)
{
    struct peer_conn *conn = data;
    bool alive = conn->accepted || peer_accept_tls(conn);
    (void)fd, (void)condition;
    if (alive && conn->accepted && !conn->peer->deaf)
        alive = peer_receive(conn);
    if (conn->accepted && !conn->peer->silent_start) {
        peer_gather(conn);
        alive = peer_flush(conn) && alive;
    }
    if (!alive)
        peer_conn_end(conn);
    else if (conn->peer->deaf && conn->accepted)
        g_clear_handle_id(&conn->watch, g_source_remove);
    else
        peer_watch(conn, conn->out->len > 0 ? G_IO_IN | G_IO_OUT : G_IO_IN);
    return G_SOURCE_CONTINUE; /* no matter for a source that was removed meanwhile */
}

/* Sends what a script has submitted outside of on_request. */
static inline void peer_push(struct peer_conn *conn)
{
    peer_gather(conn);
    if (!peer_flush(conn))
        peer_conn_end(conn);
}

static inline gboolean peer_accept(gint fd, GIOCondition condition, gpointer data)
{
    struct peer *peer = data;
    nghttp2_session_callbacks *cbs;
    struct peer_conn *conn;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    (void)condition;
    if (client < 0)
        return G_SOURCE_CONTINUE;
    peer->connections++;
    conn = g_new0(struct peer_conn, 1);
    conn->peer = peer;
    conn->fd = client;
    conn->out = g_byte_array_new();
    conn->live = g_ptr_array_new_with_free_func(peer_request_free);
    conn->ssl = SSL_new(peer->tls);
    SSL_set_fd(conn->ssl, client);
    nghttp2_session_callbacks_new(&cbs);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, peer_on_begin);
    nghttp2_session_callbacks_set_on_header_callback(cbs, peer_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, peer_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, peer_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, peer_on_close);
    nghttp2_session_server_new(&conn->h2, cbs, conn);
    nghttp2_session_callbacks_del(cbs);
    g_ptr_array_add(peer->conns, conn);
    peer_watch(conn, G_IO_IN);
    return G_SOURCE_CONTINUE;
}

/* Listens on an address of this machine with DIR/NAME.pem. port: 0 = any. */
static inline struct peer *peer_new_at(const char *host, unsigned port, const char *dir,
                                       const char *name)
{
    struct peer *peer = g_new0(struct peer, 1);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    g_autofree char *pem = g_strdup_printf("%s/%s.pem", dir, name);
    g_autofree char *key = g_strdup_printf("%s/%s.key", dir, name);
    inet_pton(AF_INET, host, &address.sin_addr);
    address.sin_port = htons((uint16_t)port);
    peer->conns = g_ptr_array_new_with_free_func(peer_conn_free);
    peer->tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(peer->tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(peer->tls, tls_peer_choose_h2, NULL);
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (SSL_CTX_use_certificate_file(peer->tls, pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(peer->tls, key, SSL_FILETYPE_PEM) != 1 ||
        bind(peer->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(peer->fd, 16) != 0 || getsockname(peer->fd, (struct sockaddr *)&address, &len) != 0)
        g_error("no HTTP/2 server for the test");
    peer->port = ntohs(address.sin_port);
    peer->watch = g_unix_fd_add(peer->fd, G_IO_IN, peer_accept, peer);
    return peer;
}

static inline struct peer *peer_new(const char *host, const char *dir, const char *name)
{
    return peer_new_at(host, 0, dir, name);
}

static inline void peer_free(struct peer *peer)
{
    g_source_remove(peer->watch);
    close(peer->fd);
    g_ptr_array_unref(peer->conns);
    SSL_CTX_free(peer->tls);
    g_free(peer);
}

/* Turns the main loop until *flag (or a condition of the caller's) holds; fails after limit_s. */
#define PEER_WAIT_UNTIL(condition)                                                                 \
    do {                                                                                           \
        gint64 peer_limit = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;                          \
        guint peer_tick = g_timeout_add(20, peer_keep_turning, NULL);                              \
        while (!(condition) && g_get_monotonic_time() < peer_limit)                                \
            g_main_context_iteration(NULL, TRUE);                                                  \
        g_source_remove(peer_tick);                                                                \
        assert_true(condition);                                                                    \
    } while (0)

static inline gboolean peer_keep_turning(gpointer data)
{
    (void)data;
    return G_SOURCE_CONTINUE;
}

#endif
