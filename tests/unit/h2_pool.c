/* lib: loa_h2 */
/* Connections against a server that follows a script frame by frame: whatever it answers, every
 * request is completed exactly once, and with the right certainty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/unit/h2_rig.h"

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
    assert_string_equal(run.last_body, ""); /* of a 2xx it is dropped */
    assert_string_equal(run.last_retry_after, "7");
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
        cmocka_unit_test(test_an_untrusted_server_is_reported_and_left_alone),
        cmocka_unit_test(test_a_refused_connection_is_tried_again),
        cmocka_unit_test(test_bad_configuration_is_invalid),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
