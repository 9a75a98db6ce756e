/* lib: loa_base */
/* HTTPS calls against a real TLS server: answers, limits, and what each failure is called. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_client.h"
#include "tests/unit/tls_peer.h"

#define BODY_MAX (64 * 1024)

static char *pki;
static int redirected; /* atomic: requests for /target */

static int make_pki(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    pki = pki_make();
    return pki == NULL;
}

static int remove_pki(void **state)
{
    (void)state;
    pki_remove(pki);
    return 0;
}

/* Reads head and body of one request. */
static void read_request(SSL *ssl, GString *request)
{
    char piece[4096];
    int n;
    size_t whole = SIZE_MAX;
    while (request->len < whole && (n = SSL_read(ssl, piece, sizeof piece)) > 0) {
        g_string_append_len(request, piece, n);
        const char *end = strstr(request->str, "\r\n\r\n");
        const char *length = strstr(request->str, "Content-Length: ");
        if (end != NULL)
            whole = (size_t)(end + 4 - request->str) +
                    (length != NULL ? (size_t)g_ascii_strtoull(length + 16, NULL, 10) : 0);
    }
}

static void write_all(SSL *ssl, const char *data, size_t len)
{
    size_t done;
    (void)!SSL_write_ex(ssl, data, len, &done);
}

/* The path says what the server does. */
static void serve(SSL *ssl)
{
    g_autoptr(GString) request = g_string_new(NULL);
    g_autoptr(GString) reply = g_string_new("HTTP/1.1 200 OK\r\nConnection: close\r\n");
    char byte;
    read_request(ssl, request);
    if (strstr(request->str, " /close ") != NULL)
        return;
    if (strstr(request->str, " /silent ") != NULL) {
        (void)!SSL_read(ssl, &byte, 1); /* until the client gives up */
        return;
    }
    if (strstr(request->str, " /target ") != NULL)
        __atomic_add_fetch(&redirected, 1, __ATOMIC_SEQ_CST);
    if (strstr(request->str, " /redirect ") != NULL) {
        g_string_assign(reply, "HTTP/1.1 302 Found\r\nLocation: /target\r\nConnection: close\r\n"
                               "Content-Length: 0\r\n\r\n");
    } else if (strstr(request->str, " /busy ") != NULL) {
        g_string_assign(reply, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n"
                               "Connection: close\r\nContent-Length: 0\r\n\r\n");
    } else if (strstr(request->str, " /long ") != NULL) {
        g_string_assign(reply, "HTTP/1.1 503 Later\r\nRetry-After: 999999\r\n"
                               "Connection: close\r\nContent-Length: 0\r\n\r\n");
    } else if (strstr(request->str, " /missing ") != NULL) {
        g_string_assign(reply, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n"
                               "Content-Length: 4\r\n\r\nnone");
    } else if (strstr(request->str, " /half ") != NULL) {
        g_string_append(reply, "Content-Length: 100\r\n\r\nhalf");
    } else if (strstr(request->str, " /full ") != NULL ||
               strstr(request->str, " /large ") != NULL) {
        size_t len = BODY_MAX + (strstr(request->str, " /large ") != NULL ? 1 : 0);
        g_autofree char *body = g_strnfill(len, 'x');
        g_string_append_printf(reply, "Content-Length: %zu\r\n\r\n%s", len, body);
    } else {
        g_string_append_printf(reply, "Content-Length: %zu\r\n\r\n%s", request->len, request->str);
    }
    write_all(ssl, reply->str, reply->len);
}

struct answer {
    bool done;
    long status;
    char *body;
    size_t body_len;
    int64_t retry_after_s;
    GError *error;
};

static void on_answer(const struct http_client_response *response, void *user)
{
    struct answer *answer = user;
    assert_false(answer->done);
    answer->done = true;
    answer->status = response->status;
    answer->body = g_strndup(response->body, response->body_len);
    answer->body_len = response->body_len;
    answer->retry_after_s = response->retry_after_s;
    answer->error = response->error != NULL ? g_error_copy(response->error) : NULL;
}

static void wait_for(const struct answer *answer)
{
    int64_t limit = clock_system()->mono_us(clock_system()) + 15 * USEC_PER_SEC;
    while (!answer->done && clock_system()->mono_us(clock_system()) < limit)
        g_main_context_iteration(NULL, TRUE);
    assert_true(answer->done);
}

static void answer_clear(struct answer *answer)
{
    g_free(answer->body);
    g_clear_error(&answer->error);
    memset(answer, 0, sizeof *answer);
}

static struct http_client *trusting_client(void)
{
    g_autofree char *ca = pki_file(pki, "ca.pem");
    return http_client_new(ca);
}

static void test_answers(void **state)
{
    static const struct {
        const char *method, *path, *body;
        unsigned timeout_ms;
        int code; /* -1 = answered */
        long status;
        const char *holds; /* of body or error text */
    } cases[] = {
        {"GET", "/x?a=b", NULL, 5000, -1, 200, "GET /x?a=b HTTP/1.1\r\n"},
        {"POST", "/x", "a=b&c", 5000, -1, 200, "\r\n\r\na=b&c"},
        {"POST", "/x", NULL, 5000, -1, 200, "POST /x HTTP/1.1\r\n"},
        {"PUT", "/x", "text", 5000, -1, 200, "PUT /x HTTP/1.1\r\n"},
        {"DELETE", "/x", NULL, 5000, -1, 200, "DELETE /x HTTP/1.1\r\n"},
        {"GET", "/x", NULL, 5000, -1, 200, "X-One: 1\r\n"},
        {"GET", "/x", NULL, 5000, -1, 200, "User-Agent: loa/"},
        {"GET", "/missing", NULL, 5000, -1, 404, "none"},
        {"GET", "/redirect", NULL, 5000, -1, 302, ""},
        {"GET", "/full", NULL, 5000, -1, 200, "xxx"},
        {"GET", "/large", NULL, 5000, LOA_ERROR_UNCERTAIN, 0, "64 KiB"},
        {"GET", "/half", NULL, 5000, LOA_ERROR_UNCERTAIN, 0, "may have arrived"},
        {"POST", "/close", "x", 5000, LOA_ERROR_UNCERTAIN, 0, "may have arrived"},
        {"POST", "/silent", "x", 300, LOA_ERROR_UNCERTAIN, 0, "may have arrived"},
    };
    static const char *const headers[] = {"X-One: 1", "X-Two: 2", NULL};
    struct tls_peer peer = {.serve = serve};
    struct answer answer = {.done = false};
    loa_auto(http_client) client = trusting_client();
    (void)state;
    tls_peer_start(&peer, pki, "broker", 0, false);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *url = g_strdup_printf("https://localhost:%u%s", peer.port, cases[i].path);
        http_client_send(client, cases[i].method, url, headers, cases[i].body,
                         cases[i].body != NULL ? strlen(cases[i].body) : 0, cases[i].timeout_ms,
                         on_answer, &answer);
        assert_false(answer.done); /* never from inside the call */
        wait_for(&answer);
        bool ok = cases[i].code < 0
                      ? answer.error == NULL && strstr(answer.body, cases[i].holds) != NULL
                      : g_error_matches(answer.error, LOA_ERROR, cases[i].code) &&
                            strstr(answer.error->message, cases[i].holds) != NULL;
        if (!ok || answer.status != cases[i].status || answer.body_len > BODY_MAX)
            fail_msg("%s %s: %ld, %s", cases[i].method, cases[i].path, answer.status,
                     answer.error != NULL ? answer.error->message : "answered");
        answer_clear(&answer);
    }
    assert_int_equal(redirected, 0);
    tls_peer_stop(&peer);
}

/* Retry-After is told in seconds, at most an hour; 0 when nobody asked to wait. */
static void test_retry_after(void **state)
{
    static const struct {
        const char *path;
        long status;
        int64_t retry_after_s;
    } cases[] = {{"/busy", 429, 7}, {"/long", 503, 3600}, {"/missing", 404, 0}};
    struct tls_peer peer = {.serve = serve};
    struct answer answer = {.done = false};
    loa_auto(http_client) client = trusting_client();
    (void)state;
    tls_peer_start(&peer, pki, "broker", 0, false);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *url = g_strdup_printf("https://localhost:%u%s", peer.port, cases[i].path);
        http_client_send(client, "GET", url, NULL, NULL, 0, 5000, on_answer, &answer);
        wait_for(&answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_int_equal(answer.retry_after_s, cases[i].retry_after_s);
        answer_clear(&answer);
    }
    tls_peer_stop(&peer);
}

/* A port where nobody listens. */
static unsigned dead_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    close(fd);
    return ntohs(address.sin_port);
}

static void test_not_sent(void **state)
{
    static const struct {
        const char *cert; /* of the server; NULL = nobody listens */
        const char *ca;   /* "" = the system's */
        const char *url;  /* with the port put in */
        const char *header;
        int code;
        const char *says;
    } cases[] = {
        {NULL, "ca.pem", "https://127.0.0.1:%u/", NULL, LOA_ERROR_RETRY, "127.0.0.1"},
        {NULL, "ca.pem", "https://no.such.host.invalid:%u/", NULL, LOA_ERROR_RETRY, "no.such.host"},
        {"broker", "ca.pem", "https://127.0.0.2:%u/", NULL, LOA_ERROR_RETRY, "127.0.0.2"},
        {"untrusted", "ca.pem", "https://localhost:%u/", NULL, LOA_ERROR_DENIED, "certificate"},
        {"broker", "untrusted-ca.pem", "https://localhost:%u/", NULL, LOA_ERROR_DENIED,
         "certificate of localhost"},
        {"broker", "", "https://localhost:%u/", NULL, LOA_ERROR_DENIED, "certificate"},
        {"broker", "missing.pem", "https://localhost:%u/", NULL, LOA_ERROR_DENIED, "certificate"},
        {"broker", "ca.pem", "https://loa.test:%u/", NULL, LOA_ERROR_RETRY, "loa.test"},
        {"broker", "ca.pem", "http://localhost:%u/", NULL, LOA_ERROR_INVALID, "https"},
        {"broker", "ca.pem", "file:///etc/passwd?%u", NULL, LOA_ERROR_INVALID, "https"},
        {"broker", "ca.pem", "https://%u:x/", NULL, LOA_ERROR_INVALID, ""},
        {"broker", "ca.pem", "https://localhost:%u/", "X-A: b\r\nX-C: d", LOA_ERROR_INVALID, ""},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct tls_peer peer = {.serve = serve};
        struct answer answer = {.done = false};
        const char *headers[] = {cases[i].header, NULL};
        g_autofree char *ca = pki_file(pki, cases[i].ca);
        if (cases[i].cert != NULL)
            tls_peer_start(&peer, pki, cases[i].cert, 0, false);
        unsigned port = cases[i].cert != NULL ? peer.port : dead_port();
        g_autofree char *number = g_strdup_printf("%u", port);
        g_auto(GStrv) parts = g_strsplit(cases[i].url, "%u", 2);
        g_autofree char *url = g_strjoinv(number, parts);
        loa_auto(http_client) client = http_client_new(*cases[i].ca != '\0' ? ca : NULL);
        http_client_send(client, "GET", url, headers, NULL, 0, 10000, on_answer, &answer);
        wait_for(&answer);
        if (!g_error_matches(answer.error, LOA_ERROR, cases[i].code) ||
            strstr(answer.error->message, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].url,
                     answer.error != NULL ? answer.error->message : "answered");
        assert_int_equal(answer.status, 0);
        answer_clear(&answer);
        if (cases[i].cert != NULL)
            tls_peer_stop(&peer);
    }
}

/* A name that is not in the certificate, on an address that answers. */
static void test_wrong_name(void **state)
{
    struct tls_peer peer = {.serve = serve};
    struct answer answer = {.done = false};
    loa_auto(http_client) client = trusting_client();
    (void)state;
    tls_peer_start(&peer, pki, "broker", 0, false);
    g_autofree char *url = g_strdup_printf("https://0:%u/", peer.port); /* 0 = this machine */
    http_client_send(client, "GET", url, NULL, NULL, 0, 5000, on_answer, &answer);
    wait_for(&answer);
    assert_true(g_error_matches(answer.error, LOA_ERROR, LOA_ERROR_DENIED));
    answer_clear(&answer);
    tls_peer_stop(&peer);
}

static void test_many_at_once(void **state)
{
    enum { CALLS = 20 };
    struct tls_peer peer = {.serve = serve};
    struct answer answers[CALLS] = {{.done = false}};
    loa_auto(http_client) client = trusting_client();
    (void)state;
    tls_peer_start(&peer, pki, "broker", 0, false);
    g_autofree char *url = g_strdup_printf("https://localhost:%u/x", peer.port);
    for (size_t i = 0; i < CALLS; i++)
        http_client_send(client, "GET", url, NULL, NULL, 0, 10000, on_answer, &answers[i]);
    for (size_t i = 0; i < CALLS; i++) {
        wait_for(&answers[i]);
        assert_int_equal(answers[i].status, 200);
        answer_clear(&answers[i]);
    }
    tls_peer_stop(&peer);
}

/* The callback may do anything: another call, or the end of the client. */
struct chain {
    struct http_client *client;
    const char *url;
    unsigned calls;
    bool over;
};

static void on_chain(const struct http_client_response *response, void *user)
{
    struct chain *chain = user;
    assert_int_equal(response->status, 200);
    chain->calls++;
    if (chain->calls < 3) {
        http_client_send(chain->client, "GET", chain->url, NULL, NULL, 0, 5000, on_chain, chain);
        return;
    }
    http_client_send(chain->client, "GET", chain->url, NULL, NULL, 0, 5000, on_chain, chain);
    http_client_free(chain->client);
    chain->over = true;
}

static void test_calls_from_callback(void **state)
{
    struct tls_peer peer = {.serve = serve};
    (void)state;
    tls_peer_start(&peer, pki, "broker", 0, false);
    g_autofree char *url = g_strdup_printf("https://localhost:%u/x", peer.port);
    struct chain chain = {.client = trusting_client(), .url = url};
    http_client_send(chain.client, "GET", url, NULL, NULL, 0, 5000, on_chain, &chain);
    while (!chain.over)
        g_main_context_iteration(NULL, TRUE);
    assert_int_equal(chain.calls, 3);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    assert_int_equal(chain.calls, 3);
    tls_peer_stop(&peer);
}

/* Freed with calls under way and answers not yet delivered: no callback comes. */
static void test_free_with_pending(void **state)
{
    struct tls_peer peer = {.serve = serve};
    struct answer silent = {.done = false}, refused = {.done = false};
    (void)state;
    tls_peer_start(&peer, pki, "broker", 0, false);
    g_autofree char *url = g_strdup_printf("https://localhost:%u/silent", peer.port);
    struct http_client *client = trusting_client();
    http_client_send(client, "POST", url, NULL, "x", 1, 60000, on_answer, &silent);
    http_client_send(client, "GET", "not a URL at all\n", NULL, NULL, 0, 100, on_answer, &refused);
    while (g_main_context_iteration(NULL, FALSE) && !refused.done)
        ;
    http_client_free(client);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    assert_false(silent.done);
    answer_clear(&refused);
    tls_peer_stop(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),           cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_not_sent),          cmocka_unit_test(test_wrong_name),
        cmocka_unit_test(test_many_at_once),      cmocka_unit_test(test_calls_from_callback),
        cmocka_unit_test(test_free_with_pending),
    };
    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
