/* lib: loa_base */
/* Request smuggling: every attack carries a request for /evil where a fooled parser would find one;
 * its handler must never run, and the server must close the connection. Once on the main loop, once
 * with threads. Beside them the requests that must work, or the guard could refuse everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/http_raw.h"

#define EVIL     "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
#define EVIL_LEN "32"
#define POST     "POST /echo HTTP/1.1\r\nHost: a\r\n"
#define GET      "GET /hello HTTP/1.1\r\nHost: a\r\n"
#define LAST     "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static int evil_hits; /* atomic: handlers may run on other threads */

static int hits(void)
{
    return __atomic_load_n(&evil_hits, __ATOMIC_SEQ_CST);
}

static void handle_evil(struct http_request *request, void *user)
{
    (void)user;
    __atomic_add_fetch(&evil_hits, 1, __ATOMIC_SEQ_CST);
    http_reply(request, 200, "text/plain", "evil", 4);
}

static void handle_hello(struct http_request *request, void *user)
{
    const char *who = http_request_query(request, "who");
    (void)user;
    http_reply(request, 200, "text/plain", who != NULL ? who : "hello",
               strlen(who != NULL ? who : "hello"));
}

static void handle_echo(struct http_request *request, void *user)
{
    size_t len;
    const char *body = http_request_body(request, &len);
    (void)user;
    http_reply(request, 201, "text/plain", body, len);
}

static const struct http_route routes[] = {
    {"GET", "/hello", "hello", 0, handle_hello},
    {"GET", "/evil", "evil", 0, handle_evil},
    {"POST", "/evil", "evil", 100, handle_evil},
    {"POST", "/echo", "echo", 1000, handle_echo},
};

static struct http_server *start(unsigned threads)
{
    struct http_server_options options = {.listen = "127.0.0.1:0",
                                          .threads = threads,
                                          .connections_max = 100,
                                          .connections_per_address = 100,
                                          .idle_timeout_s = 30,
                                          .request_timeout_s = 20,
                                          .routes = routes,
                                          .n_routes = G_N_ELEMENTS(routes)};
    struct http_server *server = http_server_start(&options, NULL);
    assert_non_null(server);
    return server;
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
    loa_auto(http_server) server = start(threads);
    bool failed = false;
    for (size_t i = 0; i < G_N_ELEMENTS(attacks); i++) {
        const struct attack *a = &attacks[i];
        g_autofree struct exchange *x =
            exchange(server, a->bytes, a->len != 0 ? a->len : strlen(a->bytes));
        /* libmicrohttpd sends the head of its own 400 and 413 twice: the same status, then closes.
         */
        g_autofree char *line = g_strdup_printf("HTTP/1.1 %u ", a->status);
        if (g_str_has_prefix(x->in, line) && x->closed && hits() == 0 &&
            count_in(x->in, "HTTP/1.1 ") == count_in(x->in, line) &&
            (a->status >= 400 || count_in(x->in, line) == 1))
            continue;
        print_error("%s: wanted %u, closed %d, evil %d, got:\n%s\n", a->name, a->status, x->closed,
                    hits(), x->in);
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
        loa_auto(http_server) server = start(threads);
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
        assert_int_equal(hits(), 0);
    }
}

/* The guard compares addresses inside the library's buffer: it must hold while that buffer grows.
 */
static void test_large_head_in_pieces(void **state)
{
    loa_auto(http_server) server = start(0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_requests),
        cmocka_unit_test(test_large_head_in_pieces),
        cmocka_unit_test(test_attacks_on_the_loop),
        cmocka_unit_test(test_attacks_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
