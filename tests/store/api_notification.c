/* lib: loa_api loa_teststage */
/* Receipts of notifications over HTTP. */
#include "tests/store/api_world.h"

static int setup(void **state)
{
    *state = world_new("api_notification", 1000, 1000);
    return 0;
}

static const char body[] = "{\"alert\":\"n1\",\"v\":1,\"event\":\"shown\"}";

static void test_receipt(void **state)
{
    struct world *world = *state;
    DEVICE device = registered(world, "{\"platform\":\"fcm\",\"token\":\"a\",\"os\":\"iOS 17\"}");
    DEVICE other = registered(world, "{\"platform\":\"fcm\",\"token\":\"b\"}");
    g_autofree char *sql =
        g_strdup_printf("INSERT INTO notification (dedupe_key, device_id, title, body, expires_at)"
                        " VALUES ('a', %" G_GINT64_FORMAT ", 't', 'b', now() + interval '1 h')",
                        device.id);

    stage_exec(world->stage, sql);
    stage_exec(world->stage, "INSERT INTO notification_push (notification_id, device_id, channel,"
                             " state, priority, expires_at) SELECT id, device_id, 'fcm',"
                             " 'unstored', 5, expires_at FROM notification");
    ANSWER foreign = as_device(world, &other, "POST", "/api/v1/receipts", body);
    expect_status(&foreign, 422);
    assert_int_equal(stage_i64(world->stage, "SELECT count(*) FROM notification_end"), 0);
    for (int again = 0; again < 2; again++) {
        ANSWER own = as_device(world, &device, "POST", "/api/v1/receipts", body);
        expect_status(&own, 200);
        assert_int_equal(json_array_size(json_object_get(own.json, "confirmed")), 1);
    }
    assert_int_equal(stage_i64(world->stage, "SELECT count(*) FROM notification_end"
                                             " WHERE state = 'done'"),
                     1);
    stage_assert_sums(world->stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_receipt)};

    return cmocka_run_group_tests(tests, setup, world_free);
}
