/* lib: loa_mqtt */
/* The publisher's bookkeeping: order, newest version, rounds, back-off, the life that is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "mqtt/alert.h"
#include "mqtt/live_alert.h"

#define SECOND USEC_PER_SEC

static struct live_alert *ready(int64_t id, const char *alert_id, int version, bool emergency,
                                unsigned topics)
{
    struct live_alert *alert = live_alert_new(id, alert_id, version, emergency, 2);

    alert->state = LIVE_ALERT_READY;
    alert->active = true;
    alert->n_topics = topics;
    alert->deadline_mono_us = 1000 * SECOND;
    return alert;
}

static void test_newest_version_is_active(void **state)
{
    g_autoptr(GPtrArray) alerts = g_ptr_array_new_with_free_func((GDestroyNotify)live_alert_free);
    struct live_alert *v1 = ready(1, "A", 1, true, 1), *v2 = ready(2, "A", 2, true, 1);
    struct live_alert *v3 = ready(3, "A", 3, true, 1), *other = ready(4, "B", 1, false, 1);
    (void)state;

    g_ptr_array_add(alerts, v1);
    g_ptr_array_add(alerts, v2);
    g_ptr_array_add(alerts, v3);
    g_ptr_array_add(alerts, other);
    /* A forged correction hides nothing. */
    v3->state = LIVE_ALERT_REFUSED;
    live_alerts_mark_active(alerts);
    assert_false(v1->active);
    assert_true(v2->active);
    assert_false(v3->active);
    assert_true(other->active);
    /* Nor does one that is not read yet. */
    v2->state = LIVE_ALERT_LOADING;
    live_alerts_mark_active(alerts);
    assert_true(v1->active);
    assert_false(v2->active);
}

static void test_emergencies_first(void **state)
{
    g_autoptr(GPtrArray) alerts = g_ptr_array_new_with_free_func((GDestroyNotify)live_alert_free);
    static const int64_t want[] = {7, 2, 9, 5};
    (void)state;

    g_ptr_array_add(alerts, ready(5, "A", 1, false, 1));
    g_ptr_array_add(alerts, ready(2, "B", 1, true, 1));
    g_ptr_array_add(alerts, ready(9, "C", 1, false, 1));
    g_ptr_array_add(alerts, ready(7, "D", 1, true, 1));
    g_ptr_array_sort(alerts, live_alert_compare);
    for (guint i = 0; i < alerts->len; i++)
        assert_int_equal(((struct live_alert *)alerts->pdata[i])->broadcast_id, want[i]);
}

static void test_rounds(void **state)
{
    struct live_alert *alert = ready(1, "A", 1, true, 2);
    struct delivery *delivery = &alert->deliveries[1];
    (void)state;

    assert_int_equal(live_alert_next_topic(alert, 1, 0), 0);
    delivery->sent = 1;
    assert_int_equal(live_alert_next_topic(alert, 1, 0), 1);
    delivery->sent = 2;
    assert_int_equal(live_alert_next_topic(alert, 1, 0), -1);
    delivery->acked = 1;
    assert_false(live_alert_is_done(alert, 1));
    delivery->acked = 2;
    assert_true(live_alert_is_done(alert, 1));
    assert_false(live_alert_is_done(alert, 0)); /* the other broker still owes */

    /* The broker comes back: everything again, and what was out before no longer counts. */
    unsigned round = delivery->round;
    live_alert_restart(alert, 1);
    assert_int_not_equal(delivery->round, round);
    assert_int_equal(live_alert_next_topic(alert, 1, 0), 0);
    assert_false(live_alert_is_done(alert, 1));
    live_alert_free(alert);
}

static void test_back_off(void **state)
{
    static const int64_t waits_s[] = {1, 2, 4, 8, 16, 30, 30, 30};
    struct live_alert *alert = ready(1, "A", 1, true, 1);
    int64_t now_us = 0;
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(waits_s); i++) {
        live_alert_failed(alert, 0, now_us);
        assert_int_equal(live_alert_next_topic(alert, 0, now_us + waits_s[i] * SECOND - 1), -1);
        assert_int_equal(live_alert_next_topic(alert, 0, now_us + waits_s[i] * SECOND), 0);
        now_us += waits_s[i] * SECOND;
    }
    live_alert_restart(alert, 0);
    assert_int_equal(live_alert_next_topic(alert, 0, 0), 0);
    live_alert_free(alert);
}

static void test_urgent(void **state)
{
    struct live_alert *alert = ready(1, "A", 1, true, 2), *information = ready(2, "B", 1, false, 1);
    (void)state;

    assert_true(live_alert_is_urgent(alert, 0, 0));
    alert->deliveries[0].sent = 2;
    alert->deliveries[0].acked = 1;
    assert_true(live_alert_is_urgent(alert, 0, 0)); /* out, not acknowledged */
    alert->deliveries[0].acked = 2;
    assert_false(live_alert_is_urgent(alert, 0, 0));
    assert_true(live_alert_is_urgent(alert, 1, 0)); /* the other broker */
    live_alert_failed(alert, 1, 0);
    assert_false(live_alert_is_urgent(alert, 1, SECOND - 1));    /* refused: holds up nobody */
    assert_true(live_alert_is_urgent(alert, 1, SECOND));         /* until it is tried again */
    assert_false(live_alert_is_urgent(alert, 1, 1000 * SECOND)); /* expired */
    alert->active = false;
    assert_false(live_alert_is_urgent(alert, 1, SECOND)); /* a newer version is */
    alert->state = LIVE_ALERT_LOADING;
    assert_true(live_alert_is_urgent(alert, 1, SECOND));
    alert->state = LIVE_ALERT_REFUSED;
    assert_false(live_alert_is_urgent(alert, 1, SECOND));
    assert_false(live_alert_is_urgent(information, 0, 0));
    live_alert_free(alert);
    live_alert_free(information);
}

static void test_expiry(void **state)
{
    static const struct {
        int64_t left_us;
        uint32_t want_s;
    } cases[] = {{0, 0},
                 {-SECOND, 0},
                 {1, 1},
                 {SECOND, 1},
                 {SECOND + 1, 2},
                 {90 * SECOND, 90},
                 {INT64_MAX / 2, UINT32_MAX}};
    struct live_alert *alert = ready(1, "A", 1, true, 1);
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        alert->deadline_mono_us = 5000 * SECOND + cases[i].left_us;
        assert_int_equal(live_alert_expiry_s(alert, 5000 * SECOND), cases[i].want_s);
        assert_int_equal(live_alert_next_topic(alert, 0, 5000 * SECOND),
                         cases[i].want_s == 0 ? -1 : 0);
    }
    live_alert_free(alert);
}

static struct message example(const char *language, const char *body)
{
    return (struct message){.type = MESSAGE_ALERT,
                            .alert_id = "20261123-K7M2QX",
                            .version = 1,
                            .kind = "CANH_BAO",
                            .level = "khan_cap",
                            .cls = "khan_cap",
                            .realm = "live",
                            .issued_s = 1795400000,
                            .expires_s = 1795407200,
                            .title = "Cảnh báo lũ quét",
                            .body = body,
                            .instruction = "",
                            .areas = "toan_tinh",
                            .language = language,
                            .url = "",
                            .source_document = "",
                            .receipt_window_s = 600,
                            .key_id = "k1",
                            .is_signed = true};
}

static void test_render(void **state)
{
    const struct message texts[] = {example("vi", "Nước lên nhanh."),
                                    example("en", "Water rises.")};
    g_autoptr(GBytes) bytes = mqtt_alert_render(texts, 2, NULL);
    gsize len;
    const char *json = g_bytes_get_data(bytes, &len);
    g_autoptr(json_t) object = json_parse_object(json, len, MQTT_PAYLOAD_MAX, NULL);
    const json_t *vi = json_object_get(json_object_get(object, "texts"), "vi");
    const json_t *en = json_object_get(json_object_get(object, "texts"), "en");
    (void)state;

    assert_string_equal(json_string_value(json_object_get(object, "alert")), "20261123-K7M2QX");
    assert_string_equal(json_string_value(json_object_get(object, "window")), "600");
    assert_string_equal(json_string_value(json_object_get(vi, "body")), "Nước lên nhanh.");
    assert_string_equal(json_string_value(json_object_get(en, "body")), "Water rises.");
    assert_string_equal(json_string_value(json_object_get(vi, "title")), "Cảnh báo lũ quét");
    assert_int_equal(strlen(json_string_value(json_object_get(en, "sig"))), 86);
    /* What all languages share stands once, what differs only in "texts". */
    assert_int_equal(json_object_size(vi), 3);
    assert_null(json_object_get(object, "title"));
    assert_null(json_object_get(object, "lang"));
    assert_null(json_object_get(object, "sig"));
}

static void test_render_too_large(void **state)
{
    g_autofree char *long_body = g_strnfill(MQTT_PAYLOAD_MAX, 'x');
    const struct message text = example("vi", long_body);
    g_autoptr(GError) error = NULL;
    (void)state;

    assert_null(mqtt_alert_render(&text, 1, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_version_is_active),
        cmocka_unit_test(test_emergencies_first),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_render_too_large),
    };

    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
