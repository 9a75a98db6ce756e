/* What a phone gets when it registers while an alert is live, and that a confirmed receipt is a row
 * in the table: over HTTP, over MQTT, repeated, and with loa mqtt killed in the middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

#define FLEET    300
#define LIMIT_MS 60000

/* ---- HTTP ---- */

/* Registers an FCM phone; the answer, owned. */
static json_t *register_phone(struct rig *rig, const char *key, long status)
{
    g_autofree char *body =
        g_strdup_printf("{\"platform\":\"fcm\",\"token\":\"%s\",\"commune\":\"01273\"}", key);
    const struct rig_request request = {
        .method = "POST", .path = "/api/v1/devices", .key = key, .body = body};

    return rig_http_json(rig, &request, status);
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static json_t *post_receipt(struct rig *rig, const json_t *phone, const char *body, long status)
{
    const struct rig_request request = {.method = "POST",
                                        .path = "/api/v1/receipts",
                                        .device = text_of(phone, "device"),
                                        .secret = text_of(phone, "secret"),
                                        .body = body};

    return rig_http_json(rig, &request, status);
}

/* How many receipts the answer confirms. */
static size_t confirmed(struct rig *rig, const json_t *phone, const char *body)
{
    g_autoptr(json_t) answer = post_receipt(rig, phone, body, 200);

    return json_array_size(json_object_get(answer, "confirmed"));
}

/* Repeated receipts are confirmed each time and counted once; what was never sent is refused. */
static void assert_receipts(struct rig *rig, const json_t *phone, const char *alert)
{
    g_autofree char *shown =
        g_strdup_printf("{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}", alert);
    g_autofree char *both =
        g_strdup_printf("[%s,{\"alert\":\"%s\",\"v\":1,\"event\":\"opened\"}]", shown, alert);
    g_autoptr(json_t) stranger =
        json_pack("{s:s, s:s}", "device", "1", "secret", text_of(phone, "secret"));
    g_autofree char *sql = g_strdup_printf(
        "SELECT count(*) FROM receipt WHERE device_id = %s AND shown_at IS NOT NULL",
        text_of(phone, "device"));
    int64_t first_us;

    assert_int_equal(confirmed(rig, phone, shown), 1);
    first_us = rig_i64(rig, "SELECT max(extract(epoch FROM shown_at) * 1000000)::bigint"
                            " FROM receipt");
    assert_int_equal(confirmed(rig, phone, shown), 1);
    assert_int_equal(confirmed(rig, phone, both), 2);
    assert_int_equal(confirmed(rig, phone, both), 2);
    assert_int_equal(rig_i64(rig, sql), 1);
    assert_int_equal(rig_i64(rig, "SELECT max(extract(epoch FROM shown_at) * 1000000)::bigint"
                                  " FROM receipt"),
                     first_us); /* the first one counts */
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM receipt WHERE opened_at IS NOT NULL"), 1);
    json_decref(post_receipt(rig, phone,
                             "{\"alert\":\"20200101-AAAAAA\",\"v\":1,\"event\":\"shown\"}", 422));
    json_decref(post_receipt(rig, phone, "{\"alert\":7,\"v\":1}", 422));
    json_decref(post_receipt(rig, stranger, shown, 401));
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM receipt"), 1);
}

/* `loa broadcast status --by commune`: its sums are the totals. */
static void assert_by_commune(struct rig *rig, int64_t id)
{
    static const char *const numbers[] = {"targeted", "shown", "opened"};
    g_autofree char *line = g_strdup_printf("broadcast status %ld --by commune --json", (long)id);
    g_autofree char *table = g_strdup_printf("broadcast status %ld --by commune", (long)id);
    g_autofree char *wrong = g_strdup_printf("broadcast status %ld --by village", (long)id);
    g_autofree char *out = NULL, *text = NULL;
    g_autoptr(json_t) status = NULL;
    const json_t *communes;

    assert_int_equal(rig_loa_line(rig, line, &out, NULL), 0);
    assert_non_null(status = json_loads(out, 0, NULL));
    communes = json_object_get(status, "communes");
    assert_true(json_array_size(communes) > 1);
    for (size_t n = 0; n < G_N_ELEMENTS(numbers); n++) {
        json_int_t sum = 0;
        for (size_t i = 0; i < json_array_size(communes); i++)
            sum += json_integer_value(json_object_get(json_array_get(communes, i), numbers[n]));
        assert_int_equal(sum, json_integer_value(json_object_get(status, numbers[n])));
        assert_true(sum > 0);
    }
    assert_int_equal(rig_loa_line(rig, table, &text, NULL), 0);
    assert_non_null(strstr(text, "Thục Phán"));
    assert_int_not_equal(rig_loa_line(rig, wrong, NULL, NULL), 0);
}

static void test_registration_while_live(void **state)
{
    static const struct rig_options options = {.fcm = 50, .deliver = 1, .api = true};
    struct rig *rig = rig_new(&options);
    g_autofree char *cancel = NULL;
    g_autoptr(json_t) early = NULL, late = NULL, again = NULL, after = NULL;
    const json_t *alert;
    int64_t id;

    (void)state;
    rig_exec(rig, "UPDATE device SET commune = (SELECT max(code) FROM commune) WHERE id % 2 = 0");
    early = register_phone(rig, "phone-before-the-alert", 201);
    assert_int_equal(json_array_size(json_object_get(early, "alerts")), 0);
    id = rig_release(rig, true, "2h");
    late = register_phone(rig, "phone-during-the-alert", 201);
    assert_int_equal(json_array_size(json_object_get(late, "alerts")), 1);
    alert = json_array_get(json_object_get(late, "alerts"), 0);
    assert_string_equal(text_of(alert, "title"), "Lũ khẩn cấp trên sông Bằng");
    assert_string_equal(text_of(alert, "level"), "khan_cap");
    assert_non_null(text_of(alert, "sig"));
    again = register_phone(rig, "phone-during-the-alert", 200);
    assert_string_equal(text_of(again, "device"), text_of(late, "device"));
    assert_int_equal(json_array_size(json_object_get(again, "alerts")), 1);
    assert_receipts(rig, late, text_of(alert, "alert"));
    rig_until(rig, RIG_FINISHED, 60, true);
    assert_by_commune(rig, id);
    cancel = g_strdup_printf("broadcast cancel %ld --reason 'sai địa bàn' --as an --key @an.key",
                             (long)id);
    assert_int_equal(rig_loa_line(rig, cancel, NULL, NULL), 0);
    after = register_phone(rig, "phone-after-the-cancel", 201);
    for (size_t i = 0; i < json_array_size(json_object_get(after, "alerts")); i++)
        assert_string_not_equal(
            text_of(json_array_get(json_object_get(after, "alerts"), i), "type"), "alert");
    rig_until(rig, RIG_FINISHED, 60, true);
    rig_free(rig);
}

/* ---- MQTT ---- */

/* Receipts come in while loa mqtt dies again and again. */
struct storm {
    struct rig *rig;
    int kills;
};

static int64_t fleet_count(struct rig *rig, const char *name)
{
    g_autoptr(json_t) stats = rig_fleet(rig, "{\"cmd\":\"stats\"}");

    assert_non_null(stats);
    return json_integer_value(json_object_get(stats, name));
}

/* What a phone was told is read first: the table may only be ahead of it. */
static bool all_confirmed(void *user)
{
    static const int64_t at[] = {20, 90, 170}; /* receipts in the table */
    struct storm *storm = user;
    int64_t told = fleet_count(storm->rig, "receipts_confirmed");
    int64_t stored = rig_i64(storm->rig, "SELECT count(*) FROM receipt WHERE shown_at IS NOT NULL");

    assert_true(told <= stored);
    if (storm->kills < (int)G_N_ELEMENTS(at) && stored >= at[storm->kills]) {
        struct rig_process *mqtt = rig_role(storm->rig, "mqtt");
        rig_kill(mqtt);
        rig_start(storm->rig, mqtt);
        storm->kills++;
    }
    return told == FLEET;
}

static void test_killed_while_receipts_arrive(void **state)
{
    static const struct rig_options options = {
        .mqtt = FLEET, .fleet = FLEET, .brokers = 1, .deliver = 1, .api = true};
    struct rig *rig = rig_new(&options);
    struct storm storm = {.rig = rig};

    (void)state;
    rig_release(rig, true, "2h");
    assert_true(test_wait_until(all_confirmed, &storm, LIMIT_MS));
    print_message("%d kills, %ld receipts sent for %d phones\n", storm.kills,
                  (long)fleet_count(rig, "receipts_sent"), FLEET);
    assert_true(storm.kills >= 1);
    assert_int_equal(rig_i64(rig, "SELECT count(*) FROM receipt"), FLEET);
    assert_int_equal(fleet_count(rig, "distinct"), FLEET);
    assert_int_equal(fleet_count(rig, "bad_signatures"), 0);
    rig_until(rig, RIG_FINISHED, 60, true);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registration_while_live),
        cmocka_unit_test(test_killed_while_receipts_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
