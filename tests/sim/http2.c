/* HTTP/2 through nghttp2. Streams live in a list of their connection and are reused last in, first
 * out, so that the working set stays in the cache. */
#include <stdio.h>

#include <nghttp2/nghttp2.h>

#include "tests/sim/conn.h"
#include "tests/sim/request_head.h"

#define CONN_WINDOW (16 * 1024 * 1024)
#define BODY_KEPT   16384 /* a larger body buffer is not kept for the next stream */

struct stream {
    struct http2 *http2;
    struct stream *next, *prev; /* of the connection's open or free list */
    struct timer timer;         /* a delayed answer */
    int32_t id;
    struct request request;
    struct request_head head;
    uint8_t *body;
    size_t body_len, body_size;
    size_t answer_sent;
    struct answer answer;
};

struct http2 {
    struct conn *conn;
    nghttp2_session *session;
    struct stream *open, *free;
    struct stream *current; /* of the last callback */
    const uint8_t *rest;    /* of a frame that did not fit into the last produce */
    size_t rest_len;
};

/* ---- streams ---- */

static void list_remove(struct stream **head, struct stream *stream)
{
    if (stream->prev != NULL)
        stream->prev->next = stream->next;
    else
        *head = stream->next;
    if (stream->next != NULL)
        stream->next->prev = stream->prev;
}

static void list_push(struct stream **head, struct stream *stream)
{
    stream->prev = NULL;
    stream->next = *head;
    if (*head != NULL)
        (*head)->prev = stream;
    *head = stream;
}

static void delayed_answer(struct timer *timer);

static struct stream *stream_open(struct http2 *http2, int32_t id)
{
    struct stream *stream = http2->free;

    if (stream != NULL) {
        list_remove(&http2->free, stream);
    } else {
        stream = g_new(struct stream, 1);
        stream->body = NULL;
        stream->body_size = 0;
    }
    stream->http2 = http2;
    stream->timer = (struct timer){.fire = delayed_answer};
    stream->id = id;
    memset(&stream->request, 0, sizeof(stream->request));
    stream->head.len = 0;
    stream->body_len = 0;
    stream->answer_sent = 0;
    stream->answer.long_body = NULL;
    list_push(&http2->open, stream);
    return stream;
}

static void stream_release(struct stream *stream)
{
    struct http2 *http2 = stream->http2;

    loop_timer_cancel(conn_port(http2->conn)->loop, &stream->timer);
    list_remove(&http2->open, stream);
    if (http2->current == stream)
        http2->current = NULL;
    g_clear_pointer(&stream->answer.long_body, g_free);
    if (stream->body_size > BODY_KEPT) {
        g_clear_pointer(&stream->body, g_free);
        stream->body_size = 0;
    }
    list_push(&http2->free, stream);
}

static struct stream *stream_find(struct http2 *http2, int32_t id)
{
    if (http2->current == NULL || http2->current->id != id)
        http2->current = nghttp2_session_get_stream_user_data(http2->session, id);
    return http2->current;
}

/* ---- answers ---- */

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct stream *stream = source->ptr;
    size_t left = stream->answer.body_len - stream->answer_sent;

    (void)session;
    (void)id;
    (void)user;
    if (left <= max)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    left = MIN(left, max);
    memcpy(out, answer_body(&stream->answer) + stream->answer_sent, left);
    stream->answer_sent += left;
    return (ssize_t)left;
}

#define NV_STATIC (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

static nghttp2_nv nv(const char *name, const char *value, uint8_t flags)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        (uint8_t)(NGHTTP2_NV_FLAG_NO_COPY_NAME | flags)};
}

static void submit_response(struct stream *stream)
{
    const struct answer *answer = &stream->answer;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_answer};
    nghttp2_nv headers[4];
    size_t count = 0;
    char status[8], retry[24];

    snprintf(status, sizeof(status), "%d", answer->status);
    headers[count++] =
        answer->status == 200 ? nv(":status", "200", NV_STATIC) : nv(":status", status, 0);
    if (answer->type != ANSWER_EMPTY)
        headers[count++] = nv("content-type",
                              answer->type == ANSWER_JSON ? "application/json; charset=UTF-8"
                                                          : "text/html; charset=UTF-8",
                              NV_STATIC);
    if (answer->apns_id[0] != '\0') /* new each time: not worth a place in the table */
        headers[count++] = nv("apns-id", answer->apns_id, NV_STATIC | NGHTTP2_NV_FLAG_NO_INDEX);
    if (answer->retry_after_s >= 0) {
        snprintf(retry, sizeof(retry), "%lld", (long long)answer->retry_after_s);
        headers[count++] = nv("retry-after", retry, 0);
    }
    nghttp2_submit_response(stream->http2->session, stream->id, headers, count,
                            answer->body_len > 0 ? &provider : NULL);
}

static void submit_answer(struct stream *stream)
{
    nghttp2_session *session = stream->http2->session;
    const struct answer *answer = &stream->answer;

    if (answer->close) {
        conn_abort(stream->http2->conn);
        return;
    }
    if (answer->max_streams > 0) {
        const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                              (uint32_t)answer->max_streams};
        nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &entry, 1);
    }
    if (answer->rst_code != 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, answer->rst_code);
    else if (!answer->no_answer)
        submit_response(stream);
    if (answer->goaway)
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                              (const uint8_t *)answer->goaway_reason,
                              strlen(answer->goaway_reason));
}

static void delayed_answer(struct timer *timer)
{
    struct stream *stream = (struct stream *)((char *)timer - offsetof(struct stream, timer));
    struct conn *conn = stream->http2->conn;

    submit_answer(stream);
    conn_kick(conn);
}

static void handle(struct stream *stream)
{
    struct conn *conn = stream->http2->conn;
    struct port *port = conn_port(conn);

    stream->request.body = (struct text){(const char *)stream->body, stream->body_len};
    service_handle(port->service, port->channel, conn_peer(conn), &stream->request,
                   &stream->answer);
    if (stream->answer.delay_us > 0)
        loop_timer_set(port->loop, &stream->timer, stream->answer.delay_us);
    else
        submit_answer(stream);
}

/* ---- what nghttp2 reports ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *http2 = user;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    http2->current = stream_open(http2, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, http2->current);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct stream *stream = stream_find(user, frame->hd.stream_id);

    (void)session;
    (void)flags;
    if (stream != NULL && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        request_head_add(&stream->head, &stream->request,
                         (struct text){(const char *)name, name_len},
                         (struct text){(const char *)value, value_len});
    return 0;
}

static size_t body_max(enum sim_channel channel)
{
    return channel == SIM_IID ? IID_BODY_MAX : REQUEST_BODY_MAX;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct stream *stream = stream_find(user, id);

    (void)session;
    (void)flags;
    if (stream == NULL || stream->request.body_too_big)
        return 0;
    if (len > body_max(conn_port(stream->http2->conn)->channel) - stream->body_len) {
        stream->request.body_too_big = true;
        return 0;
    }
    if (stream->body_len + len > stream->body_size) {
        stream->body_size = MAX(stream->body_len + len, 2048);
        stream->body = g_realloc(stream->body, stream->body_size);
    }
    memcpy(stream->body + stream->body_len, data, len);
    stream->body_len += len;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct stream *stream;

    (void)session;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    stream = stream_find(user, frame->hd.stream_id);
    if (stream != NULL)
        handle(stream);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user)
{
    struct port *port = conn_port(((struct http2 *)user)->conn);
    struct channel_stats *stats = &port->service->stats[port->channel];

    (void)session;
    (void)frame;
    if (error == NGHTTP2_ERR_REFUSED_STREAM)
        stats->refused_streams++;
    else
        stats->protocol_errors++;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)error;
    (void)user;
    if (stream != NULL)
        stream_release(stream);
    return 0;
}

/* ---- the protocol's face ---- */

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

/* APNs allows one stream until the first valid provider token was answered. */
static uint32_t first_stream_limit(enum sim_channel channel)
{
    return channel == SIM_APNS ? 1 : FCM_STREAMS;
}

static void *http2_open(struct conn *conn)
{
    struct http2 *http2 = g_new0(struct http2, 1);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, first_stream_limit(conn_port(conn)->channel)},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    nghttp2_session_callbacks_new(&callbacks);
    set_callbacks(callbacks);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, 1000000, 1000000);
    nghttp2_session_server_new2(&http2->session, callbacks, http2, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    http2->conn = conn;
    nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings));
    nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
    return http2;
}

static bool http2_receive(void *state, const uint8_t *data, size_t len)
{
    struct http2 *http2 = state;

    return nghttp2_session_mem_recv(http2->session, data, len) >= 0;
}

static bool http2_produce(void *state, uint8_t *out, size_t max, size_t *out_len)
{
    struct http2 *http2 = state;
    ssize_t len;

    *out_len = 0;
    for (;;) {
        size_t part = MIN(http2->rest_len, max - *out_len);
        if (part > 0) {
            memcpy(out + *out_len, http2->rest, part);
            *out_len += part;
            http2->rest += part;
            http2->rest_len -= part;
        }
        if (http2->rest_len > 0)
            return true;
        len = nghttp2_session_mem_send(http2->session, &http2->rest);
        if (len <= 0)
            return len == 0;
        http2->rest_len = (size_t)len;
    }
}

static bool http2_finished(void *state)
{
    const struct http2 *http2 = state;

    return http2->rest_len == 0 && nghttp2_session_want_read(http2->session) == 0 &&
           nghttp2_session_want_write(http2->session) == 0;
}

static void free_list(struct stream *stream)
{
    while (stream != NULL) {
        struct stream *next = stream->next;
        g_free(stream->body);
        g_free(stream->answer.long_body);
        g_free(stream);
        stream = next;
    }
}

static void http2_close(void *state)
{
    struct http2 *http2 = state;

    for (struct stream *stream = http2->open; stream != NULL; stream = stream->next)
        loop_timer_cancel(conn_port(http2->conn)->loop, &stream->timer);
    nghttp2_session_del(http2->session);
    free_list(http2->open);
    free_list(http2->free);
    g_free(http2);
}

const struct protocol http2_protocol = {http2_open, http2_receive, http2_produce, http2_finished,
                                        http2_close};
