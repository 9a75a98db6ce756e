/* lib: loa_base */
/* The HTTP server over real sockets: limits of every kind, what its answers look like, listening.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/metrics.h"
#include "tests/unit/http_raw.h"

#define POST     "POST /echo HTTP/1.1\r\nHost: a\r\n"
#define GET      "GET /hello HTTP/1.1\r\nHost: a\r\n"
#define LAST     "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define ECHO_MAX 1000

static int echo_hits, hello_hits; /* atomic: handlers may run on other threads */

static void count(int *hits)
{
    __atomic_add_fetch(hits, 1, __ATOMIC_SEQ_CST);
}

static int hits(const int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
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
    g_set_error(&error, LOA_ERROR,
                (gint)g_ascii_strtoll(http_request_segment(request, 0), NULL, 10),
                "secret \"cause\"");
    http_reply_error(request, error);
}

/* As db_error.c writes it. */
static void handle_database_error(struct http_request *request, void *user)
{
    g_autoptr(GError) error = NULL;
    (void)user;
    g_set_error(&error, LOA_ERROR,
                (gint)g_ascii_strtoll(http_request_segment(request, 0), NULL, 10),
                "index row of secret [54000]");
    http_reply_error(request, error);
}

static const struct http_route routes[] = {
    {"GET", "/hello", "hello", 0, handle_hello},
    {"POST", "/echo", "echo", ECHO_MAX, handle_echo},
    {"GET", "/items/{id}", "item_show", 0, handle_item},
    {"DELETE", "/items/{id}", "item_delete", 0, handle_item},
    {"GET", "/error/{code}", "error", 0, handle_error},
    {"GET", "/database/{code}", "database", 0, handle_database_error},
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
    echo_hits = hello_hits = 0;
    return server;
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
        {"GET /database/0", "", 503, {"Retry-After: 5\r\n"}, "secret"},
        {"GET /database/2", "", 500, {"urn:loa:problem:internal"}, "secret"},
        {"GET /database/4", "", 409, {"urn:loa:problem:conflict"}, "secret"},
        {"GET /database/5", "", 500, {"urn:loa:problem:internal"}, "secret"},
        {"GET /database/6", "", 500, {"urn:loa:problem:internal"}, "secret"},
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
        options.request_timeout_s = 1;
        options.idle_timeout_s = 3; /* later: an idle connection is closed without a word */
        loa_auto(http_server) server = start(options);
        g_autofree struct exchange *x = g_new0(struct exchange, G_N_ELEMENTS(cases));
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
            x[i].port = http_server_port(server);
            x[i].out = cases[i].bytes;
            x[i].out_len = strlen(cases[i].bytes);
            x[i].piece = cases[i].piece;
            x[i].drip_ms = cases[i].drip_ms;
            exchange_start(&x[i]);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
            exchange_finish(&x[i]);
            if (!x[i].closed || status_of(x[i].in) != cases[i].status ||
                x[i].took_us > 6 * USEC_PER_SEC)
                fail_msg("case %zu: wanted %u after a second, %d ms, got %s", i, cases[i].status,
                         (int)(x[i].took_us / USEC_PER_MSEC), x[i].in);
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
