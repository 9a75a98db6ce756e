/* nghttp2 between requests and bytes. The library never holds a request that the peer's settings
 * would not let out: whoever calls send counts for itself. Bodies go from the user's memory into
 * the output in one copy; names and values are not copied by the library either, so an exchange
 * is used again only when the library has forgotten its stream. */
#include "h2/session.h"

#include <assert.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "h2/blocks.h"
#include "h2/exchange.h"

#define FRAME_HEAD   9
#define OUTPUT_MAX   (2 * H2_RECORD_MAX + FRAME_HEAD) /* a record, and a frame that begins in it */
#define LOCAL_WINDOW (16 * 1024 * 1024)               /* answers never wait for WINDOW_UPDATE */
#define GOAWAY_TEXT  100

struct h2_session {
    unsigned streams_max;
    int64_t timeout_us;
    struct exchanges all;
    struct blocks blocks; /* nghttp2's memory */

    nghttp2_session *h2; /* NULL while closed */
    uint64_t made;       /* bytes put into the output since open */
    uint64_t written;    /* bytes of them that have left */
    bool greeted, answered, indexed;
    bool goaway, goaway_graceful;
    char goaway_text[GOAWAY_TEXT + 1];
    unsigned peer_max;
    const uint8_t *rest; /* end of a frame that did not fit; borrowed from nghttp2 */
    size_t rest_len;
    size_t from, to; /* what of the output is still to be written */
    uint8_t output[OUTPUT_MAX];
};

static struct exchange *exchange_of(nghttp2_session *h2, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(h2, stream_id);
}

/* ---- nghttp2 asks for output ---- */

static int before_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    const struct h2_session *s = user;
    struct exchange *x;

    if (frame->hd.type == NGHTTP2_HEADERS && (x = exchange_of(h2, frame->hd.stream_id)) != NULL)
        x->headers_at = s->made;
    return 0;
}

static struct exchange *find_stream(const GQueue *queue, int32_t stream_id)
{
    for (GList *link = queue->head; link != NULL; link = link->next)
        if (((struct exchange *)link->data)->stream_id == stream_id)
            return link->data;
    return NULL;
}

/* A request that stays here: after GOAWAY, or cancelled before it left. nghttp2 may or may not
 * have a stream for it. */
static int on_frame_not_send(nghttp2_session *h2, const nghttp2_frame *frame, int code, void *user)
{
    struct h2_session *s = user;
    int32_t stream_id = frame->hd.stream_id;
    struct exchange *x = NULL;

    (void)code;
    if (frame->hd.type == NGHTTP2_HEADERS && (x = exchange_of(h2, stream_id)) == NULL &&
        (x = find_stream(&s->all.open, stream_id)) == NULL &&
        (x = find_stream(&s->all.lingering, stream_id)) == NULL)
        x = find_stream(&s->all.settled, stream_id);
    if (x != NULL) {
        exchange_settle(&s->all, x, H2_NOT_SENT, s->goaway ? "goaway" : "not_sent");
        exchange_stream_closed(&s->all, x);
    }
    return 0;
}

static ssize_t read_body(nghttp2_session *h2, int32_t stream_id, uint8_t *buf, size_t length,
                         uint32_t *data_flags, nghttp2_data_source *source, void *user)
{
    const struct exchange *x = source->ptr;

    (void)h2, (void)stream_id, (void)buf, (void)user;
    if (x->state != EXCHANGE_OPEN) /* the user's memory is gone */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    *data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (length < x->body_left)
        return (ssize_t)length;
    *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)x->body_left;
}

static void put(struct h2_session *s, const void *data, size_t len)
{
    memcpy(s->output + s->to, data, len);
    s->to += len;
    s->made += len;
}

static int send_body(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *user)
{
    struct h2_session *s = user;
    struct exchange *x = source->ptr;

    (void)h2, (void)frame;
    if (x->state != EXCHANGE_OPEN)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (OUTPUT_MAX - s->to < FRAME_HEAD + length)
        return NGHTTP2_ERR_WOULDBLOCK; /* fill() has made a full record by now */
    put(s, head, FRAME_HEAD);
    x->body_left -= length;
    while (length > 0) {
        const struct h2_piece *piece = &x->body[x->piece];
        size_t n = MIN(length, piece->len - x->offset);
        put(s, (const uint8_t *)piece->data + x->offset, n);
        length -= n;
        x->offset += n;
        if (x->offset == piece->len) {
            x->piece++;
            x->offset = 0;
        }
    }
    return 0;
}

/* ---- nghttp2 has input ---- */

static bool name_is(const uint8_t *name, size_t len, const char *text, size_t text_len)
{
    return len == text_len && memcmp(name, text, len) == 0;
}
#define NAME_IS(name, len, text) name_is(name, len, text, sizeof(text) - 1)

static void keep_text(char out[H2_ANSWER_TEXT_MAX], const uint8_t *value, size_t len)
{
    len = MIN(len, H2_ANSWER_TEXT_MAX - 1);
    memcpy(out, value, len);
    out[len] = '\0';
}

/* Most headers of an answer concern nobody: their stream is not even looked up. */
static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    bool status = NAME_IS(name, name_len, ":status");
    bool retry_after = NAME_IS(name, name_len, "retry-after");
    struct exchange *x;

    (void)flags, (void)user;
    if ((!status && !retry_after) || (x = exchange_of(h2, frame->hd.stream_id)) == NULL ||
        x->state != EXCHANGE_OPEN)
        return 0;
    if (status && value_len == 3) /* nghttp2 has checked the digits */
        x->answer.status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    else if (retry_after)
        keep_text(x->retry_after, value, value_len);
    return 0;
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t len, void *user)
{
    struct h2_session *s = user;
    struct exchange *x = exchange_of(h2, stream_id);

    (void)flags;
    if (x != NULL && x->state == EXCHANGE_OPEN && x->answer.status >= 300)
        exchange_answer_append(&s->all, x, data, len);
    return 0;
}

static void on_goaway(struct h2_session *s, const nghttp2_goaway *goaway)
{
    size_t len = MIN(goaway->opaque_data_len, GOAWAY_TEXT);

    s->goaway = true;
    s->goaway_graceful = goaway->error_code == NGHTTP2_NO_ERROR;
    if (len == 0)
        g_snprintf(s->goaway_text, sizeof(s->goaway_text), "%s",
                   nghttp2_http2_strerror(goaway->error_code));
    for (size_t i = 0; i < len; i++) /* a stranger's bytes, for the log */
        s->goaway_text[i] = g_ascii_isprint(goaway->opaque_data[i]) ? goaway->opaque_data[i] : '?';
    if (len > 0)
        s->goaway_text[len] = '\0';
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    struct exchange *x;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
            (x = exchange_of(h2, frame->hd.stream_id)) != NULL)
            x->complete = true;
        break;
    case NGHTTP2_SETTINGS:
        s->greeted = true;
        s->peer_max =
            nghttp2_session_get_remote_settings(h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(s, &frame->goaway);
        break;
    default:
        break;
    }
    return 0;
}

/* RFC 9113 §6.8, §8.7: REFUSED_STREAM, and streams above GOAWAY's last id, were not processed. */
static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t code, void *user)
{
    struct h2_session *s = user;
    struct exchange *x = exchange_of(h2, stream_id);

    if (x == NULL)
        return 0;
    if (x->complete && x->answer.status >= 200) {
        s->answered = true;
        exchange_settle(&s->all, x, H2_ANSWERED, "");
    } else if (code == NGHTTP2_REFUSED_STREAM) {
        exchange_settle(&s->all, x, H2_NOT_SENT, s->goaway ? "goaway" : "refused_stream");
    } else {
        exchange_settle(&s->all, x, H2_UNCERTAIN, "stream_reset");
    }
    exchange_stream_closed(&s->all, x);
    return 0;
}

/* ---- life ---- */

struct h2_session *h2_session_new(unsigned streams_max, size_t copy_max, int64_t timeout_us)
{
    struct h2_session *s = g_new0(struct h2_session, 1);

    s->streams_max = streams_max;
    s->timeout_us = timeout_us;
    exchanges_init(&s->all, copy_max);
    return s;
}

void h2_session_free(struct h2_session *s)
{
    if (s == NULL)
        return;
    assert(s->h2 == NULL);
    exchanges_clear(&s->all);
    blocks_clear(&s->blocks);
    g_free(s);
}

static void *h2_malloc(size_t size, void *user)
{
    return blocks_alloc(user, size);
}

static void *h2_calloc(size_t n, size_t size, void *user)
{
    return blocks_alloc_zeroed(user, n, size);
}

static void *h2_realloc(void *memory, size_t size, void *user)
{
    return blocks_resize(user, memory, size);
}

static void h2_free(void *memory, void *user)
{
    blocks_free(user, memory);
}

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *cbs;

    if (nghttp2_session_callbacks_new(&cbs) != 0)
        g_error("out of memory");
    nghttp2_session_callbacks_set_before_frame_send_callback(cbs, before_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cbs, on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(cbs, send_body);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    return cbs;
}

void h2_session_open(struct h2_session *s)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384},
    };
    nghttp2_mem memory = {&s->blocks, h2_malloc, h2_free, h2_calloc, h2_realloc};
    nghttp2_session_callbacks *cbs = callbacks_new();
    nghttp2_option *option;

    assert(s->h2 == NULL && s->all.open.length == 0);
    if (nghttp2_option_new(&option) != 0)
        g_error("out of memory");
    nghttp2_option_set_no_closed_streams(option, 1);
    if (nghttp2_session_client_new3(&s->h2, cbs, s, option, &memory) != 0)
        g_error("out of memory");
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cbs);
    s->made = s->written = 0;
    s->from = s->to = s->rest_len = 0;
    s->greeted = s->answered = s->indexed = false;
    s->goaway = false;
    if (nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings)) != 0 ||
        nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0, LOCAL_WINDOW) != 0)
        g_error("out of memory");
}

void h2_session_close(struct h2_session *s, const char *reason)
{
    GList *link;

    if (s->h2 == NULL)
        return;
    nghttp2_session_del(s->h2);
    s->h2 = NULL;
    while ((link = s->all.open.head) != NULL) {
        struct exchange *x = link->data;
        exchange_settle(&s->all, x, x->headers_at < s->written ? H2_UNCERTAIN : H2_NOT_SENT,
                        reason);
    }
    exchanges_streams_closed(&s->all);
}

/* ---- requests ---- */

void h2_session_refuse(struct h2_session *s, const struct h2_request *request,
                       enum h2_outcome outcome, const char *reason)
{
    struct exchange *x = exchange_take(&s->all, request);

    x->stream_closed = true;
    exchange_settle(&s->all, x, outcome, reason);
}

static nghttp2_nv header_nv(struct h2_session *s, struct exchange *x, const struct h2_header *h)
{
    const char *value = h->copy ? exchange_copy(&s->all, x, h->value, h->value_len) : h->value;
    nghttp2_nv nv = {.name = (uint8_t *)h->name,
                     .namelen = h->name_len,
                     .value = (uint8_t *)(value != NULL ? value : h->value),
                     .valuelen = h->value_len,
                     .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME};

    if (value != NULL)
        nv.flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    if (h->index == H2_INDEX_NEVER || (h->index == H2_INDEX_FIRST && s->indexed))
        nv.flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    return nv;
}

void h2_session_send(struct h2_session *s, const struct h2_request *request, int64_t now_us)
{
    struct exchange *x = exchange_take(&s->all, request);
    nghttp2_data_provider body = {.source.ptr = x, .read_callback = read_body};
    nghttp2_nv nva[H2_HEADERS_MAX];

    assert(s->h2 != NULL && request->n_headers <= H2_HEADERS_MAX);
    for (size_t i = 0; i < request->n_headers; i++)
        nva[i] = header_nv(s, x, &request->headers[i]);
    x->deadline_us = now_us + s->timeout_us;
    x->stream_id = nghttp2_submit_request(s->h2, NULL, nva, request->n_headers,
                                          x->body_left > 0 ? &body : NULL, x);
    if (x->stream_id < 0) { /* stream ids have run out, after 2³⁰ requests */
        x->stream_closed = true;
        exchange_settle(&s->all, x, H2_NOT_SENT, "no_stream_id");
        s->goaway = s->goaway_graceful = true;
        return;
    }
    s->indexed = true;
    exchange_open(&s->all, x);
}

void h2_session_expire(struct h2_session *s, int64_t now_us)
{
    while (s->all.open.head != NULL) {
        struct exchange *x = s->all.open.head->data;
        if (x->deadline_us > now_us)
            return;
        if (x->headers_at == EXCHANGE_UNSERIALISED)
            exchange_settle(&s->all, x, H2_NOT_SENT, "timeout_unsent");
        else
            exchange_settle(&s->all, x, H2_UNCERTAIN, "timeout");
        if (nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, x->stream_id, NGHTTP2_CANCEL) != 0)
            g_error("out of memory");
    }
}

int64_t h2_session_deadline(const struct h2_session *s)
{
    return s->all.open.head != NULL ? ((struct exchange *)s->all.open.head->data)->deadline_us
                                    : INT64_MAX;
}

void h2_session_deliver(struct h2_session *s)
{
    exchanges_deliver(&s->all);
}

bool h2_session_has_settled(const struct h2_session *s)
{
    return s->all.settled.length > 0;
}

/* ---- bytes ---- */

static void put_rest(struct h2_session *s)
{
    size_t n = MIN(s->rest_len, OUTPUT_MAX - s->to);

    if (n == 0)
        return;
    put(s, s->rest, n);
    s->rest += n;
    s->rest_len -= n;
}

bool h2_session_fill(struct h2_session *s)
{
    if (s->from > 0) {
        memmove(s->output, s->output + s->from, s->to - s->from);
        s->to -= s->from;
        s->from = 0;
    }
    put_rest(s);
    while (s->to < H2_RECORD_MAX) {
        ssize_t n = nghttp2_session_mem_send(s->h2, &s->rest);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        s->rest_len = (size_t)n;
        put_rest(s);
    }
    return true;
}

const uint8_t *h2_session_output(const struct h2_session *s, size_t *out_len)
{
    *out_len = s->to - s->from;
    return s->output + s->from;
}

void h2_session_wrote(struct h2_session *s, size_t len)
{
    assert(len <= s->to - s->from);
    s->from += len;
    s->written += len;
}

bool h2_session_receive(struct h2_session *s, const uint8_t *data, size_t len)
{
    return nghttp2_session_mem_recv(s->h2, data, len) == (ssize_t)len;
}

bool h2_session_over(const struct h2_session *s)
{
    return !nghttp2_session_want_read(s->h2) && !nghttp2_session_want_write(s->h2);
}

void h2_session_ping(struct h2_session *s)
{
    if (nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL) != 0)
        g_error("out of memory");
}

/* ---- what a connection asks ---- */

unsigned h2_session_in_flight(const struct h2_session *s)
{
    return s->all.open.length;
}

unsigned h2_session_limit(const struct h2_session *s)
{
    return MIN(s->streams_max, s->peer_max);
}

bool h2_session_greeted(const struct h2_session *s)
{
    return s->greeted;
}

bool h2_session_goaway(const struct h2_session *s, bool *out_graceful, const char **out_text)
{
    if (!s->goaway)
        return false;
    *out_graceful = s->goaway_graceful;
    *out_text = s->goaway_text;
    return true;
}

bool h2_session_answered(const struct h2_session *s)
{
    return s->answered;
}
