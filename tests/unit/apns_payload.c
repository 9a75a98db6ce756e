/* lib: loa_apns */
/* What the rendered notification says, how loud it is, and how large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apns/payload.h"
#include "base/error.h"
#include "tests/unit/channel_rig.h"

struct level_case {
    const char *what;
    const char *realm, *kind, *level;
    bool silent, critical_alerts;
    const char *interruption, *priority, *sound;
};

static const struct level_case levels[] = {
    {"emergency", "live", "CANH_BAO", "khan_cap", false, true, "critical", "10", "dictionary"},
    {"no entitlement", "live", "CANH_BAO", "khan_cap", false, false, "active", "10", "default"},
    {"exercise", "exercise", "CANH_BAO", "khan_cap", false, true, "time-sensitive", "10",
     "default"},
    {"priority", "live", "THONG_TIN", "uu_tien", false, true, "time-sensitive", "10", "default"},
    {"information", "live", "THONG_TIN", "thuong", false, true, "active", "10", "default"},
    {"silent", "live", "THONG_TIN", "thuong", true, true, "passive", "5", ""},
    {"an emergency is never silent", "live", "CANH_BAO", "khan_cap", true, true, "critical", "10",
     "dictionary"},
};

static void test_interruption_levels(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        const struct level_case *c = &levels[i];
        struct message m = rig_message();
        struct apns_style style = {.critical_alerts = c->critical_alerts,
                                   .fallback_level = (char *)"active"};
        m.realm = c->realm, m.kind = c->kind, m.level = c->level, m.silent = c->silent;
        struct channel_payload *payload = apns_payload_render(&m, &style, NULL);
        g_autoptr(json_t) body = json_loads(payload->body, 0, NULL);
        const json_t *aps = json_object_get(body, "aps"), *sound = json_object_get(aps, "sound");
        const char *heard = json_is_object(sound)   ? "dictionary"
                            : json_is_string(sound) ? json_string_value(sound)
                                                    : "";
        const char *level = json_string_value(json_object_get(aps, "interruption-level"));
        if (strcmp(level, c->interruption) != 0 || strcmp(payload->priority, c->priority) != 0 ||
            strcmp(heard, c->sound) != 0)
            fail_msg("%s: %s %s %s", c->what, level, payload->priority, heard);
        apns_payload_free(payload);
    }
}

static void test_the_notification_says_everything_once(void **state)
{
    struct message m = rig_message();
    struct apns_style style = {.critical_alerts = true, .fallback_level = (char *)"active"};
    struct channel_payload *payload = apns_payload_render(&m, &style, NULL);
    g_autoptr(json_t) body = json_loads(payload->body, 0, NULL);
    const json_t *aps = json_object_get(body, "aps"), *alert = json_object_get(aps, "alert");
    const char *text = json_string_value(json_object_get(alert, "body"));
    json_int_t cut = json_integer_value(json_object_get(body, "cut"));

    (void)state;
    assert_string_equal(json_string_value(json_object_get(alert, "title")), m.title);
    assert_string_equal(text, "Nước sông Bằng lên nhanh.\nLên chỗ cao ngay!");
    assert_int_equal(cut, strlen(m.body));
    assert_memory_equal(text, m.body, (size_t)cut);
    assert_string_equal(text + cut + 1, m.instruction);
    assert_int_equal(json_integer_value(json_object_get(aps, "mutable-content")), 1);
    assert_string_equal(json_string_value(json_object_get(body, "alert")), m.alert_id);
    assert_string_equal(json_string_value(json_object_get(body, "v")), "1");
    assert_int_equal(strlen(json_string_value(json_object_get(body, "sig"))), 86);
    assert_null(json_object_get(body, "title"));
    assert_null(json_object_get(body, "body"));
    assert_null(json_object_get(body, "instruction"));
    assert_int_equal(payload->body_len, strlen(payload->body));
    apns_payload_free(payload);

    m.instruction = "";
    m.store = false;
    payload = apns_payload_render(&m, &style, NULL);
    json_t *plain = json_loads(payload->body, 0, NULL);
    assert_null(json_object_get(plain, "cut"));
    assert_string_equal(payload->expiration, "0");
    json_decref(plain);
    apns_payload_free(payload);
}

static void test_size_is_counted_in_bytes_of_the_body(void **state)
{
    struct message m = rig_message();
    struct apns_style style = {.fallback_level = (char *)"active"};
    g_autofree char *text = g_strnfill(5000, 'a');
    struct channel_payload *payload = apns_payload_render(&m, &style, NULL);
    size_t spare = APNS_PAYLOAD_MAX - payload->body_len + strlen(m.body);
    g_autoptr(GError) error = NULL;

    (void)state;
    apns_payload_free(payload);
    /* "cut" grows from two digits to four */
    text[spare - 2] = '\0';
    m.body = text;
    payload = apns_payload_render(&m, &style, &error);
    assert_null(error);
    assert_int_equal(payload->body_len, APNS_PAYLOAD_MAX);
    apns_payload_free(payload);
    text[spare - 2] = 'a';
    text[spare - 1] = '\0';
    assert_null(apns_payload_render(&m, &style, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    assert_non_null(strstr(error->message, "4097"));
    assert_non_null(strstr(error->message, "4096"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interruption_levels),
        cmocka_unit_test(test_the_notification_says_everything_once),
        cmocka_unit_test(test_size_is_counted_in_bytes_of_the_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
