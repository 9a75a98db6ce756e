/* lib: loa_h2 */
/* Connections against a server that does not answer, does not read, or is not there: time-outs,
 * probes, and what is known to have stayed here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/h2_rig.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_without_answer_time_out_and_the_connection_stays),
        cmocka_unit_test(test_a_silent_peer_is_given_up),
        cmocka_unit_test(test_an_idle_connection_is_probed),
        cmocka_unit_test(test_a_slow_peer_is_not_a_silent_one),
        cmocka_unit_test(test_free_completes_what_is_open),
        cmocka_unit_test(test_what_was_not_written_was_not_sent),
        cmocka_unit_test(test_send_without_connection_completes_later),
        cmocka_unit_test(test_drain_lets_open_requests_end_and_reconnects),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
