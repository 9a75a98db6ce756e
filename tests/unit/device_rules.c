/* lib: loa_engine */
/* The rules of a registration, row by row: what an app tells, and the columns or complaints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static GHashTable *communes;

struct case_new {
    const char *json;
    const char *complaint; /* "name" of the only complaint; NULL = accepted */
    const char *channel;
    const char *id_kind;
    const char *environment;
    bool mqtt;
};

static const struct case_new new_cases[] = {
    {"{\"platform\":\"fcm\",\"token\":\"abc:DEF_-1\"}", NULL, "fcm", "token", NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"f\",\"id_kind\":\"fid\",\"mqtt\":true}", NULL, "fcm", "fid",
     NULL, true},
    {"{\"platform\":\"apns\",\"token\":\"" HEX64 "\"}", NULL, "apns", "token", "production", false},
    {"{\"platform\":\"apns\",\"token\":\"" HEX64 "\",\"environment\":\"sandbox\"}", NULL, "apns",
     "token", "sandbox", false},
    {"{\"platform\":\"mqtt\"}", NULL, "mqtt", NULL, NULL, true},
    {"{\"platform\":\"mqtt\",\"mqtt\":true,\"commune\":\"01273\",\"language\":\"zh-Hant\"}", NULL,
     "mqtt", NULL, NULL, true},
    {"{\"platform\":\"mqtt\",\"commune\":\"\"}", NULL, "mqtt", NULL, NULL, true},

    {"{}", "platform", NULL, NULL, NULL, false},
    {"{\"platform\":\"hms\"}", "platform", NULL, NULL, NULL, false},
    {"{\"platform\":null}", "platform", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"a\\\"b\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"a b\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"a\\nb\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"đ\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":17}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"apns\",\"token\":\"0123\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"apns\",\"token\":\"" HEX64 "0\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"apns\",\"token\":\"" HEX64 "AB\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"token\":\"t\"}", "token", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"mqtt\":false}", "mqtt", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"mqtt\":\"true\"}", "mqtt", NULL, NULL, NULL, false},
    {"{\"platform\":\"fcm\",\"token\":\"t\",\"environment\":\"sandbox\"}", "environment", NULL,
     NULL, NULL, false},
    {"{\"platform\":\"apns\",\"token\":\"" HEX64 "\",\"id_kind\":\"fid\"}", "id_kind", NULL, NULL,
     NULL, false},
    {"{\"platform\":\"mqtt\",\"commune\":\"99999\"}", "commune", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"commune\":\"1273\"}", "commune", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"commune\":\"0127x\"}", "commune", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"language\":\"VI\"}", "language", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"language\":\"vi-\"}", "language", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"language\":\"abcd\"}", "language", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"language\":\"\"}", "language", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"os\":\"a\\tb\"}", "os", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"app_version\":\"123456789012345678901234567890123\"}", "app_version",
     NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"silent_information\":1}", "silent_information", NULL, NULL, NULL,
     false},
    {"{\"platform\":\"mqtt\",\"realm\":\"test\"}", "realm", NULL, NULL, NULL, false},
    {"{\"platform\":\"mqtt\",\"account_id\":1}", "account_id", NULL, NULL, NULL, false},
};

/* Runs the rules; returns the only complaint's name, "" for none, or what all of them are. */
static const char *run(json_t *object, bool registering, const struct device_state *before,
                       struct device_state *out)
{
    loa_auto(json_reader) reader = json_reader_new(object);
    struct device_told told;
    const char *name = "", *detail;

    device_told_read(reader, registering, &told);
    json_reader_end(reader);
    if (json_reader_complaints(reader) == 0)
        device_merge(before, &told, communes, reader, out);
    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        json_reader_complaint(reader, i, &name, &detail);
        if (json_reader_complaints(reader) > 1)
            print_error("%s: %s\n", name, detail);
    }
    return json_reader_complaints(reader) > 1 ? "several" : g_intern_string(name);
}

static json_t *parse(const char *text)
{
    json_t *object = json_parse_object(text, strlen(text), DEVICE_BODY_MAX, NULL);

    assert_non_null(object);
    return object;
}

static void test_new(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(new_cases); i++) {
        const struct case_new *c = &new_cases[i];
        g_autoptr(json_t) object = parse(c->json);
        struct device_state out;
        const char *complaint = run(object, true, NULL, &out);

        if (strcmp(complaint, c->complaint != NULL ? c->complaint : "") != 0)
            fail_msg("%s: complaint \"%s\"", c->json, complaint);
        if (c->complaint != NULL)
            continue;
        assert_string_equal(out.channel, c->channel);
        assert_int_equal(g_strcmp0(out.id_kind, c->id_kind), 0);
        assert_int_equal(g_strcmp0(out.apns_environment, c->environment), 0);
        assert_int_equal(out.push_token != NULL, strcmp(c->channel, "mqtt") != 0);
        assert_int_equal(out.mqtt, c->mqtt);
    }
}

static void test_every_fault_is_named_at_once(void **state)
{
    g_autoptr(json_t) object =
        parse("{\"platform\":\"x\",\"token\":\" \",\"commune\":\"1\",\"language\":\"?\",\"y\":1}");
    loa_auto(json_reader) reader = json_reader_new(object);
    struct device_told told;

    (void)state;
    device_told_read(reader, true, &told);
    json_reader_end(reader);
    assert_int_equal(json_reader_complaints(reader), 5);
}

struct case_refresh {
    struct device_state before;
    const char *json;
    const char *complaint;
    const char *channel;
    const char *id_kind;
    const char *token;
    const char *environment;
    bool mqtt;
};

#define FCM                                                                                        \
    {                                                                                              \
        .channel = "fcm", .id_kind = "token", .push_token = "old"                                  \
    }
#define FCM_MQTT                                                                                   \
    {                                                                                              \
        .channel = "fcm", .id_kind = "token", .push_token = "old", .mqtt = true                    \
    }
#define SANDBOX                                                                                    \
    {                                                                                              \
        .channel = "apns", .id_kind = "token", .push_token = HEX64, .apns_environment = "sandbox"  \
    }
#define ONLY_MQTT                                                                                  \
    {                                                                                              \
        .channel = "mqtt", .mqtt = true                                                            \
    }
#define RETIRED                                                                                    \
    {                                                                                              \
        .channel = "none"                                                                          \
    }

static const struct case_refresh refresh_cases[] = {
    {FCM, "{}", NULL, "fcm", "token", "old", NULL, false},
    {FCM, "{\"token\":\"new\"}", NULL, "fcm", "token", "new", NULL, false},
    {FCM, "{\"platform\":\"fcm\"}", NULL, "fcm", "token", "old", NULL, false},
    {FCM, "{\"id_kind\":\"fid\",\"token\":\"f\"}", NULL, "fcm", "fid", "f", NULL, false},
    {FCM, "{\"id_kind\":\"fid\"}", "token", NULL, NULL, NULL, NULL, false},
    {FCM, "{\"mqtt\":true}", NULL, "fcm", "token", "old", NULL, true},
    {FCM_MQTT, "{\"mqtt\":false}", NULL, "fcm", "token", "old", NULL, false},
    {FCM_MQTT, "{\"token\":\"new\"}", NULL, "fcm", "token", "new", NULL, true},
    {FCM, "{\"platform\":\"mqtt\"}", NULL, "mqtt", NULL, NULL, NULL, true},
    {FCM, "{\"platform\":\"apns\"}", "token", NULL, NULL, NULL, NULL, false},
    {FCM, "{\"platform\":\"apns\",\"token\":\"" HEX64 "\"}", NULL, "apns", "token", HEX64,
     "production", false},
    {FCM, "{\"environment\":\"sandbox\"}", "environment", NULL, NULL, NULL, NULL, false},
    {SANDBOX, "{\"language\":\"en\"}", NULL, "apns", "token", HEX64, "sandbox", false},
    {SANDBOX, "{\"environment\":\"production\"}", NULL, "apns", "token", HEX64, "production",
     false},
    {SANDBOX, "{\"platform\":\"fcm\",\"token\":\"new\"}", NULL, "fcm", "token", "new", NULL, false},
    {SANDBOX, "{\"token\":\"new\"}", "token", NULL, NULL, NULL, NULL, false},
    {ONLY_MQTT, "{\"mqtt\":false}", "mqtt", NULL, NULL, NULL, NULL, false},
    {ONLY_MQTT, "{\"token\":\"new\"}", "token", NULL, NULL, NULL, NULL, false},
    {ONLY_MQTT, "{\"platform\":\"fcm\",\"token\":\"new\"}", NULL, "fcm", "token", "new", NULL,
     true},
    {ONLY_MQTT, "{\"platform\":\"fcm\",\"token\":\"new\",\"mqtt\":false}", NULL, "fcm", "token",
     "new", NULL, false},
    {RETIRED, "{}", NULL, "none", NULL, NULL, NULL, false},
    {RETIRED, "{\"mqtt\":true}", NULL, "mqtt", NULL, NULL, NULL, true},
    {RETIRED, "{\"token\":\"new\"}", "token", NULL, NULL, NULL, NULL, false},
    {RETIRED, "{\"platform\":\"fcm\",\"token\":\"new\"}", NULL, "fcm", "token", "new", NULL, false},
};

static void test_refresh(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(refresh_cases); i++) {
        const struct case_refresh *c = &refresh_cases[i];
        struct device_state before = c->before, out;
        g_autoptr(json_t) object = parse(c->json);
        const char *complaint;

        before.os = before.app_version = "";
        before.language = "vi";
        complaint = run(object, false, &before, &out);
        if (strcmp(complaint, c->complaint != NULL ? c->complaint : "") != 0)
            fail_msg("row %zu %s: complaint \"%s\"", i, c->json, complaint);
        if (c->complaint != NULL)
            continue;
        assert_string_equal(out.channel, c->channel);
        if (g_strcmp0(out.id_kind, c->id_kind) != 0 || g_strcmp0(out.push_token, c->token) != 0 ||
            g_strcmp0(out.apns_environment, c->environment) != 0 || out.mqtt != c->mqtt)
            fail_msg("row %zu %s: %s %s %s %d", i, c->json, out.id_kind, out.push_token,
                     out.apns_environment, out.mqtt);
    }
}

static void test_refresh_keeps_what_is_not_told(void **state)
{
    const struct device_state before = {.channel = "mqtt",
                                        .mqtt = true,
                                        .os = "android 14",
                                        .app_version = "1.2",
                                        .language = "tyz",
                                        .commune = "01273",
                                        .silent_information = true};
    struct device_state out;
    g_autoptr(json_t) nothing = parse("{}");
    g_autoptr(json_t) cleared = parse("{\"commune\":\"\",\"silent_information\":false}");

    (void)state;
    assert_string_equal(run(nothing, false, &before, &out), "");
    assert_string_equal(out.os, "android 14");
    assert_string_equal(out.app_version, "1.2");
    assert_string_equal(out.language, "tyz");
    assert_string_equal(out.commune, "01273");
    assert_true(out.silent_information);
    assert_string_equal(run(cleared, false, &before, &out), "");
    assert_null(out.commune);
    assert_false(out.silent_information);
}

static void test_key(void **state)
{
    char longest[DEVICE_KEY_MAX + 2];

    (void)state;
    memset(longest, 'k', sizeof(longest) - 1);
    longest[DEVICE_KEY_MAX + 1] = '\0';
    assert_false(device_key_valid(longest));
    longest[DEVICE_KEY_MAX] = '\0';
    assert_true(device_key_valid(longest));
    assert_true(device_key_valid("0123456789abcdef"));
    assert_false(device_key_valid("0123456789abcde"));
    assert_false(device_key_valid("0123456789 abcdef"));
    assert_false(device_key_valid("0123456789abcdé"));
}

static void test_token_tail(void **state)
{
    (void)state;
    assert_string_equal(device_token_tail("abcdefghij"), "efghij");
    assert_string_equal(device_token_tail("abc"), "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),     cmocka_unit_test(test_every_fault_is_named_at_once),
        cmocka_unit_test(test_refresh), cmocka_unit_test(test_refresh_keeps_what_is_not_told),
        cmocka_unit_test(test_key),     cmocka_unit_test(test_token_tail),
    };

    communes = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_add(communes, (gpointer) "01273");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
