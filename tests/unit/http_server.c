/* lib: loa_base */
/* The HTTP server over real sockets, fed with raw bytes: once on the main loop, once with threads.
 * Every attack carries a request for /evil where a fooled parser would find one; its handler must
 * never run, and the connection must be closed by the server. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_server.h"
#include "base/metrics.h"

#define EVIL      "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
#define EVIL_LEN  "32"
#define POST      "POST /echo HTTP/1.1\r\nHost: a\r\n"
#define GET       "GET /hello HTTP/1.1\r\nHost: a\r\n"
#define LAST      "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define REPLY_MAX (256 * 1024)
#define ECHO_MAX  1000

static int evil_hits, echo_hits, hello_hits; /* atomic: handlers may run on other threads */

static void count(int *hits)
{
    __atomic_add_fetch(hits, 1, __ATOMIC_SEQ_CST);
}

static int hits(const int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static void handle_evil(struct http_request *request, void *user)
{
    (void)user;
    count(&evil_hits);
    http_reply(request, 200, "text/plain", "evil", 4);
}

static void handle_hello(struct http_request *request, void *user)
{
    const char *who = http_request_query(request, "who");
    assert_string_equal(user, "user");
    count(&hello_hits);
    http_reply(request, 200, "text/plain", who != NULL ? who : "hello",
               strlen(who != NULL ? who : "hello"));
}

static void handle_echo(struct http_request *request, void *user)
{
    size_t len;
    const char *body = http_request_body(request, &len);
    (void)user;
    count(&echo_hits);
    assert_int_equal(body[len], '\0');
    http_reply_header(request, "Cache-Control", "max-age=60");
    http_reply(request, 201, "text/plain", body, len);
}

static void handle_item(struct http_request *request, void *user)
{
    (void)user;
    g_autofree char *text =
        g_strdup_printf("%s|%s|%s|%s", http_request_method(request), http_request_path(request),
                        http_request_segment(request, 0), http_request_address(request));
    assert_null(http_request_segment(request, 1));
    http_reply(request, 200, "text/plain", text, strlen(text));
}

static void handle_error(struct http_request *request, void *user)
{
    g_autoptr(GError) error = NULL;
    (void)user;
    g_set_error(&error, LOA_ERROR, atoi(http_request_segment(request, 0)), "secret \"cause\"");
    http_reply_error(request, error);
}

static const struct http_route routes[] = {
    {"GET", "/hello", "hello", 0, handle_hello},
    {"GET", "/evil", "evil", 0, handle_evil},
    {"POST", "/evil", "evil", 100, handle_evil},
    {"POST", "/echo", "echo", ECHO_MAX, handle_echo},
    {"GET", "/items/{id}", "item_show", 0, handle_item},
    {"DELETE", "/items/{id}", "item_delete", 0, handle_item},
    {"GET", "/error/{code}", "error", 0, handle_error},
};
static const char *const proxies[] = {"::ffff:127.0.0.1", NULL};

static struct http_server_options options_with(unsigned threads)
{
    return (struct http_server_options){
        .listen = "127.0.0.1:0",
        .threads = threads,
        .connections_max = 100,
        .connections_per_address = 100,
        .idle_timeout_s = 30,
        .request_timeout_s = 20,
        .trusted_proxies = proxies,
        .routes = routes,
        .n_routes = G_N_ELEMENTS(routes),
        .user = (void *)"user",
    };
}

static struct http_server *start(struct http_server_options options)
{
    g_autoptr(GError) error = NULL;
    struct http_server *server = http_server_start(&options, &error);
    if (server == NULL)
        fail_msg("%s", error->message);
    evil_hits = echo_hits = hello_hits = 0;
    return server;
}

static int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* One connection: bytes out (in pieces), everything in until the server closes. Runs on a thread of
 * its own, because the server may live on this one's main loop. */
struct exchange {
    unsigned port;
    const char *out;
    size_t out_len;
    size_t piece; /* bytes per send; 0 = all */
    int drip_ms;  /* waits for an answer between pieces */
    char in[REPLY_MAX];
    size_t in_len;
    bool closed; /* the server ended it within the limit */
    int done;    /* atomic */
};

static void *exchange_thread(void *user)
{
    struct exchange *x = user;
    int fd = connect_to(x->port);
    size_t piece = x->piece != 0 ? x->piece : x->out_len;
    for (size_t at = 0; at < x->out_len; at += piece) {
        struct pollfd answer = {.fd = fd, .events = POLLIN};
        if (x->drip_ms > 0 && poll(&answer, 1, x->drip_ms) > 0)
            break;
        if (send(fd, x->out + at, MIN(piece, x->out_len - at), MSG_NOSIGNAL) < 0)
            break;
    }
    ssize_t n;
    while ((n = recv(fd, x->in + x->in_len, sizeof x->in - 1 - x->in_len, 0)) > 0)
        x->in_len += (size_t)n;
    x->closed = n == 0 || (n < 0 && errno == ECONNRESET);
    close(fd);
    __atomic_store_n(&x->done, 1, __ATOMIC_RELEASE);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void exchange_run(struct exchange *x)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, exchange_thread, x), 0);
    while (!__atomic_load_n(&x->done, __ATOMIC_ACQUIRE))
        g_main_context_iteration(NULL, TRUE);
    pthread_join(thread, NULL);
    x->in[x->in_len] = '\0';
}

static struct exchange *exchange(struct http_server *server, const char *out, size_t len)
{
    struct exchange *x = g_new0(struct exchange, 1);
    x->port = http_server_port(server);
    x->out = out;
    x->out_len = len;
    exchange_run(x);
    return x;
}

static unsigned status_of(const char *reply)
{
    return g_str_has_prefix(reply, "HTTP/1.1 ") ? (unsigned)strtoul(reply + 9, NULL, 10) : 0;
}

static unsigned count_in(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        n++;
    return n;
}

/* status: of every answer. */
static const struct attack {
    const char *name;
    unsigned status;
    const char *bytes;
    size_t len; /* 0 = up to NUL */
} attacks[] = {
    {"CL twice, 0 first", 400,
     POST "Content-Length: 0\r\nContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"CL twice, equal", 400,
     POST "Content-Length: " EVIL_LEN "\r\nContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"CL twice, other case", 400,
     POST "content-length: 0\r\nCONTENT-LENGTH: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"CL list", 400, POST "Content-Length: 0, 0\r\n\r\n" EVIL, 0},
    {"CL and TE", 400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" EVIL,
     0},
    {"TE and CL", 400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" EVIL,
     0},
    {"TE gzip", 400, POST "Transfer-Encoding: gzip\r\n\r\n" EVIL, 0},
    {"TE identity", 400, POST "Transfer-Encoding: identity\r\n\r\n" EVIL, 0},
    {"TE identity and CL", 400,
     POST "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" EVIL, 0},
    {"TE chunked, identity", 400, POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" EVIL,
     0},
    {"TE gzip, chunked", 400, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE twice", 400,
     POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE twice, second unknown", 400,
     POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE xchunked", 400, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE trailing blank", 400, POST "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE vertical tab", 400, POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE quoted", 400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"TE empty", 400, POST "Transfer-Encoding:\r\nContent-Length: 0\r\n\r\n" EVIL, 0},
    {"TE in HTTP/1.0", 400,
     "POST /echo HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" EVIL,
     0},
    {"blank before colon, TE", 400, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"tab before colon, CL", 400, POST "Content-Length\t: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"CL plus", 400, POST "Content-Length: +" EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"CL negative", 400, POST "Content-Length: -1\r\n\r\n" EVIL, 0},
    {"CL hexadecimal", 400, POST "Content-Length: 0x20\r\n\r\n" EVIL, 0},
    {"CL with blank inside", 400, POST "Content-Length: 3 2\r\n\r\n" EVIL, 0},
    {"CL trailing blank", 400, POST "Content-Length: 0 \r\n\r\n" EVIL, 0},
    {"CL empty", 400, POST "Content-Length:\r\n\r\n" EVIL, 0},
    {"CL overflow", 413, POST "Content-Length: 18446744073709551648\r\n\r\n" EVIL, 0},
    {"CL near the overflow", 400, POST "Content-Length: 18446744073709551615\r\n\r\n" EVIL, 0},
    {"folded TE", 400, POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"folded other field", 400, GET "X-A: b\r\n\tc\r\n\r\n" EVIL, 0},
    {"fold hides CL", 400,
     POST "X-A: b\r\n Content-Length: 0\r\nContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"no Host", 400, "GET /hello HTTP/1.1\r\n\r\n" EVIL, 0},
    {"no Host in HTTP/1.0", 400, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" EVIL, 0},
    {"Host twice", 400, "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" EVIL, 0},
    {"Host empty", 400, "GET /hello HTTP/1.1\r\nHost:\r\n\r\n" EVIL, 0},
    {"Host with path", 400, "GET /hello HTTP/1.1\r\nHost: a/evil\r\n\r\n" EVIL, 0},
    {"Host list", 400, "GET /hello HTTP/1.1\r\nHost: a, b\r\n\r\n" EVIL, 0},
    {"Host with user", 400, "GET /hello HTTP/1.1\r\nHost: a@b\r\n\r\n" EVIL, 0},
    {"bare LF after a field", 400, GET "X-A: b\nX-C: d\r\n\r\n" EVIL, 0},
    {"bare LF hides CL", 400, GET "X-A: b\nContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"bare LF after the request line", 400, "GET /hello HTTP/1.1\nHost: a\r\n\r\n" EVIL, 0},
    {"bare LF ends the head", 400, GET "\n" EVIL, 0},
    {"bare LF everywhere", 400, "GET /hello HTTP/1.1\nHost: a\n\n" EVIL, 0},
    {"bare CR in a value", 400, GET "X-A: b\rContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"NUL in a value", 400, POST "Content-Length: 0\0" EVIL_LEN "\r\n\r\n" EVIL,
     sizeof(POST "Content-Length: 0\0" EVIL_LEN "\r\n\r\n" EVIL) - 1},
    {"NUL in a name", 400, POST "Content-Length\0: 0\r\n\r\n" EVIL,
     sizeof(POST "Content-Length\0: 0\r\n\r\n" EVIL) - 1},
    {"NUL in the target", 400, "GET /hello\0/x HTTP/1.1\r\nHost: a\r\n\r\n" EVIL,
     sizeof("GET /hello\0/x HTTP/1.1\r\nHost: a\r\n\r\n" EVIL) - 1},
    {"DEL in a value", 400, GET "X-A: \x7f\r\n\r\n" EVIL, 0},
    {"field without colon", 400, GET "X-A\r\n\r\n" EVIL, 0},
    {"field without name", 400, GET ": x\r\n\r\n" EVIL, 0},
    {"field name with bracket", 400, GET "X[A]: x\r\n\r\n" EVIL, 0},
    {"two blanks before the target", 400, "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"two blanks before the version", 400, "GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"blank in the target", 400, "GET /hello /evil HTTP/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"absolute target", 400, "GET http://a/hello HTTP/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"asterisk", 400, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"authority target", 400, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"HTTP/1.2", 505, "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n" EVIL, 0},
    {"HTTP/2.0", 505, "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n" EVIL, 0},
    {"http/1.1", 400, "GET /hello http/1.1\r\nHost: a\r\n\r\n" EVIL, 0},
    {"HTTP/0.9", 400, "GET /hello\r\n\r\n" EVIL, 0},
    {"chunk size overflow", 413,
     POST "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" EVIL "\r\n0\r\n\r\n", 0},
    {"chunk size negative", 400, POST "Transfer-Encoding: chunked\r\n\r\n-1\r\n" EVIL, 0},
    {"chunk size with plus", 400, POST "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" EVIL, 0},
    {"chunk size 0x", 400, POST "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" EVIL, 0},
    {"chunk size with blank", 400, POST "Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n" EVIL, 0},
    {"chunk size empty", 400, POST "Transfer-Encoding: chunked\r\n\r\n\r\n" EVIL, 0},
    {"chunk longer than said", 400,
     POST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" EVIL, 0},
    {"request behind chunks", 201,
     POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" EVIL, 0},
    {"request in trailers", 201, POST "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n" EVIL,
     0},
    {"chunks with bare LF", 201, POST "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" EVIL, 0},
    {"body where none belongs", 413, GET "Content-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"chunks where none belong", 413, GET "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" EVIL, 0},
    {"body for no route", 404,
     "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"body for another method", 405,
     "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " EVIL_LEN "\r\n\r\n" EVIL, 0},
    {"body too large", 413, POST "Content-Length: 1001\r\n\r\n" EVIL, 0},
    {"upgrade", 200, GET "Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n" EVIL, 0},
};

static void attack_all(unsigned threads)
{
    loa_auto(http_server) server = start(options_with(threads));
    bool failed = false;
    for (size_t i = 0; i < G_N_ELEMENTS(attacks); i++) {
        const struct attack *a = &attacks[i];
        g_autofree struct exchange *x =
            exchange(server, a->bytes, a->len != 0 ? a->len : strlen(a->bytes));
        /* libmicrohttpd sends the head of its own 400 and 413 twice: the same status, then closes.
         */
        g_autofree char *line = g_strdup_printf("HTTP/1.1 %u ", a->status);
        if (g_str_has_prefix(x->in, line) && x->closed && hits(&evil_hits) == 0 &&
            count_in(x->in, "HTTP/1.1 ") == count_in(x->in, line) &&
            (a->status >= 400 || count_in(x->in, line) == 1))
            continue;
        print_error("%s: wanted %u, closed %d, evil %d, got:\n%s\n", a->name, a->status, x->closed,
                    hits(&evil_hits), x->in);
        failed = true;
        __atomic_store_n(&evil_hits, 0, __ATOMIC_SEQ_CST);
    }
    assert_false(failed);
}

static void test_attacks_on_the_loop(void **state)
{
    (void)state;
    attack_all(0);
}

static void test_attacks_on_threads(void **state)
{
    (void)state;
    attack_all(2);
}

/* What must work, or the guard could refuse everything: pipelining, pieces, chunks, no keep-alive.
 */
static void test_good_requests(void **state)
{
    static const struct {
        const char *bytes;
        unsigned replies;
        const char *holds;
    } cases[] = {
        {LAST, 1, "hello"},
        {"\r\n" LAST, 1, "hello"},
        {GET "\r\n" LAST, 2, "hello"},
        {GET "X-A:\t b \r\nX-B:\r\n\r\n" LAST, 2, "hello"},
        {POST "Content-Length: 5\r\n\r\nabcde" LAST, 2, "abcde"},
        {POST "Content-Length: 0\r\n\r\n" LAST, 2, "HTTP/1.1 201"},
        {POST "\r\n" LAST, 2, "HTTP/1.1 201"},
        {POST "Content-Length: " EVIL_LEN "\r\n\r\n" EVIL LAST, 2, EVIL},
        {POST "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 1,
         "\r\n\r\nabcde"},
        {"GET /hello HTTP/1.0\r\nHost: [::1]:80\r\n\r\n", 1, "hello"},
        {"GET /hello?who=c%E1%BA%A5p+1 HTTP/1.1\r\nHost: a:8080\r\nConnection: close\r\n\r\n", 1,
         "cấp 1"},
        {"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" LAST, 2, "urn:loa:problem:not-found"},
    };
    (void)state;
    for (unsigned threads = 0; threads < 2; threads++) {
        loa_auto(http_server) server = start(options_with(threads));
        for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
            g_autofree struct exchange *x = g_new0(struct exchange, 1);
            x->port = http_server_port(server);
            x->out = cases[i / 2].bytes;
            x->out_len = strlen(x->out);
            x->piece = i % 2; /* second time byte by byte */
            exchange_run(x);
            if (!x->closed ||
                count_in(x->in, "HTTP/1.1 2") + count_in(x->in, "HTTP/1.1 4") !=
                    cases[i / 2].replies ||
                strstr(x->in, cases[i / 2].holds) == NULL)
                fail_msg("%s\n→\n%s", cases[i / 2].bytes, x->in);
        }
        assert_int_equal(hits(&evil_hits), 0);
    }
}

/* The guard compares addresses inside the library's buffer: it must hold while that buffer grows.
 */
static void test_large_head_in_pieces(void **state)
{
    loa_auto(http_server) server = start(options_with(0));
    g_autoptr(GString) head = g_string_new("GET /hello HTTP/1.1\r\nHost: a\r\n");
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        g_string_append_printf(head, "X-Field-%u: ", i);
        for (unsigned n = 0; n < 280; n++)
            g_string_append_c(head, 'x');
        g_string_append(head, "\r\n");
    }
    g_string_append(head, "Connection: close\r\n\r\n");
    assert_in_range(head->len, 14000, 16384);
    static const size_t pieces[] = {0, 1, 7, 1024, 1025};
    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        g_autofree struct exchange *x = g_new0(struct exchange, 1);
        x->port = http_server_port(server);
        x->out = head->str;
        x->out_len = head->len;
        x->piece = pieces[i];
        exchange_run(x);
        assert_int_equal(status_of(x->in), 200);
    }
}

static void test_limits_of_the_head(void **state)
{
    static const struct {
        const char *before;
        size_t fill;
        const char *after;
        unsigned fields; /* further lines */
        unsigned status;
    } cases[] = {
        {"GET /hello?who=", 4000, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 0, 200},
        {"GET /hello?who=", 4090, " HTTP/1.1\r\nHost: a\r\n\r\n", 0, 414},
        {"GET /hello?who=", 60000, " HTTP/1.1\r\nHost: a\r\n\r\n", 0, 414},
        {GET "Connection: close\r\nX-A: ", 8192, "\r\n\r\n", 0, 200},
        {GET "X-A: ", 8193, "\r\n\r\n", 0, 431},
        {GET "X-A: ", 60000, "\r\n\r\n", 0, 431},
        {GET, 60, ": x\r\nConnection: close\r\n\r\n", 0, 200},
        {GET, 65, ": x\r\n\r\n", 0, 431},
        {GET "Connection: close\r\nX-A: ", 1, "\r\n", 61, 200},
        {GET "Connection: close\r\nX-A: ", 1, "\r\n", 62, 431},
        {GET "X-A: ", 1, "\r\n", 5000, 431},
    };
    loa_auto(http_server) server = start(options_with(0));
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) out = g_string_new(cases[i].before);
        for (size_t n = 0; n < cases[i].fill; n++)
            g_string_append_c(out, 'x');
        g_string_append(out, cases[i].after);
        for (unsigned n = 0; n < cases[i].fields; n++)
            g_string_append_printf(out, "A: b\r\n%s", n + 1 == cases[i].fields ? "\r\n" : "");
        g_autofree struct exchange *x = exchange(server, out->str, out->len);
        if (status_of(x->in) != cases[i].status)
            fail_msg("case %zu: wanted %u, got %.300s", i, cases[i].status, x->in);
    }
}

/* HEAD, Allow, security headers, problem documents, segments, addresses. */
static void test_answers(void **state)
{
    static const struct {
        const char *line;
        const char *more;
        unsigned status;
        const char *holds[3];
        const char *lacks;
    } cases[] = {
        {"GET /hello",
         "",
         200,
         {"X-Content-Type-Options: nosniff\r\n", "Cache-Control: no-store\r\n"},
         "evil"},
        {"HEAD /hello", "", 200, {"Content-Length: 5\r\n"}, "\r\n\r\nhello"},
        {"POST /echo", "", 201, {"Cache-Control: max-age=60\r\n"}, "no-store"},
        {"DELETE /hello",
         "",
         405,
         {"Allow: GET, HEAD\r\n", "urn:loa:problem:method-not-allowed"},
         NULL},
        {"PUT /items/7", "", 405, {"Allow: GET, HEAD, DELETE\r\n"}, NULL},
        {"OPTIONS /echo", "", 405, {"Allow: POST\r\n"}, NULL},
        {"GET /echo", "", 405, {"Allow: POST\r\n"}, NULL},
        {"get /hello", "", 405, {"Allow: GET, HEAD\r\n"}, NULL},
        {"GET /", "", 404, {"application/problem+json", "\"status\":404", "nosniff"}, NULL},
        {"GET /hello/", "", 404, {"problem"}, NULL},
        {"GET /items/", "", 404, {"problem"}, NULL},
        {"GET /items/%C4%91%201", "", 200, {"GET|/items/đ 1|đ 1|127.0.0.1"}, NULL},
        {"DELETE /items/7", "", 200, {"DELETE|/items/7|7|127.0.0.1"}, NULL},
        {"GET /items/a%2Fb", "", 400, {"urn:loa:problem:malformed-target"}, NULL},
        {"GET /items/..", "", 400, {"malformed-target"}, NULL},
        {"GET /items/%2e%2E", "", 400, {"malformed-target"}, NULL},
        {"GET /items/%00", "", 400, {"malformed-target"}, NULL},
        {"GET /items/%zz", "", 400, {"malformed-target"}, NULL},
        {"GET /items/%ff", "", 400, {"malformed-target"}, NULL},
        {"GET /items/1", "X-Forwarded-For: 9.9.9.9, 10.1.2.3\r\n", 200, {"|10.1.2.3"}, NULL},
        {"GET /items/1",
         "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 2001:DB8::1\r\n",
         200,
         {"|2001:db8::1"},
         NULL},
        {"GET /items/1", "X-Forwarded-For: rubbish\r\n", 200, {"|127.0.0.1"}, NULL},
        {"GET /error/0", "", 503, {"Retry-After: 5\r\n", "urn:loa:problem:unavailable"}, "secret"},
        {"GET /error/1", "", 503, {"Retry-After: 5\r\n"}, "secret"},
        {"GET /error/2", "", 422, {"\"detail\":\"secret \\\"cause\\\"\""}, NULL},
        {"GET /error/3", "", 404, {"secret"}, NULL},
        {"GET /error/4", "", 409, {"urn:loa:problem:conflict"}, NULL},
        {"GET /error/5", "", 403, {"urn:loa:problem:denied"}, NULL},
        {"GET /error/6", "", 429, {"urn:loa:problem:limit"}, NULL},
    };
    loa_auto(http_server) server = start(options_with(0));
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *out = g_strdup_printf(
            "%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", cases[i].line, cases[i].more);
        g_autofree struct exchange *x = exchange(server, out, strlen(out));
        bool ok = status_of(x->in) == cases[i].status &&
                  (cases[i].lacks == NULL || strstr(x->in, cases[i].lacks) == NULL);
        for (size_t n = 0; n < 3 && cases[i].holds[n] != NULL; n++)
            ok = ok && strstr(x->in, cases[i].holds[n]) != NULL;
        if (!ok)
            fail_msg("%s → %s", cases[i].line, x->in);
    }
    assert_true(metric_get(METRIC_HTTP_REQUESTS, "item_show/2xx") >= 4);
    assert_true(metric_get(METRIC_HTTP_REFUSED, "method-not-allowed") >= 4);
}

static void test_untrusted_peer(void **state)
{
    struct http_server_options options = options_with(0);
    static const char *const others[] = {"10.0.0.1", NULL};
    static const char request[] = "GET /items/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                  "X-Forwarded-For: 9.9.9.9\r\n\r\n";
    (void)state;
    options.trusted_proxies = others;
    loa_auto(http_server) server = start(options);
    g_autofree struct exchange *x = exchange(server, request, strlen(request));
    assert_non_null(strstr(x->in, "|127.0.0.1"));
}

/* A body is refused as soon as its size is known, and the client gets to read the answer. */
static void test_body_limit(void **state)
{
    g_autofree char *exact = g_strnfill(ECHO_MAX, 'x');
    g_autofree char *fits =
        g_strdup_printf(POST "Connection: close\r\nContent-Length: %d\r\n\r\n%s", ECHO_MAX, exact);
    g_autofree char *promised = g_strdup_printf(POST "Content-Length: %d\r\n\r\n", ECHO_MAX + 1);
    g_autofree char *expecting =
        g_strdup_printf(POST "Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", ECHO_MAX + 1);
    g_autoptr(GString) chunks = g_string_new(POST "Transfer-Encoding: chunked\r\n\r\n");
    g_autofree char *flood = g_strnfill(200 * 1024, 'y');
    (void)state;
    g_string_append_printf(chunks, "3e8\r\n%s\r\n32000\r\n%s\r\n", exact, flood);
    const struct {
        const char *bytes;
        unsigned status;
    } cases[] = {{fits, 201}, {promised, 413}, {expecting, 413}, {chunks->str, 413}};
    for (unsigned threads = 0; threads < 2; threads++) {
        loa_auto(http_server) server = start(options_with(threads));
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
            g_autofree struct exchange *x =
                exchange(server, cases[i].bytes, strlen(cases[i].bytes));
            if (status_of(x->in) != cases[i].status || !x->closed)
                fail_msg("case %zu: wanted %u, got %.400s", i, cases[i].status, x->in);
        }
        assert_int_equal(hits(&echo_hits), 1);
    }
}

/* The limit holds although something always arrives. */
static void test_slow_clients(void **state)
{
    static const struct {
        const char *bytes;
        size_t piece;
        int drip_ms;
        unsigned status;
    } cases[] = {
        {POST "Content-Length: 100\r\n\r\nabc", 0, 0, 408},
        {POST "Content-Length: 100\r\n\r\n"
              "0123456789012345678901234567890123456789012345678901234567890123456789",
         10, 100, 408},
        {POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0, 0, 408},
        {GET "X-A: 0123456789012345678901234567890123456789", 5, 100, 408},
        {"GET /hel", 0, 0, 0},
        {"", 0, 0, 0},
    };
    (void)state;
    for (unsigned threads = 0; threads < 2; threads++) {
        struct http_server_options options = options_with(threads);
        options.request_timeout_s = options.idle_timeout_s = 1;
        loa_auto(http_server) server = start(options);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
            g_autofree struct exchange *x = g_new0(struct exchange, 1);
            int64_t before = clock_system()->mono_us(clock_system());
            x->port = http_server_port(server);
            x->out = cases[i].bytes;
            x->out_len = strlen(x->out);
            x->piece = cases[i].piece;
            x->drip_ms = cases[i].drip_ms;
            exchange_run(x);
            int64_t took = clock_system()->mono_us(clock_system()) - before;
            if (!x->closed || status_of(x->in) != cases[i].status || took > 6 * USEC_PER_SEC)
                fail_msg("case %zu: wanted %u after a second, %d ms, got %s", i, cases[i].status,
                         (int)(took / USEC_PER_MSEC), x->in);
        }
        assert_int_equal(hits(&echo_hits) + hits(&hello_hits), 0);
    }
}

/* Writes the request on an open connection and reads one answer of known length. */
static bool still_served(int fd)
{
    static const char request[] = GET "\r\n";
    char reply[1024];
    size_t len = 0;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return false;
    while (len < sizeof reply - 1) {
        ssize_t n = recv(fd, reply + len, sizeof reply - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        reply[len] = '\0';
        if (g_str_has_suffix(reply, "\r\n\r\nhello"))
            return true;
    }
    return false;
}

/* Hundreds of connections too many do no harm to one that was there, and the server recovers. */
static void flood(struct http_server_options options)
{
    enum { FLOOD = 320 };
    int flood_fds[FLOOD];
    loa_auto(http_server) server = start(options);
    int first = connect_to(http_server_port(server));
    assert_true(still_served(first));
    for (size_t i = 0; i < FLOOD; i++)
        flood_fds[i] = connect_to(http_server_port(server));
    assert_true(still_served(first));
    for (size_t i = 0; i < FLOOD; i++)
        close(flood_fds[i]);
    close(first);
    g_autofree struct exchange *x = NULL;
    for (int tries = 0; tries < 100 && (x == NULL || status_of(x->in) != 200); tries++) {
        g_free(g_steal_pointer(&x)); /* the server may not have seen every close yet */
        x = exchange(server, LAST, strlen(LAST));
    }
    assert_int_equal(status_of(x->in), 200);
}

static void test_connection_limits(void **state)
{
    struct rlimit files;
    struct http_server_options all = options_with(2), one_address = options_with(2);
    (void)state;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = MIN(files.rlim_max, 4096);
    setrlimit(RLIMIT_NOFILE, &files);
    all.connections_max = 20;
    flood(all);
    one_address.connections_max = 1000;
    one_address.connections_per_address = 20;
    flood(one_address);
}

static void test_listen(void **state)
{
    static const struct {
        const char *listen_on;
        int code; /* -1 = works */
    } cases[] = {
        {"127.0.0.1:0", -1},
        {"localhost:0", -1},
        {"127.0.0.1", LOA_ERROR_INVALID},
        {"127.0.0.1:", LOA_ERROR_INVALID},
        {":80", LOA_ERROR_INVALID},
        {"127.0.0.1:70000", LOA_ERROR_INVALID},
        {"::1:80", LOA_ERROR_INVALID},
        {"127.0.0.1:8o", LOA_ERROR_INVALID},
        {"no.such.host.invalid:80", LOA_ERROR_INVALID},
        {"192.0.2.1:0", LOA_ERROR_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct http_server_options options = options_with(0);
        g_autoptr(GError) error = NULL;
        options.listen = cases[i].listen_on;
        loa_auto(http_server) server = http_server_start(&options, &error);
        if (cases[i].code < 0 ? server == NULL || http_server_port(server) == 0
                              : !g_error_matches(error, LOA_ERROR, cases[i].code))
            fail_msg("%s: %s", cases[i].listen_on, error != NULL ? error->message : "no error");
    }
    loa_auto(http_server) first = start(options_with(0));
    struct http_server_options same = options_with(0);
    g_autofree char *taken = g_strdup_printf("127.0.0.1:%u", http_server_port(first));
    g_autoptr(GError) error = NULL;
    same.listen = taken;
    assert_null(http_server_start(&same, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    g_clear_error(&error);
    static const char *const no_address[] = {"nginx", NULL};
    same.listen = "127.0.0.1:0";
    same.trusted_proxies = no_address;
    assert_null(http_server_start(&same, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_requests),
        cmocka_unit_test(test_large_head_in_pieces),
        cmocka_unit_test(test_attacks_on_the_loop),
        cmocka_unit_test(test_attacks_on_threads),
        cmocka_unit_test(test_limits_of_the_head),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_untrusted_peer),
        cmocka_unit_test(test_body_limit),
        cmocka_unit_test(test_slow_clients),
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
