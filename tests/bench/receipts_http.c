/* lib: loa_engine */
/* Phones that tell their receipts over HTTP: one each, with its own credentials, over keep-alive
 * connections. X-Forwarded-For gives each its address, as nginx would. What is refused (429, 503)
 * or cut off is sent again after two seconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/device_secret.h"
#include "tests/bench/receipts_load.h"

#define ANSWER_MAX 2048
#define EVENTS_MAX 256

struct connection {
    int fd;
    int index; /* the receipt that waits for its answer; -1 = idle */
    size_t len;
    char answer[ANSWER_MAX];
};

struct again {
    int index;
    int64_t due_us;
};

struct bench {
    struct load load;
    struct device_secret_key *key;
    struct connection *connections;
    GPtrArray *idle;
    GQueue again; /* struct again, by due time */
    int epoll;
};

static void dial(struct bench *bench, struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)bench->load.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->index = -1;
    c->len = 0;
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        g_error("cannot connect: %s", g_strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(bench->epoll, EPOLL_CTL_ADD, c->fd, &event);
    g_ptr_array_add(bench->idle, c);
}

static void repeat_later(struct bench *bench, int index)
{
    struct again again = {index, load_now() + LOAD_REPEAT_US};

    bench->load.repeated++;
    g_queue_push_tail(&bench->again, g_memdup2(&again, sizeof again));
}

static void redial(struct bench *bench, struct connection *c)
{
    if (c->index >= 0)
        repeat_later(bench, c->index);
    else
        g_ptr_array_remove_fast(bench->idle, c);
    close(c->fd);
    dial(bench, c);
}

static void send_receipt(struct bench *bench, struct connection *c, int index)
{
    int64_t id = bench->load.first + index;
    char secret[DEVICE_SECRET_MAX], body[128], out[1024];
    int body_len = g_snprintf(body, sizeof body, "{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}",
                              bench->load.alert);

    device_secret_make(bench->key, id, 1, secret);
    int len = g_snprintf(out, sizeof out,
                         "POST /api/v1/receipts HTTP/1.1\r\nHost: loa\r\n"
                         "X-Forwarded-For: 10.%d.%d.%d\r\nLoa-Device: %" PRId64 "\r\n"
                         "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
                         "Content-Length: %d\r\n\r\n%s",
                         (int)(id >> 16 & 255), (int)(id >> 8 & 255), (int)(id & 255), id, secret,
                         body_len, body);
    c->index = index;
    c->len = 0;
    if (send(c->fd, out, (size_t)len, MSG_NOSIGNAL) != len)
        redial(bench, c);
}

/* The answer in c->answer is whole. */
static void judge(struct bench *bench, struct connection *c)
{
    int index = c->index;

    c->index = -1;
    c->len = 0;
    g_ptr_array_add(bench->idle, c);
    if (g_str_has_prefix(c->answer, "HTTP/1.1 200 ") &&
        strstr(c->answer, "\"confirmed\":[{") != NULL) {
        load_confirm(&bench->load, index);
        return;
    }
    if (!g_str_has_prefix(c->answer, "HTTP/1.1 503 ") &&
        !g_str_has_prefix(c->answer, "HTTP/1.1 429 "))
        g_error("device %" PRId64 ": %s", bench->load.first + index, c->answer);
    bench->load.refused++;
    repeat_later(bench, index);
}

static bool is_whole(const struct connection *c)
{
    const char *end = strstr(c->answer, "\r\n\r\n");
    const char *length = strstr(c->answer, "Content-Length: ");

    return end != NULL && length != NULL &&
           c->len >= (size_t)(end + 4 - c->answer) + strtoul(length + 16, NULL, 10);
}

static void on_readable(struct bench *bench, struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->len, sizeof c->answer - 1 - c->len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        redial(bench, c);
        return;
    }
    c->len += (size_t)n;
    c->answer[c->len] = '\0';
    if (c->index >= 0 && is_whole(c))
        judge(bench, c);
}

/* Sends what is due; returns the milliseconds until there is more. */
static int send_due(struct bench *bench)
{
    int64_t now = load_now();

    while (bench->idle->len > 0) {
        struct connection *c = bench->idle->pdata[bench->idle->len - 1];
        struct again *again = g_queue_peek_head(&bench->again);
        int index;
        if (again != NULL && again->due_us <= now) {
            index = again->index;
            g_free(g_queue_pop_head(&bench->again));
        } else if (load_due(&bench->load) <= now) {
            index = load_take(&bench->load);
        } else {
            break;
        }
        g_ptr_array_set_size(bench->idle, (gint)bench->idle->len - 1);
        send_receipt(bench, c, index);
    }
    return bench->load.rate > 0 ? 1 : 50;
}

int main(int argc, char **argv)
{
    struct bench bench = {.load = {.width = 500}};
    struct epoll_event events[EVENTS_MAX];
    g_autoptr(GError) error = NULL;

    if (!load_parse(&bench.load, argc, argv) || bench.load.key == NULL)
        return EXIT_FAILURE;
    bench.key = device_secret_key_load(bench.load.key, &error);
    if (bench.key == NULL)
        g_error("%s", error->message);
    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    bench.idle = g_ptr_array_new();
    g_queue_init(&bench.again);
    bench.connections = g_new0(struct connection, (gsize)bench.load.width);
    for (int i = 0; i < bench.load.width; i++)
        dial(&bench, &bench.connections[i]);
    bench.load.start_us = load_now();
    while (!load_over(&bench.load)) {
        int n = epoll_wait(bench.epoll, events, EVENTS_MAX, send_due(&bench));
        for (int i = 0; i < n; i++)
            on_readable(&bench, events[i].data.ptr);
    }
    load_print(&bench.load);
    for (int i = 0; i < bench.load.width; i++)
        close(bench.connections[i].fd);
    close(bench.epoll);
    g_free(bench.connections);
    g_ptr_array_unref(bench.idle);
    g_queue_clear_full(&bench.again, g_free);
    device_secret_key_free(bench.key);
    return EXIT_SUCCESS;
}
