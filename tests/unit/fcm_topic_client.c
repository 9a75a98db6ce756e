/* lib: loa_fcm */
/* Subscriptions and messages to topics against a scripted server that is the OAuth server, the
 * batch service and FCM. Waits are the server's own: Retry-After of a second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/error.h"
#include "fcm/topic_client.h"
#include "tests/unit/fcm_rig.h"

#define REFUSED                                                                                    \
    "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":\"Message is too "       \
    "big\"}}"

static char *pki;
static char *private_pem, *public_pem;

/* One answer of the script; the last one is repeated. */
struct step {
    const char *status, *body;
    const char *retry_after; /* NULL = no such header */
    bool reset;              /* RST_STREAM after the request was read */
};

struct server {
    struct peer *peer;
    const struct step *steps;
    size_t n_steps;
    unsigned calls, mints;
    const char *good; /* only this bearer is taken; NULL: any */
    GPtrArray *seen;  /* "METHOD PATH BODY" */
    char token[128];
};

static void serve_call(struct server *s, struct peer_request *request)
{
    const struct step *step = &s->steps[MIN(s->calls, s->n_steps - 1)];
    const char *const retry[] = {"retry-after", step->retry_after, NULL};

    s->calls++;
    g_ptr_array_add(s->seen, g_strdup_printf("%s %s %s", peer_header(request, ":method"),
                                             peer_header(request, ":path"), request->body->str));
    assert_string_equal(peer_header(request, "content-type"), "application/json");
    if (step->reset)
        peer_reset(request, NGHTTP2_INTERNAL_ERROR);
    else
        peer_answer(request, step->status, step->body, step->retry_after != NULL ? retry : NULL);
}

static void serve(struct peer_request *request, void *user)
{
    struct server *s = user;

    if (strcmp(peer_header(request, ":path"), "/token") == 0) {
        g_snprintf(s->token, sizeof(s->token),
                   "{\"access_token\":\"tok-%u\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
                   ++s->mints);
        peer_answer(request, "200", s->token, NULL);
    } else if (s->good != NULL && strcmp(peer_header(request, "authorization"), s->good) != 0) {
        s->calls++;
        peer_answer(request, "401", "", NULL);
    } else {
        serve_call(s, request);
    }
}

static void server_start(struct server *s, const struct step *steps, size_t n_steps)
{
    *s = (struct server){.steps = steps, .n_steps = n_steps};
    s->seen = g_ptr_array_new_with_free_func(g_free);
    s->peer = peer_new("127.0.0.1", pki, "broker");
    s->peer->on_request = serve;
    s->peer->user = s;
}

static void server_stop(struct server *s)
{
    peer_free(s->peer);
    g_ptr_array_unref(s->seen);
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static struct fcm_topics *client_of(const struct server *s)
{
    loa_auto(settings) settings = settings_defaults();
    g_autofree char *endpoint = g_strdup_printf("localhost:%u", s->peer->port);
    g_autofree char *token_uri = g_strdup_printf("https://localhost:%u/token", s->peer->port);
    g_autofree char *account = rig_account_text(private_pem, token_uri);
    g_autofree char *ca = pki_file(pki, "ca.pem"), *file = pki_file(pki, "account.json");
    const char *const values[][2] = {{"endpoint", endpoint},
                                     {"topic_endpoint", endpoint},
                                     {"ca_file", ca},
                                     {"service_account_file", file}};
    g_autoptr(GError) error = NULL;
    struct fcm_topics *client;

    rig_write_file(pki, "account.json", account);
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
        assert_true(settings_set(settings, "fcm", values[i][0], values[i][1], NULL));
    client = fcm_topics_new(settings, clock_system(), &error);
    assert_null(error);
    return client;
}

/* ---- one change ---- */

struct changed {
    struct fcm_topic_change change;
    struct fcm_topic_answer answers[3];
    unsigned done;
    GError *error;
};

static void on_changed(struct fcm_topic_change *change, const GError *error, void *user)
{
    struct changed *self = user;

    assert_ptr_equal(change, &self->change);
    self->done++;
    self->error = error != NULL ? g_error_copy(error) : NULL;
}

static void change(struct server *s, struct changed *self, enum fcm_topic_op op, bool fids)
{
    static const char *const registrations[] = {"a:1", "b", "c"};
    loa_auto(fcm_topics) client = client_of(s);

    *self = (struct changed){.change = {.op = op,
                                        .topic = "loa-all",
                                        .fids = fids,
                                        .n = 3,
                                        .registrations = registrations,
                                        .answers = self->answers,
                                        .done = on_changed,
                                        .user = self}};
    fcm_topics_change(client, &self->change);
    assert_int_equal(self->done, 0); /* never from inside */
    PEER_WAIT_UNTIL(self->done > 0);
    assert_int_equal(self->done, 1);
}

#define ALL_DONE "{\"results\":[{},{},{}]}"
#define SCRIPT(s, ...)                                                                             \
    static const struct step steps_[] = {__VA_ARGS__};                                             \
    server_start(s, steps_, G_N_ELEMENTS(steps_))

static void test_a_batch_is_one_call(void **state)
{
    struct server s;
    struct changed c;

    (void)state;
    SCRIPT(&s, {.status = "200",
                .body = "{\"results\":[{},{\"error\":\"NOT_FOUND\"},{\"error\":"
                        "\"TOO_MANY_TOPICS\"}]}"});
    change(&s, &c, FCM_TOPIC_ADD, false);
    assert_null(c.error);
    assert_int_equal(s.calls, 1);
    assert_string_equal(s.seen->pdata[0], "POST /iid/v1:batchAdd {\"to\":\"/topics/loa-all\","
                                          "\"registration_tokens\":[\"a:1\",\"b\",\"c\"]}");
    assert_int_equal(c.answers[0].result, FCM_TOPIC_DONE);
    assert_int_equal(c.answers[1].result, FCM_TOPIC_DEAD);
    assert_string_equal(c.answers[2].reason, "TOO_MANY_TOPICS");
    server_stop(&s);
}

static void test_it_waits_as_long_as_it_is_asked(void **state)
{
    struct server s;
    struct changed c;
    int64_t since = g_get_monotonic_time();

    (void)state;
    SCRIPT(&s, {.status = "429", .body = "", .retry_after = "1"},
           {.status = "503", .body = "<html>", .retry_after = "1"},
           {.status = "200", .body = ALL_DONE});
    change(&s, &c, FCM_TOPIC_REMOVE, false);
    assert_null(c.error);
    assert_int_equal(s.calls, 3);
    assert_true(g_get_monotonic_time() - since >= 2 * USEC_PER_SEC);
    assert_true(g_str_has_prefix(s.seen->pdata[0], "POST /iid/v1:batchRemove "));
    assert_int_equal(c.answers[2].result, FCM_TOPIC_DONE);
    server_stop(&s);
}

static void test_it_gives_up_in_the_end(void **state)
{
    struct server s;
    struct changed c;

    (void)state;
    SCRIPT(&s, {.status = "429", .body = "", .retry_after = "1"});
    change(&s, &c, FCM_TOPIC_ADD, false);
    assert_null(c.error);
    assert_int_equal(s.calls, FCM_TOPIC_TRIES);
    assert_int_equal(c.answers[0].result, FCM_TOPIC_AGAIN);
    assert_int_equal(c.answers[2].result, FCM_TOPIC_AGAIN);
    server_stop(&s);
}

static void test_what_no_waiting_can_mend(void **state)
{
    struct server s;
    struct changed c;

    (void)state;
    SCRIPT(&s, {.status = "403", .body = "{\"error\":\"PERMISSION_DENIED\"}"});
    change(&s, &c, FCM_TOPIC_ADD, false);
    assert_true(g_error_matches(c.error, LOA_ERROR, LOA_ERROR_DENIED));
    assert_non_null(strstr(c.error->message, "403"));
    assert_int_equal(s.calls, 1);
    g_clear_error(&c.error);
    server_stop(&s);
}

/* The token that replaces a refused one comes a minute later: give up the wait by leaving. */
static void test_a_refused_token_is_not_used_again(void **state)
{
    struct server s;
    loa_auto(fcm_topics) client = NULL;
    static const char *const registrations[] = {"a"};
    struct changed c = {.change = {.topic = "loa-all",
                                   .n = 1,
                                   .registrations = registrations,
                                   .answers = c.answers,
                                   .done = on_changed,
                                   .user = &c}};

    (void)state;
    SCRIPT(&s, {.status = "200", .body = "{\"results\":[{}]}"});
    s.good = "Bearer tok-2";
    client = client_of(&s);
    fcm_topics_change(client, &c.change);
    PEER_WAIT_UNTIL(s.calls == 1);
    for (int i = 0; i < 50; i++)
        g_main_context_iteration(NULL, FALSE);
    assert_int_equal(s.calls, 1);
    assert_int_equal(c.done, 0);
    g_clear_pointer(&client, fcm_topics_free); /* without a callback */
    assert_int_equal(c.done, 0);
    server_stop(&s);
}

static void test_installation_ids_go_one_by_one(void **state)
{
    struct server s;
    struct changed c;

    (void)state;
    SCRIPT(&s, {.status = "200", .body = "{}"});
    change(&s, &c, FCM_TOPIC_ADD, true);
    assert_int_equal(s.calls, 3);
    g_ptr_array_sort(s.seen, (GCompareFunc)(void *)g_strcmp0);
    for (guint i = 0; i < s.seen->len; i++)
        assert_true(
            g_str_has_prefix(s.seen->pdata[i], "POST /v1/projects/loa-test/registrations/"));
    assert_int_equal(c.answers[0].result, FCM_TOPIC_DONE);
    server_stop(&s);
}

static void test_an_installation_id_is_taken_out(void **state)
{
    struct server s;
    struct changed c;
    bool found = false;

    (void)state;
    SCRIPT(&s, {.status = "404", .body = "{\"error\":{\"status\":\"NOT_FOUND\"}}"});
    change(&s, &c, FCM_TOPIC_REMOVE, true);
    for (guint i = 0; i < s.seen->len; i++)
        found |= strcmp(s.seen->pdata[i], "DELETE /v1/projects/loa-test/registrations/a%3A1/"
                                          "topicSubscriptions/loa-all {}") == 0;
    assert_true(found);
    assert_int_equal(c.answers[0].result, FCM_TOPIC_DONE);
    server_stop(&s);
}

/* ---- messages ---- */

struct message_sent {
    unsigned done;
    enum fcm_topic_sent_state state;
    char *name, *reason;
};

static void on_sent(const struct fcm_topic_sent *sent, void *user)
{
    struct message_sent *self = user;

    self->done++;
    self->state = sent->state;
    self->name = g_strdup(sent->name);
    self->reason = g_strdup(sent->reason);
}

static void publish(struct server *s, struct message_sent *out)
{
    loa_auto(fcm_topics) client = client_of(s);

    *out = (struct message_sent){.done = 0};
    fcm_topics_send(client, "{\"message\":{}}", on_sent, out);
    assert_int_equal(out->done, 0);
    PEER_WAIT_UNTIL(out->done > 0);
    assert_int_equal(out->done, 1);
}

static void sent_clear(struct message_sent *sent)
{
    g_free(sent->name);
    g_free(sent->reason);
}

static void test_a_message_is_accepted(void **state)
{
    struct server s;
    struct message_sent sent;

    (void)state;
    SCRIPT(&s, {.status = "200", .body = "{\"name\":\"projects/loa/messages/7\"}"});
    publish(&s, &sent);
    assert_int_equal(sent.state, FCM_TOPIC_ACCEPTED);
    assert_string_equal(sent.name, "projects/loa/messages/7");
    assert_string_equal(s.seen->pdata[0],
                        "POST /v1/projects/loa-test/messages:send {\"message\":{}}");
    sent_clear(&sent);
    server_stop(&s);
}

static void test_a_message_is_refused(void **state)
{
    struct server s;
    struct message_sent sent;

    (void)state;
    SCRIPT(&s, {.status = "400", .body = REFUSED});
    publish(&s, &sent);
    assert_int_equal(sent.state, FCM_TOPIC_REJECTED);
    assert_string_equal(sent.reason, "INVALID_ARGUMENT");
    assert_int_equal(s.calls, 1);
    sent_clear(&sent);
    server_stop(&s);
}

/* Phones drop what they have: a message without an answer is sent again. */
static void test_a_message_without_an_answer_is_repeated(void **state)
{
    struct server s;
    struct message_sent sent;

    (void)state;
    SCRIPT(&s, {.reset = true}, {.status = "503", .body = "", .retry_after = "1"},
           {.status = "200", .body = "{\"name\":\"n\"}"});
    publish(&s, &sent);
    assert_int_equal(sent.state, FCM_TOPIC_ACCEPTED);
    assert_int_equal(s.calls, 3);
    sent_clear(&sent);
    server_stop(&s);
}

/* Told to wait longer than the message has: the first, lost try decides. */
static void test_a_message_may_have_arrived(void **state)
{
    struct server s;
    struct message_sent sent;

    (void)state;
    SCRIPT(&s, {.reset = true}, {.status = "429", .body = "", .retry_after = "600"});
    publish(&s, &sent);
    assert_int_equal(sent.state, FCM_TOPIC_UNKNOWN);
    sent_clear(&sent);
    server_stop(&s);
}

static void test_a_message_was_surely_not_taken(void **state)
{
    struct server s;
    struct message_sent sent;

    (void)state;
    SCRIPT(&s, {.status = "429", .body = "", .retry_after = "600"});
    publish(&s, &sent);
    assert_int_equal(sent.state, FCM_TOPIC_FAILED);
    assert_int_equal(s.calls, 1);
    sent_clear(&sent);
    server_stop(&s);
}

static int set_up(void **state)
{
    (void)state;
    crypto_init();
    log_init("test", LOG_LEVEL_ERROR);
    pki = pki_make();
    rig_rsa_key(&private_pem, &public_pem);
    return pki == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    pki_remove(pki);
    g_free(private_pem);
    g_free(public_pem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_is_one_call),
        cmocka_unit_test(test_it_waits_as_long_as_it_is_asked),
        cmocka_unit_test(test_it_gives_up_in_the_end),
        cmocka_unit_test(test_what_no_waiting_can_mend),
        cmocka_unit_test(test_a_refused_token_is_not_used_again),
        cmocka_unit_test(test_installation_ids_go_one_by_one),
        cmocka_unit_test(test_an_installation_id_is_taken_out),
        cmocka_unit_test(test_a_message_is_accepted),
        cmocka_unit_test(test_a_message_is_refused),
        cmocka_unit_test(test_a_message_without_an_answer_is_repeated),
        cmocka_unit_test(test_a_message_may_have_arrived),
        cmocka_unit_test(test_a_message_was_surely_not_taken),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
