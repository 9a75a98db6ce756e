/* lib: loa_fcm */
/* What the rendered message says, and how large FCM finds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/error.h"
#include "fcm/payload.h"
#include "tests/unit/channel_rig.h"

static json_t *body_json(const struct message *message, int64_t now_s)
{
    struct channel_payload *payload = fcm_payload_render(message, now_s, NULL);
    struct h2_piece pieces[H2_PIECES_MAX];
    g_autoptr(GString) text = g_string_new(NULL);
    json_t *body;

    fcm_payload_body(payload, "tok", false, false, pieces);
    for (int i = 0; i < H2_PIECES_MAX; i++)
        g_string_append_len(text, pieces[i].data, (gssize)pieces[i].len);
    body = json_loads(text->str, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(body);
    fcm_payload_free(payload);
    return body;
}

static void test_the_message_is_data_only(void **state)
{
    struct message m = rig_message();
    g_autoptr(json_t) body = body_json(&m, RIG_NOW_S + 60);
    json_t *message = json_object_get(body, "message"), *data = json_object_get(message, "data");
    const json_t *android = json_object_get(message, "android");
    const char *key;
    json_t *value;

    (void)state;
    assert_int_equal(json_object_size(body), 1);
    assert_int_equal(json_object_size(message), 3); /* no notification, no collapse_key */
    assert_string_equal(json_string_value(json_object_get(message, "token")), "tok");
    assert_int_equal(json_object_size(android), 3);
    assert_string_equal(json_string_value(json_object_get(android, "priority")), "HIGH");
    assert_string_equal(json_string_value(json_object_get(android, "ttl")), "3540s");
    assert_true(json_is_true(json_object_get(android, "direct_boot_ok")));
    assert_string_equal(json_string_value(json_object_get(data, "alert")), m.alert_id);
    assert_string_equal(json_string_value(json_object_get(data, "instruction")), m.instruction);
    json_object_foreach(data, key, value)
    {
        assert_true(json_is_string(value));
        assert_string_not_equal(key, "from"); /* FCM's own names are forbidden */
        assert_string_not_equal(key, "message_type");
        assert_false(g_str_has_prefix(key, "google.") || g_str_has_prefix(key, "gcm."));
    }
}

struct android_case {
    bool silent, store;
    int64_t expires_in_s;
    const char *priority, *ttl;
};

static void test_priority_and_time_to_live(void **state)
{
    static const struct android_case cases[] = {
        {false, true, 3600, "HIGH", "3600s"},        {true, true, 3600, "NORMAL", "3600s"},
        {false, false, 3600, "HIGH", "0s"},          {false, true, -5, "HIGH", "0s"},
        {false, true, 99999999, "HIGH", "2419200s"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct message m = rig_message();
        m.silent = cases[i].silent, m.store = cases[i].store;
        m.expires_s = RIG_NOW_S + cases[i].expires_in_s;
        g_autoptr(json_t) body = body_json(&m, RIG_NOW_S);
        const json_t *android = json_object_get(json_object_get(body, "message"), "android");
        assert_string_equal(json_string_value(json_object_get(android, "priority")),
                            cases[i].priority);
        assert_string_equal(json_string_value(json_object_get(android, "ttl")), cases[i].ttl);
        /* Behind APNs, too, what is not to be stored must displace nothing. */
        const json_t *apns = json_object_get(json_object_get(body, "message"), "apns");
        const json_t *expiration =
            json_object_get(json_object_get(apns, "headers"), "apns-expiration");
        if (cases[i].store)
            assert_null(apns);
        else
            assert_string_equal(json_string_value(expiration), "0");
    }
}

static void test_size_is_counted_as_fcm_counts(void **state)
{
    struct message m = rig_message();
    g_autofree char *text = g_strnfill(5000, 'a');
    struct channel_payload *payload = fcm_payload_render(&m, RIG_NOW_S, NULL);
    size_t spare = FCM_PAYLOAD_MAX - fcm_payload_size(payload) + strlen(m.body);
    g_autoptr(GError) error = NULL;

    (void)state;
    fcm_payload_free(payload);
    text[spare] = '\0';
    text[0] = '\n'; /* two bytes on the wire, one as FCM counts */
    m.body = text;
    payload = fcm_payload_render(&m, RIG_NOW_S, &error);
    assert_null(error);
    assert_int_equal(fcm_payload_size(payload), FCM_PAYLOAD_MAX);
    fcm_payload_free(payload);
    text[spare] = 'a';
    text[spare + 1] = '\0';
    assert_null(fcm_payload_render(&m, RIG_NOW_S, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    assert_non_null(strstr(error->message, "4097"));
    assert_non_null(strstr(error->message, "4096"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_message_is_data_only),
        cmocka_unit_test(test_priority_and_time_to_live),
        cmocka_unit_test(test_size_is_counted_as_fcm_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
