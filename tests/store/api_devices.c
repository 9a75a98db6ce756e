/* lib: loa_api loa_teststage */
/* Registration over real sockets: every route, every kind of refusal, who may see what. */
#include "tests/store/api_world.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

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

static int setup(void **state)
{
    *state = world_new("api_devices", 100000, 1000);
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
    };

    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, setup, world_free);
}
