/* lib: loa_api loa_teststage */
/* The HTTP API over real sockets: every route, every kind of refusal. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "api/api.h"
#include "base/json.h"
#include "engine/device_secret.h"
#include "tests/support/stage.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* One server with its stage. */
struct world {
    struct stage *stage;
    struct settings *settings;
    struct api *api;
    struct http_server *server;
    char *base; /* "http://127.0.0.1:port" */
    char *key_file;
    char *public_file;
    unsigned keys; /* Idempotency-Keys given out */
};

struct answer {
    long status;
    GString *head;
    GString *text;
    json_t *json; /* NULL when the body is none */
};

static void answer_clear(struct answer *answer)
{
    g_string_free(answer->head, TRUE);
    g_string_free(answer->text, TRUE);
    json_decref(answer->json);
}
#define ANSWER __attribute__((cleanup(answer_clear))) struct answer

static size_t append(char *data, size_t size, size_t n, void *user)
{
    g_string_append_len(user, data, (gssize)(size * n));
    return size * n;
}

/* headers: further "Name: value" strings up to NULL; each may be NULL-terminated early. */
static struct answer ask(struct world *world, const char *method, const char *path,
                         const char *body, const char *const *headers)
{
    struct answer answer = {0, g_string_new(NULL), g_string_new(NULL), NULL};
    g_autofree char *url = g_strconcat(world->base, path, NULL);
    CURL *curl = curl_easy_init();
    struct curl_slist *list = NULL;

    for (; headers != NULL && *headers != NULL; headers++)
        list = curl_slist_append(list, *headers);
    if (body != NULL) {
        list = curl_slist_append(list, "Content-Type: application/json");
        list = curl_slist_append(list, "Expect:");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer.head);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer.text);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        fail_msg("%s %s: %s", method, path, curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    answer.json = json_loads(answer.text->str, 0, NULL);
    return answer;
}

static const char *text(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void expect_status(const struct answer *answer, long status)
{
    if (answer->status != status)
        fail_msg("%ld instead of %ld: %s", answer->status, status, answer->text->str);
}

/* The problem document names this field. */
static bool names_field(const struct answer *answer, const char *name)
{
    return strstr(answer->text->str, name) != NULL &&
           strstr(answer->head->str, "application/problem+json") != NULL;
}

/* ---- one device ---- */

struct device {
    char *path;   /* "/api/v1/devices/7" */
    char *bearer; /* header */
    char *named;  /* header Loa-Device */
    int64_t id;
};

static void device_clear(struct device *device)
{
    g_free(device->path);
    g_free(device->bearer);
    g_free(device->named);
}
#define DEVICE __attribute__((cleanup(device_clear))) struct device

static struct answer send_registration(struct world *world, const char *key, const char *body)
{
    g_autofree char *header = g_strconcat("Idempotency-Key: ", key, NULL);
    const char *const headers[] = {header, NULL};

    return ask(world, "POST", "/api/v1/devices", body, headers);
}

static struct device device_from(const struct answer *answer)
{
    struct device device;

    device.id = g_ascii_strtoll(text(answer->json, "device"), NULL, 10);
    device.path = g_strdup_printf("/api/v1/devices/%s", text(answer->json, "device"));
    device.bearer = g_strdup_printf("Authorization: Bearer %s", text(answer->json, "secret"));
    device.named = g_strdup_printf("Loa-Device: %s", text(answer->json, "device"));
    return device;
}

static struct device registered(struct world *world, const char *body)
{
    g_autofree char *key = g_strdup_printf("test-key-%016u", world->keys++);
    ANSWER answer = send_registration(world, key, body);

    expect_status(&answer, 201);
    return device_from(&answer);
}

static struct answer as_device(struct world *world, const struct device *device, const char *method,
                               const char *path, const char *body)
{
    const char *const headers[] = {device->bearer, device->named, NULL};

    return ask(world, method, path != NULL ? path : device->path, body, headers);
}

/* ---- devices ---- */

static void test_register(void **state)
{
    static const char body[] =
        "{\"platform\":\"fcm\",\"token\":\"reg-1\",\"os\":\"Android 14\",\"language\":\"tyz\","
        "\"commune\":\"01273\",\"app_version\":\"1.0\",\"mqtt\":true,\"silent_information\":true}";
    struct world *world = *state;
    ANSWER first = send_registration(world, "register-test-0001", body);
    ANSWER again = send_registration(world, "register-test-0001", body);

    expect_status(&first, 201);
    expect_status(&again, 200);
    assert_string_equal(text(first.json, "device"), text(again.json, "device"));
    assert_string_equal(text(first.json, "secret"), text(again.json, "secret"));
    assert_true(g_str_has_prefix(text(first.json, "secret"), "1."));
    assert_true(json_is_array(json_object_get(first.json, "alerts")));
    assert_int_equal(json_array_size(json_object_get(first.json, "alerts")), 0);
    assert_int_equal(stage_i64(world->stage,
                               "SELECT count(*) FROM device WHERE push_token = 'reg-1' AND "
                               "realm = 'live' AND mqtt AND silent_information AND commune = "
                               "'01273' AND language = 'tyz' AND os = 'Android 14'"),
                     1);

    ANSWER other =
        send_registration(world, "register-test-0001", "{\"platform\":\"fcm\",\"token\":\"x\"}");
    expect_status(&other, 409);
    assert_null(text(other.json, "secret"));
}

struct refusal {
    const char *key;
    const char *body;
    long status;
    const char *field; /* named in the problem document */
};

static void test_register_refused(void **state)
{
    static const struct refusal refusals[] = {
        {NULL, "{\"platform\":\"mqtt\"}", 422, "Idempotency-Key"},
        {"short", "{\"platform\":\"mqtt\"}", 422, "Idempotency-Key"},
        {"refused-key-000001", "{", 400, "JSON"},
        {"refused-key-000001", "[]", 400, "JSON"},
        {"refused-key-000001", "{\"platform\":\"mqtt\",\"platform\":\"fcm\"}", 400, "JSON"},
        {"refused-key-000001", "{}", 422, "platform"},
        {"refused-key-000001", "{\"platform\":\"fcm\"}", 422, "token"},
        {"refused-key-000001", "{\"platform\":\"apns\",\"token\":\"zz\"}", 422, "token"},
        {"refused-key-000001", "{\"platform\":\"mqtt\",\"commune\":\"99999\"}", 422, "commune"},
        {"refused-key-000001", "{\"platform\":\"mqtt\",\"realm\":\"exercise\"}", 422, "realm"},
        {"refused-key-000001", "{\"platform\":\"mqtt\",\"language\":\"\xC4\x91\"}", 422,
         "language"},
    };
    struct world *world = *state;
    int64_t before = stage_i64(world->stage, "SELECT count(*) FROM device");

    for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
        const struct refusal *r = &refusals[i];
        g_autofree char *header = g_strconcat("Idempotency-Key: ", r->key, NULL);
        const char *const headers[] = {r->key != NULL ? header : NULL, NULL};
        ANSWER answer = ask(world, "POST", "/api/v1/devices", r->body, headers);
        if (answer.status != r->status || !names_field(&answer, r->field))
            fail_msg("%s: %ld %s", r->body, answer.status, answer.text->str);
    }
    g_autofree char *padding = g_strnfill(20000, ' ');
    g_autofree char *large = g_strconcat("{\"platform\":\"mqtt\"", padding, "}", NULL);
    ANSWER too_large = send_registration(world, "refused-key-000001", large);
    expect_status(&too_large, 413);
    assert_int_equal(stage_i64(world->stage, "SELECT count(*) FROM device"), before);
}

static void test_every_bad_field_at_once(void **state)
{
    struct world *world = *state;
    ANSWER answer = send_registration(
        world, "refused-key-000002",
        "{\"platform\":\"x\",\"commune\":\"1\",\"language\":\"?\",\"os\":7,\"zz\":1}");

    expect_status(&answer, 422);
    assert_true(names_field(&answer, "platform") && names_field(&answer, "commune") &&
                names_field(&answer, "language") && names_field(&answer, "\"os\"") &&
                names_field(&answer, "zz"));
}

static void test_refresh(void **state)
{
    struct world *world = *state;
    DEVICE device = registered(world, "{\"platform\":\"fcm\",\"token\":\"refresh-1\"}");
    g_autofree char *age = g_strdup_printf(
        "UPDATE device SET proven_at = now(), last_seen_at = now() - interval '1 day' "
        "WHERE id = %" G_GINT64_FORMAT,
        device.id);
    g_autofree char *fresh =
        g_strdup_printf("SELECT count(*) FROM device WHERE id = %" G_GINT64_FORMAT
                        " AND last_seen_at > now() - interval '1 hour' AND proven_at IS NOT NULL",
                        device.id);

    stage_exec(world->stage, age);
    ANSWER empty = as_device(world, &device, "PUT", NULL, "{}");
    expect_status(&empty, 200);
    assert_true(json_is_array(json_object_get(empty.json, "alerts")));
    assert_null(json_object_get(empty.json, "secret"));
    assert_int_equal(stage_i64(world->stage, fresh), 1);

    ANSWER token = as_device(world, &device, "PUT", NULL, "{\"token\":\"refresh-2\"}");
    expect_status(&token, 200);
    assert_int_equal(stage_i64(world->stage, fresh), 0); /* unproven again */
    assert_int_equal(
        stage_i64(world->stage, "SELECT count(*) FROM device WHERE push_token LIKE 'refresh-_'"),
        1);

    ANSWER bad = as_device(world, &device, "PUT", NULL, "{\"commune\":\"99999\"}");
    expect_status(&bad, 422);
    assert_true(names_field(&bad, "commune"));
    ANSWER shown = as_device(world, &device, "GET", NULL, NULL);
    expect_status(&shown, 200);
    assert_string_equal(text(shown.json, "channel"), "fcm");
    assert_string_equal(text(shown.json, "token_tail"), "resh-2");
    assert_null(strstr(shown.text->str, "refresh-2"));
}

static void test_token_moves(void **state)
{
    struct world *world = *state;
    DEVICE older = registered(world, "{\"platform\":\"fcm\",\"token\":\"move-1\",\"mqtt\":true}");
    DEVICE middle = registered(world, "{\"platform\":\"fcm\",\"token\":\"move-2\"}");
    DEVICE newer = registered(world, "{\"platform\":\"fcm\",\"token\":\"move-1\"}");
    ANSWER older_now = as_device(world, &older, "GET", NULL, NULL);
    ANSWER taken = as_device(world, &newer, "PUT", NULL, "{\"token\":\"move-2\"}");
    ANSWER middle_now = as_device(world, &middle, "GET", NULL, NULL);
    ANSWER back =
        as_device(world, &middle, "PUT", NULL, "{\"platform\":\"apns\",\"token\":\"" HEX64 "\"}");

    assert_string_equal(text(older_now.json, "channel"), "mqtt");
    expect_status(&taken, 200);
    assert_string_equal(text(middle_now.json, "channel"), "none");
    expect_status(&back, 200);
    assert_string_equal(text(back.json, "channel"), "apns");
}

static void test_who_is_asking(void **state)
{
    struct world *world = *state;
    DEVICE mine = registered(world, "{\"platform\":\"mqtt\"}");
    DEVICE other = registered(world, "{\"platform\":\"mqtt\"}");
    const char *const methods[] = {"GET", "PUT", "DELETE"};
    const char *const wrong_secret[] = {"Authorization: Bearer 1.AAAA", NULL};
    const char *const other_secret[] = {other.bearer, NULL};
    const char *const basic[] = {"Authorization: Basic MTox", NULL};
    const char *const unnamed[] = {mine.bearer, NULL};

    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        const char *body = strcmp(methods[i], "PUT") == 0 ? "{}" : NULL;
        ANSWER without = ask(world, methods[i], mine.path, body, NULL);
        expect_status(&without, 401);
        assert_non_null(strstr(without.head->str, "WWW-Authenticate: Bearer"));
        ANSWER wrong = ask(world, methods[i], mine.path, body, wrong_secret);
        expect_status(&wrong, 401);
        ANSWER stolen = ask(world, methods[i], mine.path, body, other_secret);
        expect_status(&stolen, 401);
        ANSWER not_bearer = ask(world, methods[i], mine.path, body, basic);
        expect_status(&not_bearer, 401);
        ANSWER not_mine = as_device(world, &mine, methods[i], other.path, body);
        expect_status(&not_mine, 403);
        ANSWER no_number = ask(world, methods[i], "/api/v1/devices/x7", body, unnamed);
        expect_status(&no_number, 404);
    }
    ANSWER path_only = ask(world, "GET", mine.path, NULL, unnamed);
    expect_status(&path_only, 200);

    /* A new generation ends the old secret. */
    g_autofree char *renew =
        g_strdup_printf("UPDATE device SET generation = 2 WHERE id = %" G_GINT64_FORMAT, mine.id);
    stage_exec(world->stage, renew);
    ANSWER replaced = as_device(world, &mine, "GET", NULL, NULL);
    expect_status(&replaced, 401);
    ANSWER replaced_delete = as_device(world, &mine, "DELETE", NULL, NULL);
    expect_status(&replaced_delete, 401);
}

static void test_unregister(void **state)
{
    struct world *world = *state;
    DEVICE device = registered(world, "{\"platform\":\"fcm\",\"token\":\"bye\"}");

    for (int i = 0; i < 2; i++) {
        ANSWER gone = as_device(world, &device, "DELETE", NULL, NULL);
        expect_status(&gone, 204);
    }
    ANSWER shown = as_device(world, &device, "GET", NULL, NULL);
    expect_status(&shown, 404);
    ANSWER refreshed =
        as_device(world, &device, "PUT", NULL, "{\"platform\":\"fcm\",\"token\":\"bye\"}");
    expect_status(&refreshed, 404);
    assert_int_equal(
        stage_i64(world->stage, "SELECT count(*) FROM device WHERE push_token = 'bye'"), 0);
}

/* ---- alerts, receipts ---- */

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

/* ---- the world ---- */

static char *write_file(const char *dir, const char *name, const void *data, gsize len)
{
    char *path = g_build_filename(dir, name, NULL);

    assert_true(
        g_file_set_contents_full(path, data, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    return path;
}

static struct world *world_new(const char *name, int64_t per_address, int64_t per_device)
{
    struct world *world = g_new0(struct world, 1);
    struct http_server_options options = {.listen = "127.0.0.1:0",
                                          .threads = 2,
                                          .connections_max = 100,
                                          .connections_per_address = 100,
                                          .idle_timeout_s = 10,
                                          .request_timeout_s = 10};
    g_autofree char *pem = NULL;
    g_autoptr(GError) error = NULL;

    world->stage = stage_new(name);
    stage_exec(world->stage, "INSERT INTO commune (code, name) VALUES ('01273', 'Thục Phán') "
                             "ON CONFLICT DO NOTHING");
    world->settings = settings_defaults();
    pem = release_public_pem(release_keys_get(world->stage->keys, 0));
    world->key_file =
        write_file(world->stage->dir, "device.key", "0123456789abcdef0123456789abcdef", 32);
    world->public_file = write_file(world->stage->dir, "release.pub", pem, strlen(pem));
    if (!settings_set(world->settings, "database", "conninfo", world->stage->conninfo, &error) ||
        !settings_set(world->settings, "device", "secret_key_file", world->key_file, &error) ||
        !settings_set(world->settings, "broadcast", "public_key_files", world->public_file,
                      &error) ||
        !settings_set(world->settings, "fcm", "service_account_file", world->key_file, &error))
        fail_msg("%s", error->message);
    world->settings->api_threads = 2;
    world->settings->api_rate_per_address = per_address;
    world->settings->api_rate_per_device = per_device;
    world->api = api_new(world->settings, clock_system(), &error);
    if (world->api == NULL)
        fail_msg("%s", error->message);
    options.user = world->api;
    options.routes = api_routes(&options.n_routes);
    world->server = http_server_start(&options, &error);
    if (world->server == NULL)
        fail_msg("%s", error->message);
    world->base = g_strdup_printf("http://127.0.0.1:%u", http_server_port(world->server));
    return world;
}

static int world_free(void **state)
{
    struct world *world = *state;

    http_server_stop(world->server);
    api_free(world->api);
    unlink(world->key_file);
    unlink(world->public_file);
    g_free(world->key_file);
    g_free(world->public_file);
    settings_free(world->settings);
    stage_free(world->stage);
    g_free(world->base);
    g_free(world);
    return 0;
}

static int setup(void **state)
{
    *state = world_new("api_devices", 100000, 1000);
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
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_register_refused),
        cmocka_unit_test(test_every_bad_field_at_once),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_token_moves),
        cmocka_unit_test(test_who_is_asking),
        cmocka_unit_test(test_unregister),
        cmocka_unit_test(test_receipts),
        cmocka_unit_test(test_receipts_refused),
        cmocka_unit_test(test_public_alerts),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_unknown_routes),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test_setup_teardown(test_live_alert_in_the_answers, setup, world_free),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, world_free),
        cmocka_unit_test_setup_teardown(test_rate_per_device, setup_rates, world_free),
        cmocka_unit_test_setup_teardown(test_rate_per_address, setup_rates, world_free),
    };

    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, setup, world_free) +
           cmocka_run_group_tests(alone, NULL, NULL);
}
