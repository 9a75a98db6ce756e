/* HTTP/1.1 for the OAuth port only: ready-made FCM clients fetch their token that way. One request
 * per connection, Content-Length only. */
#include "tests/sim/http1.h"

#include <stdio.h>

#include "tests/sim/conn.h"

struct http1 {
    struct conn *conn;
    struct timer timer; /* a delayed answer */
    bool judged, sent;
    size_t in_len, out_len, out_sent;
    struct request_head head;
    struct answer answer;
    char in[HTTP1_REQUEST_MAX];
    char out[ANSWER_BODY_MAX + 512];
};

/* ---- reading ---- */

static bool parse_length(struct text value, size_t *out)
{
    size_t length = 0;

    if (value.len == 0 || value.len > 6)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
        length = length * 10 + (size_t)(value.at[i] - '0');
    }
    *out = length;
    return true;
}

/* "POST /token HTTP/1.1" */
static bool read_request_line(struct text line, struct request_head *head, struct request *request)
{
    const char *space = memchr(line.at, ' ', line.len), *second;
    struct text method, path, version;

    if (space == NULL)
        return false;
    method = (struct text){line.at, (size_t)(space - line.at)};
    path.at = space + 1;
    second = memchr(path.at, ' ', line.len - method.len - 1);
    if (second == NULL)
        return false;
    path.len = (size_t)(second - path.at);
    version = (struct text){second + 1, line.len - method.len - path.len - 2};
    request_head_add(head, request, TEXT_LITERAL(":method"), method);
    request_head_add(head, request, TEXT_LITERAL(":path"), path);
    return text_is(version, "HTTP/1.1");
}

static bool read_header(struct text line, struct request_head *head, struct request *request,
                        size_t *length, bool *has_length)
{
    const char *colon = memchr(line.at, ':', line.len);
    char lower[32];
    struct text name, value;

    if (colon == NULL || colon == line.at)
        return false;
    name = (struct text){line.at, (size_t)(colon - line.at)};
    value = (struct text){colon + 1, line.len - name.len - 1};
    while (value.len > 0 && (value.at[0] == ' ' || value.at[0] == '\t'))
        value = (struct text){value.at + 1, value.len - 1};
    while (value.len > 0 && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t'))
        value.len--;
    if (name.len >= sizeof(lower))
        return true;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = g_ascii_tolower(name.at[i]);
    name.at = lower;
    if (text_is(name, "transfer-encoding") || name.at[0] == ':')
        return false;
    if (text_is(name, "content-length")) {
        if (*has_length || !parse_length(value, length))
            return false;
        *has_length = true;
        return true;
    }
    request_head_add(head, request, name, value);
    return true;
}

enum http1_result http1_read(const char *data, size_t len, struct request_head *head,
                             struct request *out_request)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    size_t head_len, length = 0;
    bool has_length = false;

    head->len = 0;
    memset(out_request, 0, sizeof(*out_request));
    if (end == NULL)
        return len >= HTTP1_REQUEST_MAX ? HTTP1_BAD : HTTP1_PARTIAL;
    head_len = (size_t)(end - data) + 4;
    for (const char *line = data; line < end + 2;) {
        const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        struct text text = {line, (size_t)(next - line)};
        if (line == data ? !read_request_line(text, head, out_request)
                         : !read_header(text, head, out_request, &length, &has_length))
            return HTTP1_BAD;
        line = next + 2;
    }
    if (length > HTTP1_REQUEST_MAX - head_len || head_len > HTTP1_REQUEST_MAX)
        return HTTP1_BAD;
    if (len - head_len < length)
        return HTTP1_PARTIAL;
    out_request->body = (struct text){data + head_len, length};
    return HTTP1_DONE;
}

/* ---- answering ---- */

static void write_answer(struct http1 *http1)
{
    const struct answer *answer = &http1->answer;
    const char *type = answer->type == ANSWER_HTML ? "text/html" : "application/json";
    char retry[48] = "";
    int len;

    if (answer->close || answer->rst_code != 0) {
        conn_abort(http1->conn);
        return;
    }
    if (answer->no_answer)
        return;
    if (answer->retry_after_s >= 0)
        snprintf(retry, sizeof(retry), "Retry-After: %lld\r\n", (long long)answer->retry_after_s);
    len = snprintf(http1->out, sizeof(http1->out),
                   "HTTP/1.1 %d Answer\r\nContent-Type: %s; charset=UTF-8\r\n%s"
                   "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                   answer->status, type, retry, answer->body_len);
    memcpy(http1->out + len, answer->body, answer->body_len);
    http1->out_len = (size_t)len + answer->body_len;
    http1->sent = true;
}

static void delayed_answer(struct timer *timer)
{
    struct http1 *http1 = (struct http1 *)((char *)timer - offsetof(struct http1, timer));
    struct conn *conn = http1->conn;

    write_answer(http1);
    conn_kick(conn);
}

static void *http1_open(struct conn *conn)
{
    struct http1 *http1 = g_new0(struct http1, 1);

    http1->conn = conn;
    http1->timer.fire = delayed_answer;
    return http1;
}

static bool http1_receive(void *state, const uint8_t *data, size_t len)
{
    struct http1 *http1 = state;
    struct port *port = conn_port(http1->conn);
    struct request request;

    if (http1->judged)
        return true; /* nothing more is expected, and nothing more is read */
    len = MIN(len, sizeof(http1->in) - http1->in_len);
    memcpy(http1->in + http1->in_len, data, len);
    http1->in_len += len;
    switch (http1_read(http1->in, http1->in_len, &http1->head, &request)) {
    case HTTP1_PARTIAL:
        return true;
    case HTTP1_BAD:
        http1->judged = true;
        answer_init(&http1->answer);
        html_refuse(&http1->answer, 400);
        break;
    case HTTP1_DONE:
        http1->judged = true;
        service_handle(port->service, port->channel, conn_peer(http1->conn), &request,
                       &http1->answer);
        break;
    }
    if (http1->answer.delay_us > 0)
        loop_timer_set(port->loop, &http1->timer, http1->answer.delay_us);
    else
        write_answer(http1);
    return true;
}

static bool http1_produce(void *state, uint8_t *out, size_t max, size_t *out_len)
{
    struct http1 *http1 = state;

    *out_len = MIN(max, http1->out_len - http1->out_sent);
    memcpy(out, http1->out + http1->out_sent, *out_len);
    http1->out_sent += *out_len;
    return true;
}

static bool http1_finished(void *state)
{
    const struct http1 *http1 = state;

    return http1->sent && http1->out_sent == http1->out_len;
}

static void http1_close(void *state)
{
    struct http1 *http1 = state;

    loop_timer_cancel(conn_port(http1->conn)->loop, &http1->timer);
    g_free(http1);
}

const struct protocol http1_protocol = {http1_open, http1_receive, http1_produce, http1_finished,
                                        http1_close};
