/* lib: loa_base */
/* Many clients against several server threads: every request is answered once with its own content,
 * each thread has its own index, suspended requests need no thread, stopping waits for handlers and
 * suspended requests. For ThreadSanitizer, too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/unit/http_raw.h"

enum { CLIENTS = 4, REQUESTS = 300, THREADS = 3 };

/* Used by the thread of this index only: no lock, so that a wrong index is a data race. */
static struct {
    unsigned requests;
    GChecksum *scratch;
} per_thread[THREADS];

static struct rate_table *rates;

static void handle_echo(struct http_request *request, void *user)
{
    unsigned thread = http_request_thread(request);
    size_t len;
    unsigned wait_s;
    const char *body = http_request_body(request, &len);
    (void)user;
    assert_true(thread < THREADS);
    per_thread[thread].requests++;
    g_checksum_reset(per_thread[thread].scratch);
    g_checksum_update(per_thread[thread].scratch, (const guchar *)body, (gssize)len);
    (void)!rate_table_take(rates, http_request_address(request), 0, &wait_s);
    g_autofree char *text = g_strdup_printf("%s %s", http_request_segment(request, 0),
                                            g_checksum_get_string(per_thread[thread].scratch));
    http_reply_header(request, "X-Thread", "1");
    http_reply(request, 200, "text/plain", text, strlen(text));
}

static void handle_fail(struct http_request *request, void *user)
{
    g_autoptr(GError) error = g_error_new(LOA_ERROR, LOA_ERROR_INVALID, "wrong %d", 7);
    (void)user;
    http_reply_error(request, error);
}

static const struct http_route routes[] = {
    {"POST", "/echo/{id}", "echo", 4096, handle_echo},
    {"GET", "/fail", "fail", 0, handle_fail},
};

static struct http_server_options options(const struct http_route *table, size_t n)
{
    return (struct http_server_options){.listen = "127.0.0.1:0",
                                        .threads = THREADS,
                                        .connections_max = 100,
                                        .connections_per_address = 100,
                                        .idle_timeout_s = 30,
                                        .request_timeout_s = 20,
                                        .routes = table,
                                        .n_routes = n};
}

/* One answer from a connection that stays open: head and Content-Length. Owned, NULL on failure. */
static char *read_answer(int fd)
{
    char answer[4096];
    size_t len = 0;
    while (len < sizeof answer - 1) {
        ssize_t n = recv(fd, answer + len, sizeof answer - 1 - len, 0);
        if (n <= 0)
            return NULL;
        len += (size_t)n;
        answer[len] = '\0';
        const char *end = strstr(answer, "\r\n\r\n");
        const char *size = strstr(answer, "Content-Length: ");
        if (end != NULL && size != NULL &&
            len >= (size_t)(end + 4 - answer) + strtoul(size + 16, NULL, 10))
            return g_strndup(answer, len);
    }
    return NULL;
}

struct client {
    unsigned number, port;
    unsigned good;
};

static bool one_request(struct client *client, int *fd, unsigned i)
{
    if (*fd >= 0 && i % 10 == 0) { /* sometimes a new connection */
        close(*fd);
        *fd = -1;
    }
    if (*fd < 0)
        *fd = connect_to(client->port);
    g_autofree char *body = g_strnfill(i * 7 % 3000, 'x');
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, body, -1);
    g_autofree char *wanted = g_strdup_printf("\r\n\r\n%u-%u %s", client->number, i, sum);
    g_autofree char *out =
        g_strdup_printf("POST /echo/%u-%u HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
                        client->number, i, strlen(body), body);
    if (i % 25 == 24) {
        g_free(out);
        g_free(wanted);
        out = g_strdup("GET /fail HTTP/1.1\r\nHost: a\r\n\r\n");
        wanted = g_strdup("\"detail\":\"wrong 7\"}");
    }
    if (send(*fd, out, strlen(out), MSG_NOSIGNAL) < 0)
        return false;
    g_autofree char *answer = read_answer(*fd);
    return answer != NULL && g_str_has_suffix(answer, wanted);
}

static void *run_client(void *user)
{
    struct client *client = user;
    int fd = -1;
    for (unsigned i = 0; i < REQUESTS; i++)
        client->good += one_request(client, &fd, i);
    close(fd);
    return NULL;
}

static void test_many_clients(void **state)
{
    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    struct http_server_options o = options(routes, G_N_ELEMENTS(routes));
    unsigned answered = 0;
    (void)state;
    rates = rate_table_new(10, 1, 10);
    for (size_t i = 0; i < THREADS; i++)
        per_thread[i].scratch = g_checksum_new(G_CHECKSUM_SHA256);
    struct http_server *server = http_server_start(&o, NULL);
    assert_non_null(server);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.number = i, .port = http_server_port(server)};
        pthread_create(&threads[i], NULL, run_client, &clients[i]);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].good, REQUESTS);
    }
    http_server_stop(server);
    for (size_t i = 0; i < THREADS; i++) {
        answered += per_thread[i].requests;
        g_checksum_free(per_thread[i].scratch);
    }
    assert_int_equal(answered, CLIENTS * (REQUESTS - REQUESTS / 25));
    rate_table_free(rates);
}

/* A handler that runs until it is allowed to end. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool running, may_end;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void handle_slow(struct http_request *request, void *user)
{
    (void)user;
    pthread_mutex_lock(&gate.mutex);
    gate.running = true;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.may_end)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
    http_reply(request, 200, "text/plain", "ended", 5);
}

static void *stop_server(void *user)
{
    http_server_stop(user);
    return NULL;
}

/* Until a new request is told that the server is stopping. */
static void wait_until_stopping(unsigned port)
{
    static const char request[] = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    bool stopping = false;
    while (!stopping) {
        int fd = connect_to(port);
        assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
        g_autofree char *answer = read_answer(fd);
        assert_non_null(answer);
        stopping = g_str_has_prefix(answer, "HTTP/1.1 503 ");
        close(fd);
    }
}

static void test_stop_waits(void **state)
{
    static const struct http_route slow[] = {{"GET", "/slow", "slow", 0, handle_slow}};
    static const char request[] = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_server_options o = options(slow, 1);
    pthread_t stopper;
    (void)state;
    struct http_server *server = http_server_start(&o, NULL);
    assert_non_null(server);
    int fd = connect_to(http_server_port(server));
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    pthread_mutex_lock(&gate.mutex);
    while (!gate.running)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
    /* A request that never becomes complete is not waited for. */
    unsigned port = http_server_port(server);
    int half = connect_to(port);
    assert_int_equal(send(half, request, strlen(request) / 2, 0), strlen(request) / 2);
    int64_t before = clock_system()->mono_us(clock_system());
    pthread_create(&stopper, NULL, stop_server, server);
    wait_until_stopping(port);
    pthread_mutex_lock(&gate.mutex);
    gate.may_end = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
    g_autofree char *answer = read_answer(fd);
    pthread_join(stopper, NULL);
    assert_non_null(answer);
    assert_true(g_str_has_suffix(answer, "\r\n\r\nended"));
    assert_in_range(clock_system()->mono_us(clock_system()) - before, 0, 4 * USEC_PER_SEC);
    close(half);
    close(fd);
}

/* ---- suspended requests ---- */

enum { SLEEPERS = 40 };

/* Requests that wait, in the order of their coming; a helper thread resumes them. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct http_request *requests[SLEEPERS];
    unsigned suspended, answered, freed;
} bed = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void answer_sleeper(struct http_request *request, void *data)
{
    g_autofree char *text = g_strdup_printf("awake %s", http_request_segment(request, 0));
    (void)data;
    assert_true(http_request_thread(request) < THREADS);
    pthread_mutex_lock(&bed.mutex);
    bed.answered++;
    pthread_mutex_unlock(&bed.mutex);
    http_reply(request, 200, "text/plain", text, strlen(text));
}

static void free_sleeper(void *data)
{
    pthread_mutex_lock(&bed.mutex);
    bed.freed++;
    pthread_cond_broadcast(&bed.changed);
    pthread_mutex_unlock(&bed.mutex);
    g_free(data);
}

static void handle_sleep(struct http_request *request, void *user)
{
    (void)user;
    http_request_suspend(request, answer_sleeper, g_malloc(1), free_sleeper);
    pthread_mutex_lock(&bed.mutex);
    bed.requests[bed.suspended++] = request;
    pthread_cond_broadcast(&bed.changed);
    pthread_mutex_unlock(&bed.mutex);
}

/* Resumed by another thread before the handler has returned. */
static void *resume_one(void *request)
{
    http_request_resume(request);
    return NULL;
}

static void handle_nap(struct http_request *request, void *user)
{
    pthread_t thread;
    (void)user;
    http_request_suspend(request, answer_sleeper, g_malloc(1), free_sleeper);
    pthread_create(&thread, NULL, resume_one, request);
    pthread_join(thread, NULL);
}

static const struct http_route sleepy[] = {
    {"POST", "/sleep/{id}", "sleep", 100, handle_sleep},
    {"GET", "/nap/{id}", "nap", 0, handle_nap},
};

static void wait_for(const unsigned *counter, unsigned n)
{
    pthread_mutex_lock(&bed.mutex);
    while (*counter < n)
        pthread_cond_wait(&bed.changed, &bed.mutex);
    pthread_mutex_unlock(&bed.mutex);
}

static void resume_all(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        http_request_resume(bed.requests[i]);
}

static int fall_asleep(unsigned port, unsigned id)
{
    g_autofree char *out =
        g_strdup_printf("POST /sleep/%u HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", id);
    int fd = connect_to(port);
    assert_int_equal(send(fd, out, strlen(out), MSG_NOSIGNAL), strlen(out));
    return fd;
}

/* More requests wait than there are threads; each gets its own answer, on a connection that can be
 * used again. */
static void test_suspended(void **state)
{
    struct http_server_options o = options(sleepy, G_N_ELEMENTS(sleepy));
    static const char nap[] = "GET /nap/7 HTTP/1.1\r\nHost: a\r\n\r\n";
    int fds[SLEEPERS];
    (void)state;
    bed.suspended = bed.answered = bed.freed = 0;
    struct http_server *server = http_server_start(&o, NULL);
    assert_non_null(server);
    for (unsigned i = 0; i < SLEEPERS; i++)
        fds[i] = fall_asleep(http_server_port(server), i);
    wait_for(&bed.suspended, SLEEPERS);
    assert_int_equal(bed.answered, 0);
    resume_all(SLEEPERS);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        g_autofree char *answer = read_answer(fds[i]);
        g_autofree char *wanted = g_strdup_printf("\r\n\r\nawake %u", i);
        assert_non_null(answer);
        assert_true(g_str_has_suffix(answer, wanted));
        assert_int_equal(send(fds[i], nap, strlen(nap), MSG_NOSIGNAL), strlen(nap));
        g_autofree char *again = read_answer(fds[i]);
        assert_non_null(again);
        assert_true(g_str_has_suffix(again, "\r\n\r\nawake 7"));
        close(fds[i]);
    }
    http_server_stop(server);
    assert_int_equal(bed.answered, 2 * SLEEPERS);
    assert_int_equal(bed.freed, 2 * SLEEPERS);
}

/* Clients that go away while they wait; bytes sent ahead are not taken for the waiting request's.
 */
static void test_suspended_client_leaves(void **state)
{
    struct http_server_options o = options(sleepy, G_N_ELEMENTS(sleepy));
    static const char ahead[] = "GET /nap/8 HTTP/1.1\r\nHost: a\r\n\r\n";
    struct linger reset = {.l_onoff = 1};
    int fds[SLEEPERS];
    (void)state;
    bed.suspended = bed.answered = bed.freed = 0;
    struct http_server *server = http_server_start(&o, NULL);
    assert_non_null(server);
    for (unsigned i = 0; i < SLEEPERS; i++)
        fds[i] = fall_asleep(http_server_port(server), i);
    wait_for(&bed.suspended, SLEEPERS);
    for (unsigned i = 1; i < SLEEPERS; i++) {
        if (i % 2 == 0)
            setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fds[i]);
    }
    assert_int_equal(send(fds[0], ahead, strlen(ahead), MSG_NOSIGNAL), strlen(ahead));
    resume_all(SLEEPERS);
    g_autofree char *first = read_answer(fds[0]);
    assert_non_null(first);
    assert_non_null(strstr(first, "\r\n\r\nawake 0"));
    wait_for(&bed.freed, SLEEPERS);
    close(fds[0]);
    http_server_stop(server);
}

/* Stopping waits for what is suspended, and answers it. */
static void test_stop_waits_for_suspended(void **state)
{
    struct http_server_options o = options(sleepy, G_N_ELEMENTS(sleepy));
    int fds[SLEEPERS];
    pthread_t stopper;
    (void)state;
    bed.suspended = bed.answered = bed.freed = 0;
    struct http_server *server = http_server_start(&o, NULL);
    assert_non_null(server);
    unsigned port = http_server_port(server);
    for (unsigned i = 0; i < SLEEPERS; i++)
        fds[i] = fall_asleep(port, i);
    wait_for(&bed.suspended, SLEEPERS);
    pthread_create(&stopper, NULL, stop_server, server);
    wait_until_stopping(port);
    assert_int_equal(bed.answered, 0);
    resume_all(SLEEPERS);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        g_autofree char *answer = read_answer(fds[i]);
        assert_non_null(answer);
        assert_true(g_str_has_prefix(answer, "HTTP/1.1 200 "));
        close(fds[i]);
    }
    pthread_join(stopper, NULL);
    assert_int_equal(bed.freed, SLEEPERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_clients),
        cmocka_unit_test(test_stop_waits),
        cmocka_unit_test(test_suspended),
        cmocka_unit_test(test_suspended_client_leaves),
        cmocka_unit_test(test_stop_waits_for_suspended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
