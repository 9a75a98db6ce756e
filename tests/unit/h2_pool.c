/* lib: loa_h2 */
/* Connections against a server that follows a script frame by frame: whatever it does, every
 * request is completed exactly once, and with the right certainty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "h2/pool.h"
#include "tests/unit/h2_peer.h"

#define BODY_TAIL ",\"data\":{}}"

static char *pki;

struct run {
    struct peer *peer;
    struct h2_pool *pool;
    unsigned to_send, sent, done;
    unsigned outcomes[H2_UNUSABLE + 1];
    unsigned served;    /* what the server has answered */
    bool again;         /* NOT_SENT requests are sent again */
    bool sending;       /* inside h2_pool_send */
    bool prove;         /* an answer proves the slot */
    unsigned step;      /* of a script */
    const char *reason; /* of the last request without an answer */
    char *refused;
    unsigned refusals;
    uint8_t *completed; /* per request, how often */
    char last_body[H2_ANSWER_BODY_MAX + 1];
    char last_retry_after[H2_ANSWER_TEXT_MAX], last_apns_id[H2_ANSWER_TEXT_MAX];
};

static void fill(struct run *run);

static void on_done(const struct h2_answer *answer, void *owner, void *item)
{
    struct run *run = owner;
    unsigned number = GPOINTER_TO_UINT(item);

    assert_false(run->sending);
    assert_int_equal(answer->tag, number ^ 0x5a5a);
    run->outcomes[answer->outcome]++;
    if (answer->outcome != H2_ANSWERED)
        run->reason = answer->reason;
    else if (run->prove)
        h2_pool_prove(run->pool, 0);
    g_strlcpy(run->last_body, answer->body, sizeof run->last_body);
    g_strlcpy(run->last_retry_after, answer->retry_after, sizeof run->last_retry_after);
    g_strlcpy(run->last_apns_id, answer->apns_id, sizeof run->last_apns_id);
    if (answer->outcome == H2_NOT_SENT && run->again) {
        run->to_send++;
        return;
    }
    run->completed[number]++;
    run->done++;
}

static void send_one(struct run *run, unsigned slot)
{
    static const char head[] = "{\"message\":{\"token\":\"";
    static const char token[] = "abcdefgh", tail[] = "\"}" BODY_TAIL;
    char path[32];
    struct h2_request request = {
        .body = {{head, sizeof head - 1}, {token, sizeof token - 1}, {tail, sizeof tail - 1}},
        .n_pieces = 3,
        .tag = run->sent ^ 0x5a5a,
        .done = on_done,
        .owner = run,
        .item = GUINT_TO_POINTER(run->sent)};
    struct h2_header headers[] = {
        {":method", "POST", 7, 4, H2_INDEX, false},
        {":scheme", "https", 7, 5, H2_INDEX, false},
        {":authority", "localhost", 10, 9, H2_INDEX, false},
        {":path", path, 5, 0, H2_INDEX_NEVER, true},
        {"authorization", "bearer secret", 13, 13, H2_INDEX_NEVER, true},
        {"apns-id", "id", 7, 2, H2_INDEX_FIRST, false},
        {"apns-topic", "vn.gov", 10, 6, H2_INDEX, false},
    };

    g_snprintf(path, sizeof path, "/3/device/%u", run->sent);
    headers[3].value_len = (uint16_t)strlen(path);
    request.headers = headers;
    request.n_headers = G_N_ELEMENTS(headers);
    run->completed = g_realloc(run->completed, run->sent + 1);
    run->completed[run->sent++] = 0;
    run->to_send--;
    run->sending = true;
    h2_pool_send(run->pool, slot, &request);
    run->sending = false;
}

static void fill(struct run *run)
{
    for (unsigned slot = 0; slot < h2_pool_slots(run->pool); slot++)
        while (run->to_send > 0 && h2_pool_room(run->pool, slot) > 0)
            send_one(run, slot);
    h2_pool_flush(run->pool);
}

static void on_room(void *user)
{
    fill(user);
}

static void on_refused(const char *reason, void *user)
{
    struct run *run = user;

    g_free(run->refused);
    run->refused = g_strdup(reason);
    run->refusals++;
}

static void drop_log(enum log_level level, const char *event, const char *line, void *user)
{
    (void)level, (void)event, (void)line, (void)user;
}

/* A server of the script and a pool that connects to it; the rest of config is as the test says. */
static void begin(struct run *run, void (*script)(struct peer_request *, void *),
                  struct h2_config config)
{
    g_autofree char *endpoint = NULL, *ca = pki_file(pki, "ca.pem");
    g_autoptr(GError) error = NULL;

    if (run->peer == NULL)
        run->peer = peer_new("127.0.0.1", pki, "broker");
    run->peer->on_request = script;
    run->peer->user = run;
    endpoint = g_strdup_printf("localhost:%u", run->peer->port);
    config.name = "test";
    if (config.endpoint == NULL)
        config.endpoint = endpoint;
    config.ca_file = ca;
    config.connections = MAX(config.connections, 1);
    config.streams_max = config.streams_max != 0 ? config.streams_max : 100;
    config.timeout_ms = config.timeout_ms != 0 ? config.timeout_ms : 9000;
    config.copy_max = 64;
    config.clock = clock_system();
    config.on_room = on_room;
    config.on_refused = on_refused;
    config.user = run;
    run->pool = h2_pool_new(&config, &error);
    assert_null(error);
    h2_pool_start(run->pool);
}

static void end(struct run *run)
{
    h2_pool_free(run->pool);
    peer_free(run->peer);
    assert_int_equal(run->done, run->outcomes[H2_ANSWERED] + run->outcomes[H2_UNCERTAIN] +
                                    run->outcomes[H2_UNUSABLE] +
                                    (run->again ? 0 : run->outcomes[H2_NOT_SENT]));
    for (unsigned i = 0; i < run->sent; i++)
        assert_true(run->completed[i] == 1 || (run->again && run->completed[i] == 0));
    g_free(run->completed);
    g_free(run->refused);
    /* The resolver's last answers. */
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

/* ---- the good way ---- */

static void serve_checked(struct peer_request *request, void *user)
{
    static const char *const headers[] = {"apns-id", "0f0e", "retry-after", "7", NULL};
    struct run *run = user;
    bool first = request->conn->requests == 1;

    assert_string_equal(peer_header(request, ":method"), "POST");
    assert_true(g_str_has_prefix(peer_header(request, ":path"), "/3/device/"));
    assert_string_equal(peer_header(request, "authorization"), "bearer secret");
    assert_string_equal(peer_header(request, "apns-topic"), "vn.gov");
    assert_string_equal(request->body->str, "{\"message\":{\"token\":\"abcdefgh\"}" BODY_TAIL);
    assert_true(request->headers[3].never_indexed);              /* :path */
    assert_true(request->headers[4].never_indexed);              /* authorization */
    assert_false(request->headers[6].never_indexed);             /* apns-topic */
    assert_int_equal(request->headers[5].never_indexed, !first); /* apns-id */
    run->served++;
    peer_answer(request, "200", "{\"name\":\"projects/p/messages/1\"}", headers);
}

static void test_many_requests_arrive_whole_within_the_limits(void **state)
{
    struct run run = {.to_send = 3000};

    (void)state;
    run.peer = peer_new("127.0.0.1", pki, "broker");
    run.peer->max_streams = 40;
    begin(&run, serve_checked, (struct h2_config){.connections = 2});
    PEER_WAIT_UNTIL(run.done == 3000);
    assert_int_equal(run.outcomes[H2_ANSWERED], 3000);
    assert_int_equal(run.served, 3000);
    assert_int_equal(run.peer->connections, 2);
    assert_true(run.peer->most_open >= 40 && run.peer->most_open <= 80); /* 40 on each */
    assert_string_equal(run.last_body, "{\"name\":\"projects/p/messages/1\"}");
    assert_string_equal(run.last_retry_after, "7");
    assert_string_equal(run.last_apns_id, "0f0e");
    assert_int_equal(h2_pool_in_flight(run.pool, 0), 0);
    assert_string_equal(h2_pool_trouble(run.pool), "");
    end(&run);
}

static void serve_long(struct peer_request *request, void *user)
{
    static char body[20001];

    (void)user;
    memset(body, 'x', sizeof body - 1);
    peer_answer(request, "400", body, NULL);
}

static void test_a_long_answer_is_cut(void **state)
{
    struct run run = {.to_send = 50};

    (void)state;
    begin(&run, serve_long, (struct h2_config){.streams_max = 50});
    PEER_WAIT_UNTIL(run.done == 50);
    assert_int_equal(run.outcomes[H2_ANSWERED], 50);
    assert_int_equal(strlen(run.last_body), H2_ANSWER_BODY_MAX);
    end(&run);
}

static void serve(struct peer_request *request, void *user)
{
    struct run *run = user;

    run->served++;
    peer_answer(request, "200", "", NULL);
}

static void test_one_request_at_a_time_until_proven(void **state)
{
    struct run run = {.to_send = 20};

    (void)state;
    begin(&run, serve, (struct h2_config){.one_until_proven = true});
    PEER_WAIT_UNTIL(run.done == 20);
    assert_int_equal(run.peer->most_open, 1);
    run.prove = true;
    run.to_send = 200;
    fill(&run);
    PEER_WAIT_UNTIL(run.done == 220);
    assert_int_equal(run.peer->most_open, 100);
    end(&run);
}

/* ---- the peer's limits and endings ---- */

/* Streams allowed: 1, then 50 from the 10th request on, then 2 from the 300th on. */
static void serve_changing(struct peer_request *request, void *user)
{
    struct run *run = user;

    if (++run->served == 10)
        peer_settings(request->conn, 50);
    if (run->served == 300)
        peer_settings(request->conn, 2);
    if (run->served == 10)
        assert_int_equal(run->peer->most_open, 1);
    if (run->served == 300)
        assert_int_equal(run->peer->most_open, 50);
    if (run->served == 400)
        run->peer->most_open = run->peer->open;
    peer_answer(request, "200", "", NULL);
}

static void test_settings_count_at_once_up_and_down(void **state)
{
    struct run run = {.to_send = 500};

    (void)state;
    run.peer = peer_new("127.0.0.1", pki, "broker");
    run.peer->max_streams = 1;
    begin(&run, serve_changing, (struct h2_config){.connections = 1});
    PEER_WAIT_UNTIL(run.done == 500);
    assert_int_equal(run.outcomes[H2_ANSWERED], 500);
    assert_int_equal(run.peer->most_open, 2);
    assert_int_equal(h2_pool_room(run.pool, 0), 2);
    assert_int_equal(run.peer->connections, 1);
    end(&run);
}

/* Every connection says GOAWAY at its 100th request and answers none above it. */
static void serve_goaway(struct peer_request *request, void *user)
{
    struct run *run = user;

    if (request->conn->requests > 100)
        return;
    if (request->conn->requests == 100)
        peer_goaway(request->conn, request->stream_id, NGHTTP2_NO_ERROR,
                    "{\"reason\":\"Shutdown\"}");
    run->served++;
    peer_answer(request, "200", "", NULL);
}

static void test_goaway_loses_and_repeats_nothing(void **state)
{
    struct run run = {.to_send = 1000, .again = true};

    (void)state;
    begin(&run, serve_goaway, (struct h2_config){.streams_max = 64});
    PEER_WAIT_UNTIL(run.done == 1000);
    assert_int_equal(run.outcomes[H2_ANSWERED], 1000);
    assert_int_equal(run.served, 1000);
    assert_int_equal(run.outcomes[H2_UNCERTAIN], 0);
    assert_true(run.outcomes[H2_NOT_SENT] > 0);
    assert_int_equal(run.peer->connections, 10);
    end(&run);
}

static void serve_goaway_error(struct peer_request *request, void *user)
{
    (void)user;
    peer_goaway(request->conn, 0, NGHTTP2_ENHANCE_YOUR_CALM, "");
}

/* Only a graceful GOAWAY is followed by an immediate connection. */
static void test_goaway_with_an_error_waits(void **state)
{
    struct run run = {.to_send = 5};
    gint64 until;

    (void)state;
    begin(&run, serve_goaway_error, (struct h2_config){.streams_max = 64});
    PEER_WAIT_UNTIL(run.done == 5);
    assert_int_equal(run.outcomes[H2_NOT_SENT], 5);
    assert_string_equal(run.reason, "goaway");
    until = g_get_monotonic_time() + 200 * 1000;
    PEER_WAIT_UNTIL(g_get_monotonic_time() > until);
    assert_int_equal(run.peer->connections, 1);
    end(&run);
}

static void serve_refusing(struct peer_request *request, void *user)
{
    struct run *run = user;

    if (request->stream_id % 6 == 1) {
        peer_reset(request, NGHTTP2_REFUSED_STREAM);
        return;
    }
    run->served++;
    peer_answer(request, "200", "", NULL);
}

static void test_refused_streams_were_not_sent(void **state)
{
    struct run run = {.to_send = 300};

    (void)state;
    begin(&run, serve_refusing, (struct h2_config){.connections = 1});
    PEER_WAIT_UNTIL(run.done == 300);
    assert_int_equal(run.outcomes[H2_NOT_SENT], 100);
    assert_int_equal(run.outcomes[H2_ANSWERED], 200);
    assert_string_equal(run.reason, "refused_stream");
    end(&run);
}

static void serve_resetting(struct peer_request *request, void *user)
{
    (void)user;
    if (request->stream_id % 4 == 1)
        peer_reset(request, NGHTTP2_INTERNAL_ERROR);
    else
        peer_answer(request, "200", "", NULL);
}

static void test_reset_streams_are_uncertain(void **state)
{
    struct run run = {.to_send = 300};

    (void)state;
    begin(&run, serve_resetting, (struct h2_config){.connections = 1});
    PEER_WAIT_UNTIL(run.done == 300);
    assert_int_equal(run.outcomes[H2_UNCERTAIN], 150);
    assert_string_equal(run.reason, "stream_reset");
    assert_int_equal(run.peer->connections, 1);
    end(&run);
}

/* The first connection dies at its 50th request, after 49 answers that are still in its buffer. */
static void serve_dying(struct peer_request *request, void *user)
{
    struct run *run = user;

    if (run->step == 0 && request->conn->requests == 50) {
        run->step = 1;
        request->conn->close_flushed = true;
    } else if (run->step == 1 && request->conn->close_flushed) {
        return;
    } else {
        run->served++;
        peer_answer(request, "200", "", NULL);
    }
}

static void test_a_closed_connection_is_uncertain_and_comes_back(void **state)
{
    struct run run = {.to_send = 500};

    (void)state;
    begin(&run, serve_dying, (struct h2_config){.streams_max = 60, .backoff_min_ms = 10});
    PEER_WAIT_UNTIL(run.done == 500);
    assert_int_equal(run.outcomes[H2_ANSWERED], run.served);
    assert_true(run.outcomes[H2_UNCERTAIN] >= 1);
    assert_true(run.outcomes[H2_UNCERTAIN] <= 60);
    assert_int_equal(run.peer->connections, 2);
    end(&run);
}

/* ---- no answers ---- */

static void serve_later(struct peer_request *request, void *user)
{
    struct run *run = user;

    if (run->step == 1)
        peer_answer(request, "200", "", NULL);
}

static void test_requests_without_answer_time_out_and_the_connection_stays(void **state)
{
    struct run run = {.to_send = 30};
    gint64 begun = g_get_monotonic_time();

    (void)state;
    begin(&run, serve_later, (struct h2_config){.timeout_ms = 150, .streams_max = 10});
    PEER_WAIT_UNTIL(run.done == 30); /* three rounds of ten */
    assert_true(g_get_monotonic_time() - begun >= 3 * 150 * 1000);
    assert_int_equal(run.outcomes[H2_UNCERTAIN], 30);
    assert_string_equal(run.reason, "timeout");
    run.step = 1;
    run.to_send = 50;
    fill(&run);
    PEER_WAIT_UNTIL(run.done == 80);
    assert_int_equal(run.outcomes[H2_ANSWERED], 50);
    assert_int_equal(run.peer->connections, 1);
    end(&run);
}

static void test_a_silent_peer_is_given_up(void **state)
{
    struct run run = {.to_send = 10};

    (void)state;
    run.peer = peer_new("127.0.0.1", pki, "broker");
    run.peer->deaf = true;
    begin(&run, serve, (struct h2_config){.silence_ms = 100, .backoff_min_ms = 60000});
    PEER_WAIT_UNTIL(run.done == 10);
    assert_int_equal(run.outcomes[H2_UNCERTAIN], 10);
    assert_string_equal(run.reason, "silent_peer");
    assert_true(g_str_has_prefix(h2_pool_trouble(run.pool), "silent_peer"));
    end(&run);
}

/* A dead connection is found before a request has to find it. */
static void test_an_idle_connection_is_probed(void **state)
{
    struct run run = {.to_send = 0};

    (void)state;
    run.peer = peer_new("127.0.0.1", pki, "broker");
    run.peer->deaf = true;
    begin(&run, serve, (struct h2_config){.silence_ms = 50, .idle_ping_ms = 50});
    PEER_WAIT_UNTIL(g_str_has_prefix(h2_pool_trouble(run.pool), "silent_peer"));
    end(&run);
}

/* A slow peer that answers PING keeps its connection. */
static void test_a_slow_peer_is_not_a_silent_one(void **state)
{
    struct run run = {.to_send = 10};

    (void)state;
    begin(&run, serve_later, (struct h2_config){.silence_ms = 50, .timeout_ms = 400});
    PEER_WAIT_UNTIL(run.done == 10);
    assert_string_equal(run.reason, "timeout");
    assert_int_equal(run.peer->connections, 1);
    end(&run);
}

static void test_free_completes_what_is_open(void **state)
{
    struct run run = {.to_send = 25};

    (void)state;
    begin(&run, serve_later, (struct h2_config){.streams_max = 20});
    PEER_WAIT_UNTIL(run.peer->requests == 20);
    assert_int_equal(run.done, 0);
    end(&run);
    assert_int_equal(run.outcomes[H2_UNCERTAIN], 20);
    assert_string_equal(run.reason, "connection_freed");
}

/* What the socket does not take is known to have stayed here. */
static void test_what_was_not_written_was_not_sent(void **state)
{
    static char big[12000];
    struct run run = {.to_send = 0};
    unsigned sent = 0;

    (void)state;
    memset(big, 'x', sizeof big);
    run.peer = peer_new("127.0.0.1", pki, "broker");
    run.peer->deaf = true;
    begin(&run, serve, (struct h2_config){.streams_max = 5000});
    PEER_WAIT_UNTIL(h2_pool_room(run.pool, 0) > 0);
    for (unsigned before = 0; h2_pool_room(run.pool, 0) > 0 && sent < 4000; before = sent) {
        while (sent < before + 500) {
            struct h2_header header = {":path", big, 5, sizeof big, H2_INDEX_NEVER, false};
            struct h2_request request = {.headers = &header,
                                         .n_headers = 1,
                                         .tag = sent ^ 0x5a5a,
                                         .done = on_done,
                                         .owner = &run,
                                         .item = GUINT_TO_POINTER(sent)};
            run.completed = g_realloc(run.completed, sent + 1);
            run.completed[sent++] = 0;
            h2_pool_send(run.pool, 0, &request);
        }
        h2_pool_flush(run.pool);
    }
    assert_true(h2_pool_room(run.pool, 0) == 0); /* a full socket has no room */
    run.sent = sent;
    end(&run);
    assert_true(run.outcomes[H2_UNCERTAIN] > 0);
    assert_true(run.outcomes[H2_NOT_SENT] > 0);
    assert_int_equal(run.outcomes[H2_UNCERTAIN] + run.outcomes[H2_NOT_SENT], sent);
}

static void test_send_without_connection_completes_later(void **state)
{
    struct run run = {.to_send = 2};
    struct h2_request unusable = {
        .done = on_done, .owner = &run, .tag = 1 ^ 0x5a5a, .item = GUINT_TO_POINTER(1)};

    (void)state;
    begin(&run, serve, (struct h2_config){.connections = 1});
    assert_int_equal(h2_pool_room(run.pool, 0), 0);
    send_one(&run, 0);
    assert_int_equal(run.done, 0);
    run.completed = g_realloc(run.completed, 2);
    run.completed[run.sent++] = 0;
    run.to_send = 0;
    h2_pool_settle(run.pool, 0, &unusable, H2_UNUSABLE, "malformed_token");
    assert_int_equal(run.done, 0);
    PEER_WAIT_UNTIL(run.done == 2);
    assert_int_equal(run.outcomes[H2_NOT_SENT], 1);
    assert_int_equal(run.outcomes[H2_UNUSABLE], 1);
    assert_string_equal(run.reason, "malformed_token");
    assert_int_equal(run.peer->requests, 0);
    end(&run);
}

static void test_drain_lets_open_requests_end_and_reconnects(void **state)
{
    struct run run = {.to_send = 10};

    (void)state;
    begin(&run, serve, (struct h2_config){.streams_max = 10, .backoff_min_ms = 10});
    PEER_WAIT_UNTIL(h2_pool_in_flight(run.pool, 0) == 10);
    h2_pool_drain(run.pool, 0, "Shutdown");
    assert_int_equal(h2_pool_room(run.pool, 0), 0);
    run.to_send = 10;
    PEER_WAIT_UNTIL(run.done == 20);
    assert_int_equal(run.outcomes[H2_ANSWERED], 20);
    assert_int_equal(run.peer->connections, 2);
    end(&run);
}

/* ---- trust ---- */

struct trust_case {
    const char *what;
    const char *listen, *host, *certificate;
};

static void test_an_untrusted_server_is_reported_and_left_alone(void **state)
{
    static const struct trust_case cases[] = {
        {"another authority", "127.0.0.1", "localhost", "untrusted"},
        {"another name", "127.0.0.2", "127.0.0.2", "broker"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct run run = {.to_send = 1};
        gint64 until;
        run.peer = peer_new(cases[i].listen, pki, cases[i].certificate);
        g_autofree char *endpoint = g_strdup_printf("%s:%u", cases[i].host, run.peer->port);
        begin(&run, serve, (struct h2_config){.endpoint = endpoint, .backoff_min_ms = 10});
        PEER_WAIT_UNTIL(run.refusals > 0);
        assert_true(g_str_has_prefix(run.refused, "tls_untrusted: "));
        assert_true(g_str_has_prefix(h2_pool_trouble(run.pool), "tls_untrusted: "));
        until = g_get_monotonic_time() + 300 * 1000;
        PEER_WAIT_UNTIL(g_get_monotonic_time() > until);
        assert_int_equal(run.refusals, 1); /* no hot loop */
        assert_int_equal(run.peer->requests, 0);
        assert_int_equal(run.done, 0);
        end(&run);
    }
}

static void test_a_refused_connection_is_tried_again(void **state)
{
    struct run run = {.to_send = 1};
    unsigned port;

    (void)state;
    run.peer = peer_new("127.0.0.1", pki, "broker");
    port = run.peer->port;
    close(run.peer->fd); /* nobody listens */
    run.peer->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    begin(&run, serve, (struct h2_config){.backoff_min_ms = 5, .backoff_max_ms = 20});
    PEER_WAIT_UNTIL(g_str_has_prefix(h2_pool_trouble(run.pool), "connection_lost"));
    peer_free(run.peer);
    run.peer = peer_new_at("127.0.0.1", port, pki, "broker");
    run.peer->on_request = serve;
    run.peer->user = &run;
    PEER_WAIT_UNTIL(run.done == 1);
    assert_int_equal(run.outcomes[H2_ANSWERED], 1);
    assert_int_equal(run.refusals, 0);
    end(&run);
}

static void test_bad_configuration_is_invalid(void **state)
{
    static const char *const endpoints[] = {
        "", "localhost", ":443", "localhost:0", "x:99999", "fe80::1:443", "localhost:https"};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(endpoints); i++) {
        g_autoptr(GError) error = NULL;
        struct h2_config config = {
            .name = "test", .endpoint = endpoints[i], .ca_file = "", .connections = 1};
        config.clock = clock_system();
        assert_null(h2_pool_new(&config, &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    }
}

static int set_up(void **state)
{
    (void)state;
    log_set_sink(drop_log, NULL);
    pki = pki_make();
    return pki == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    pki_remove(pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_requests_arrive_whole_within_the_limits),
        cmocka_unit_test(test_a_long_answer_is_cut),
        cmocka_unit_test(test_one_request_at_a_time_until_proven),
        cmocka_unit_test(test_settings_count_at_once_up_and_down),
        cmocka_unit_test(test_goaway_loses_and_repeats_nothing),
        cmocka_unit_test(test_goaway_with_an_error_waits),
        cmocka_unit_test(test_refused_streams_were_not_sent),
        cmocka_unit_test(test_reset_streams_are_uncertain),
        cmocka_unit_test(test_a_closed_connection_is_uncertain_and_comes_back),
        cmocka_unit_test(test_requests_without_answer_time_out_and_the_connection_stays),
        cmocka_unit_test(test_a_silent_peer_is_given_up),
        cmocka_unit_test(test_an_idle_connection_is_probed),
        cmocka_unit_test(test_a_slow_peer_is_not_a_silent_one),
        cmocka_unit_test(test_free_completes_what_is_open),
        cmocka_unit_test(test_what_was_not_written_was_not_sent),
        cmocka_unit_test(test_send_without_connection_completes_later),
        cmocka_unit_test(test_drain_lets_open_requests_end_and_reconnects),
        cmocka_unit_test(test_an_untrusted_server_is_reported_and_left_alone),
        cmocka_unit_test(test_a_refused_connection_is_tried_again),
        cmocka_unit_test(test_bad_configuration_is_invalid),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
