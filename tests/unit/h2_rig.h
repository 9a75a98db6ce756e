/* A pool of connections, its requests and what came of them, for tests against h2_peer.h. */
#ifndef LOA_TESTS_UNIT_H2_RIG_H
#define LOA_TESTS_UNIT_H2_RIG_H

#include "base/clock.h"
#include "base/log.h"
#include "h2/pool.h"
#include "tests/unit/h2_peer.h"

#define BODY_TAIL ",\"data\":{}}"

static char *pki; /* folder of certificates, for all tests of a program */

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
    char last_retry_after[H2_ANSWER_TEXT_MAX];
};

static inline void on_done(const struct h2_answer *answer, void *owner, void *item)
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
    if (answer->outcome == H2_NOT_SENT && run->again) {
        run->to_send++;
        return;
    }
    run->completed[number]++;
    run->done++;
}

static inline void send_one(struct run *run, unsigned slot)
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

static inline void fill(struct run *run)
{
    for (unsigned slot = 0; slot < h2_pool_slots(run->pool); slot++)
        while (run->to_send > 0 && h2_pool_room(run->pool, slot) > 0)
            send_one(run, slot);
    h2_pool_flush(run->pool);
}

static inline void on_room(void *user)
{
    fill(user);
}

static inline void on_refused(const char *reason, void *user)
{
    struct run *run = user;

    g_free(run->refused);
    run->refused = g_strdup(reason);
    run->refusals++;
}

static inline void drop_log(enum log_level level, const char *event, const char *line, void *user)
{
    (void)level, (void)event, (void)line, (void)user;
}

/* A server of the script and a pool that connects to it; the rest of config is as the test says. */
static inline void begin(struct run *run, void (*script)(struct peer_request *, void *),
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

static inline void end(struct run *run)
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

/* The plain answer. */
static inline void serve(struct peer_request *request, void *user)
{
    struct run *run = user;

    run->served++;
    peer_answer(request, "200", "", NULL);
}

static inline int set_up(void **state)
{
    (void)state;
    log_set_sink(drop_log, NULL);
    pki = pki_make();
    return pki == NULL;
}

static inline int tear_down(void **state)
{
    (void)state;
    pki_remove(pki);
    return 0;
}

#endif
