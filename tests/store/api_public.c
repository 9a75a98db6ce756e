/* lib: loa_api loa_teststage */
/* Alerts, receipts, health and limits of the HTTP API over real sockets. */
#include <pthread.h>

#include "base/metrics.h"
#include "tests/store/api_world.h"
#include "tests/support/testwait.h"
#include "tests/unit/http_raw.h"

static void test_live_alert_in_the_answers(void **state)
{
    struct world *world = *state;
    DEVICE older = registered(world, "{\"platform\":\"mqtt\"}");
    int64_t id = stage_release(world->stage, true);
    ANSWER fresh = send_registration(world, "live-alert-key-0001", "{\"platform\":\"mqtt\"}");
    ANSWER refreshed = as_device(world, &older, "PUT", NULL, "{}");
    const json_t *alerts = json_object_get(fresh.json, "alerts");
    const json_t *alert = json_array_get(alerts, 0);

    expect_status(&fresh, 201);
    assert_int_equal(json_array_size(alerts), 1);
    assert_string_equal(text(alert, "class"), "khan_cap");
    assert_non_null(text(alert, "sig"));
    assert_non_null(text(alert, "instruction"));
    assert_true(json_equal(alerts, json_object_get(refreshed.json, "alerts")));
    stage_cancel(world->stage, id);
    ANSWER cancelled = as_device(world, &older, "PUT", NULL, "{}");
    alert = json_array_get(json_object_get(cancelled.json, "alerts"), 0);
    assert_string_equal(text(alert, "type"), "cancel");
}

static char *newest_alert_id(struct stage *stage)
{
    g_autoptr(PGresult) res =
        db_query(stage->db,
                 "SELECT alert_id FROM broadcast WHERE released_at IS NOT NULL "
                 "ORDER BY id DESC LIMIT 1",
                 NULL, NULL);

    return g_strdup(db_get_text(res, 0, 0));
}

static void test_receipts(void **state)
{
    struct world *world = *state;
    DEVICE device = registered(world, "{\"platform\":\"mqtt\"}");
    g_autofree char *count =
        g_strdup_printf("SELECT count(*) * 10 + count(opened_at) FROM receipt WHERE device_id = "
                        "%" G_GINT64_FORMAT,
                        device.id);
    g_autofree char *alert_id = NULL;
    g_autofree char *one = NULL;
    g_autofree char *both = NULL;
    g_autofree char *mixed = NULL;

    stage_release(world->stage, true);
    alert_id = newest_alert_id(world->stage);
    one = g_strdup_printf("{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}", alert_id);
    both = g_strdup_printf(" [%s,{\"alert\":\"%s\",\"v\":1,\"event\":\"opened\"}]", one, alert_id);
    mixed =
        g_strdup_printf("[%s,{\"alert\":\"20000101-NOSUCH\",\"v\":1,\"event\":\"shown\"}]", one);

    for (int i = 0; i < 2; i++) {
        ANSWER single = as_device(world, &device, "POST", "/api/v1/receipts", one);
        expect_status(&single, 200);
        assert_int_equal(json_array_size(json_object_get(single.json, "confirmed")), 1);
        assert_int_equal(stage_i64(world->stage, count), 10);
    }
    ANSWER array = as_device(world, &device, "POST", "/api/v1/receipts", both);
    expect_status(&array, 200);
    assert_int_equal(json_array_size(json_object_get(array.json, "confirmed")), 2);
    assert_int_equal(stage_i64(world->stage, count), 11);

    ANSWER partly = as_device(world, &device, "POST", "/api/v1/receipts", mixed);
    expect_status(&partly, 200);
    assert_int_equal(json_array_size(json_object_get(partly.json, "confirmed")), 1);
    assert_int_equal(json_array_size(json_object_get(partly.json, "unknown")), 1);
}

static void test_receipts_refused(void **state)
{
    static const struct refusal refusals[] = {
        {NULL, "{\"alert\":\"20000101-NOSUCH\",\"v\":1,\"event\":\"shown\"}", 422, "alert"},
        {NULL,
         "[{\"alert\":\"a\",\"v\":1,\"event\":\"shown\"},{\"alert\":\"a\",\"v\":0,\"event\":1}]",
         422, "/1/event"},
        {NULL, "[7]", 422, "/0/"},
        {NULL, "[]", 422, "1 to 20"},
        {NULL, "[", 400, "JSON"},
        {NULL, "[1],\"x\":[2]", 400, "JSON"},
        {NULL, "", 400, "JSON"},
        {NULL, "7", 400, "JSON"},
    };
    struct world *world = *state;
    DEVICE device = registered(world, "{\"platform\":\"mqtt\"}");
    const char *const unnamed[] = {device.bearer, NULL};
    GString *many = g_string_new("[");

    for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
        ANSWER answer = as_device(world, &device, "POST", "/api/v1/receipts", refusals[i].body);
        if (answer.status != refusals[i].status || !names_field(&answer, refusals[i].field))
            fail_msg("%s: %ld %s", refusals[i].body, answer.status, answer.text->str);
    }
    for (int i = 0; i < 21; i++)
        g_string_append_printf(many, "%s{\"alert\":\"a\",\"v\":1,\"event\":\"shown\"}",
                               i > 0 ? "," : "");
    g_string_append_c(many, ']');
    ANSWER too_many = as_device(world, &device, "POST", "/api/v1/receipts", many->str);
    expect_status(&too_many, 422);
    g_string_free(many, TRUE);
    ANSWER nobody = ask(world, "POST", "/api/v1/receipts", "{}", unnamed);
    expect_status(&nobody, 401);
    assert_non_null(strstr(nobody.text->str, "Loa-Device"));
}

static char *header_value(const struct answer *answer, const char *name)
{
    g_autofree char *start = g_strdup_printf("\n%s: ", name);
    const char *at = strstr(answer->head->str, start);

    return at != NULL ? g_strndup(at + strlen(start), strcspn(at + strlen(start), "\r\n")) : NULL;
}

static void test_public_alerts(void **state)
{
    static const char *const lists[] = {"/alerts", "/api/v1/alerts"};
    struct world *world = *state;
    g_autofree char *alert_id = NULL;

    stage_release(world->stage, false);
    alert_id = newest_alert_id(world->stage);
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_autofree char *one = g_strconcat(lists[i], "/", alert_id, NULL);
        g_autofree char *paged = g_strconcat(lists[i], "?limit=1&active=true", NULL);
        ANSWER shown = ask(world, "GET", one, NULL, NULL);
        g_autofree char *etag = header_value(&shown, "ETag");
        g_autofree char *condition = g_strconcat("If-None-Match: \"x\", W/", etag, NULL);
        const char *const headers[] = {condition, NULL};
        const char *const other[] = {"If-None-Match: \"x\"", NULL};

        expect_status(&shown, 200);
        assert_string_equal(text(shown.json, "alert"), alert_id);
        assert_non_null(strstr(shown.head->str, "Cache-Control: public, max-age="));
        ANSWER unchanged = ask(world, "GET", one, NULL, headers);
        expect_status(&unchanged, 304);
        assert_int_equal(unchanged.text->len, 0);
        ANSWER changed = ask(world, "GET", one, NULL, other);
        expect_status(&changed, 200);
        ANSWER list = ask(world, "GET", lists[i], NULL, NULL);
        expect_status(&list, 200);
        assert_true(json_array_size(json_object_get(list.json, "alerts")) >= 1);
        ANSWER page = ask(world, "GET", paged, NULL, NULL);
        expect_status(&page, 200);
        assert_int_equal(json_array_size(json_object_get(page.json, "alerts")), 1);
        assert_non_null(text(page.json, "next"));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_autofree char *path = g_strconcat(lists[i], ".atom", NULL);
        g_autofree char *entry = g_strconcat("<id>urn:loa:alert:", alert_id, "</id>", NULL);
        ANSWER feed = ask(world, "GET", path, NULL, NULL);
        g_autofree char *type = header_value(&feed, "Content-Type");

        expect_status(&feed, 200);
        assert_string_equal(type, "application/atom+xml; charset=utf-8");
        assert_non_null(strstr(feed.head->str, "ETag: "));
        assert_non_null(strstr(feed.text->str, entry));
    }
    ANSWER unknown = ask(world, "GET", "/alerts/20000101-NOSUCH", NULL, NULL);
    expect_status(&unknown, 404);
    ANSWER bytes = ask(world, "GET", "/alerts/%ff%fe", NULL, NULL);
    assert_true(bytes.status == 404 || bytes.status == 400);
    ANSWER limit = ask(world, "GET", "/alerts?limit=101", NULL, NULL);
    expect_status(&limit, 422);
    ANSWER cursor = ask(world, "GET", "/alerts?cursor=-1", NULL, NULL);
    expect_status(&cursor, 422);
}

/* ---- health, limits ---- */

static void test_health(void **state)
{
    struct world *world = *state;
    ANSWER alive = ask(world, "GET", "/healthz", NULL, NULL);
    ANSWER metrics = ask(world, "GET", "/metrics", NULL, NULL);
    ANSWER not_ready = ask(world, "GET", "/readyz", NULL, NULL);

    expect_status(&alive, 200);
    expect_status(&metrics, 200);
    assert_non_null(strstr(metrics.text->str, "loa_http_requests_total"));
    expect_status(&not_ready, 503);
    assert_non_null(strstr(not_ready.text->str, "\"check\":\"schema\",\"ok\":true"));
    assert_non_null(strstr(not_ready.text->str, "\"check\":\"process deliver\",\"ok\":false"));
    assert_non_null(strstr(not_ready.text->str, "\"check\":\"canary fcm\",\"ok\":false"));

    stage_exec(world->stage,
               "INSERT INTO process (id, role, host, pid) VALUES ('1', 'api', 'h', 1), "
               "('2', 'deliver', 'h', 2), ('3', 'tick', 'h', 3)");
    stage_exec(world->stage, "INSERT INTO canary VALUES ('fcm', now(), true, 'ok', 3)");
    ANSWER ready = ask(world, "GET", "/readyz", NULL, NULL);
    expect_status(&ready, 200);
    stage_exec(world->stage, "INSERT INTO fanout_stop (scope, reason, by_name) "
                             "VALUES ('channel:fcm', 'tls_untrusted', 'system')");
    ANSWER stopped = ask(world, "GET", "/readyz", NULL, NULL);
    expect_status(&stopped, 503);
    assert_non_null(strstr(stopped.text->str, "tls_untrusted"));
    stage_exec(world->stage, "DELETE FROM fanout_stop");
    stage_exec(world->stage, "UPDATE canary SET ok = false, detail = 'OAuth refused'");
    ANSWER canary = ask(world, "GET", "/readyz", NULL, NULL);
    expect_status(&canary, 503);
    assert_non_null(strstr(canary.text->str, "OAuth refused"));
    stage_exec(world->stage, "UPDATE canary SET ok = true, ran_at = now() - interval '1 day'");
    ANSWER old = ask(world, "GET", "/readyz", NULL, NULL);
    expect_status(&old, 503);
    stage_exec(world->stage, "UPDATE canary SET ran_at = now()");
    stage_exec(world->stage, "UPDATE process SET seen_at = now() - interval '11 s' WHERE id = '2'");
    ANSWER silent = ask(world, "GET", "/readyz", NULL, NULL);
    expect_status(&silent, 503);
}

static void test_unknown_routes(void **state)
{
    struct world *world = *state;
    ANSWER nothing = ask(world, "GET", "/api/v1/nothing", NULL, NULL);
    ANSWER method = ask(world, "GET", "/api/v1/receipts", NULL, NULL);

    expect_status(&nothing, 404);
    expect_status(&method, 405);
}

#define CLIENTS 6
#define ROUNDS  15

struct client {
    struct world *world;
    unsigned number;
    const char *receipt;
    unsigned failures;
};

/* One client's rounds; cmocka's assertions belong to the test's own thread. */
static void *client_main(void *user)
{
    struct client *client = user;

    for (unsigned round = 0; round < ROUNDS; round++) {
        g_autofree char *key = g_strdup_printf("crowd-key-%08u-%08u", client->number, round);
        ANSWER added = send_registration(client->world, key, "{\"platform\":\"mqtt\"}");
        if (added.status != 201) {
            client->failures++;
            continue;
        }
        DEVICE device = device_from(&added);
        ANSWER refreshed = as_device(client->world, &device, "PUT", NULL, "{\"language\":\"en\"}");
        ANSWER told =
            as_device(client->world, &device, "POST", "/api/v1/receipts", client->receipt);
        ANSWER list = ask(client->world, "GET", "/alerts", NULL, NULL);
        client->failures += refreshed.status != 200 || told.status != 200 || list.status != 200;
    }
    return NULL;
}

/* All threads of the server at once: for ThreadSanitizer, and every receipt is counted. */
static void test_many_at_once(void **state)
{
    struct world *world = *state;
    pthread_t threads[CLIENTS];
    struct client clients[CLIENTS];
    g_autofree char *alert_id = NULL;
    g_autofree char *receipt = NULL;

    stage_release(world->stage, true);
    alert_id = newest_alert_id(world->stage);
    receipt = g_strdup_printf("{\"alert\":\"%s\",\"v\":1,\"event\":\"opened\"}", alert_id);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){world, i, receipt, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, client_main, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].failures, 0);
    }
    assert_int_equal(stage_i64(world->stage, "SELECT count(opened_at) FROM receipt"),
                     CLIENTS * ROUNDS);
}

/* Receipts whose commit hangs wait without a thread: the server, which has two, goes on answering;
 * a client that has gone is no harm; the others are confirmed when the rows are there. */
static void *tell_one(void *user)
{
    struct client *client = user;
    g_autofree char *key = g_strdup_printf("patient-key-%08u", client->number);
    ANSWER added = send_registration(client->world, key, "{\"platform\":\"mqtt\"}");
    DEVICE device = device_from(&added);
    ANSWER told = as_device(client->world, &device, "POST", "/api/v1/receipts", client->receipt);

    client->failures = told.status != 200;
    return NULL;
}

static bool all_registered(void *user)
{
    return stage_i64(user, "SELECT count(*) FROM device") == CLIENTS + 1;
}

static void leave_early(struct world *world, const char *receipt)
{
    DEVICE device = registered(world, "{\"platform\":\"mqtt\"}");
    int fd = connect_to(http_server_port(world->server));
    g_autofree char *out =
        g_strdup_printf("POST /api/v1/receipts HTTP/1.1\r\nHost: a\r\n%s\r\n%s\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        device.bearer, device.named, strlen(receipt), receipt);

    assert_int_equal(send(fd, out, strlen(out), MSG_NOSIGNAL), strlen(out));
    close(fd);
}

static void test_waiting_needs_no_thread(void **state)
{
    struct world *world = *state;
    pthread_t threads[CLIENTS];
    struct client clients[CLIENTS];
    g_autoptr(GError) error = NULL;
    loa_auto(db) other = db_open(world->stage->conninfo, &error);
    g_autofree char *alert_id = NULL;
    g_autofree char *receipt = NULL;
    double before = metric_get(METRIC_HTTP_REQUESTS, "receipts/2xx");

    stage_release(world->stage, true);
    alert_id = newest_alert_id(world->stage);
    receipt = g_strdup_printf("{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}", alert_id);
    assert_true(other != NULL && db_begin(other, &error) &&
                db_exec(other, "LOCK TABLE receipt IN ACCESS EXCLUSIVE MODE", NULL, &error));
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){world, i, receipt, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, tell_one, &clients[i]), 0);
    }
    leave_early(world, receipt);
    assert_true(test_wait_until(all_registered, world->stage, 20000));
    for (int i = 0; i < 3 * CLIENTS; i++) {
        ANSWER list = ask(world, "GET", "/alerts", NULL, NULL);
        expect_status(&list, 200);
    }
    assert_true(metric_get(METRIC_HTTP_REQUESTS, "receipts/2xx") == before);
    assert_true(db_commit(other, &error));
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].failures, 0);
    }
    http_server_stop(world->server); /* waits for the one that left */
    world->server = NULL;
    assert_int_equal(stage_i64(world->stage, "SELECT count(*) FROM receipt"), CLIENTS + 1);
}

static void test_rate_per_device(void **state)
{
    struct world *world = *state;
    DEVICE device = registered(world, "{\"platform\":\"mqtt\"}");
    DEVICE other = registered(world, "{\"platform\":\"mqtt\"}");
    long status = 200;
    int taken = 0;

    /* 1 a second, 10 at once. */
    for (; status == 200 && taken < 100; taken++) {
        ANSWER answer = as_device(world, &device, "GET", NULL, NULL);
        status = answer.status;
        if (status == 429)
            assert_non_null(strstr(answer.head->str, "Retry-After: "));
    }
    assert_int_equal(status, 429);
    assert_true(taken >= 10 && taken < 100);
    ANSWER unhurt = as_device(world, &other, "GET", NULL, NULL);
    expect_status(&unhurt, 200);
}

static void test_rate_per_address(void **state)
{
    struct world *world = *state;
    long status = 200;
    int taken = 0;

    /* 5 a second, 50 at once. */
    for (; status == 200 && taken < 1000; taken++) {
        ANSWER answer = ask(world, "GET", "/alerts", NULL, NULL);
        status = answer.status;
    }
    assert_int_equal(status, 429);
    ANSWER health = ask(world, "GET", "/healthz", NULL, NULL);
    expect_status(&health, 200);
}

static int setup(void **state)
{
    *state = world_new("api_public", 100000, 1000);
    return 0;
}

static int setup_rates(void **state)
{
    *state = world_new("api_rates", 5, 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receipts),       cmocka_unit_test(test_receipts_refused),
        cmocka_unit_test(test_public_alerts),  cmocka_unit_test(test_health),
        cmocka_unit_test(test_unknown_routes),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test_setup_teardown(test_live_alert_in_the_answers, setup, world_free),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, world_free),
        cmocka_unit_test_setup_teardown(test_waiting_needs_no_thread, setup, world_free),
        cmocka_unit_test_setup_teardown(test_rate_per_device, setup_rates, world_free),
        cmocka_unit_test_setup_teardown(test_rate_per_address, setup_rates, world_free),
    };

    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, setup, world_free) +
           cmocka_run_group_tests(alone, NULL, NULL);
}
