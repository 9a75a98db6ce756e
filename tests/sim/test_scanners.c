/* jscan, the FCM message, the APNs payload and the HTTP/1.1 request: tables of cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "tests/sim/apns_payload.h"
#include "tests/sim/fcm_message.h"
#include "tests/sim/http1.h"
#include "tests/sim/jscan.h"

static bool scan_value(const char *text, size_t len)
{
    struct jscan scan;

    jscan_init(&scan, text, len);
    return jscan_skip(&scan) && jscan_end(&scan);
}

static void test_json_forms(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"{}", true},
        {" [ ] ", true},
        {"[1,-0,0.5,1e9,1E+2,-1.25e-3,true,false,null,\"\"]", true},
        {"{\"a\":{\"b\":[{}]},\"c\":1}", true},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"", true},
        {"\"Cảnh báo lũ quét\"", true},
        {"\"\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\"", true},
        {"", false},
        {"{", false},
        {"{\"a\"}", false},
        {"{\"a\":}", false},
        {"{\"a\":1,}", false},
        {"{a:1}", false},
        {"[1,]", false},
        {"[1 2]", false},
        {"01", false},
        {"1.", false},
        {".5", false},
        {"+1", false},
        {"1e", false},
        {"-", false},
        {"tru", false},
        {"nulls", false},
        {"{} {}", false},
        {"\"", false},
        {"\"\\", false},
        {"\"\\x\"", false},
        {"\"\\u12\"", false},
        {"\"\\ud83d\"", false},
        {"\"\\ud83d\\u0041\"", false},
        {"\"\\ude00\"", false},
        {"\"a\nb\"", false},
        {"\"\x01\"", false},
        {"\"\xc0\x80\"", false},         /* overlong */
        {"\"\xe0\x80\x80\"", false},     /* overlong */
        {"\"\xed\xa0\x80\"", false},     /* surrogate */
        {"\"\xf4\x90\x80\x80\"", false}, /* above U+10FFFF */
        {"\"\xe1\xba\"", false},         /* cut */
        {"\"\x80\"", false},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        if (scan_value(cases[i].text, strlen(cases[i].text)) != cases[i].valid)
            fail_msg("%s should be %s", cases[i].text, cases[i].valid ? "valid" : "refused");
}

static void test_json_depth(void **state)
{
    (void)state;
    for (int depth = JSCAN_DEPTH_MAX; depth <= JSCAN_DEPTH_MAX + 1; depth++) {
        g_autofree char *open = g_strnfill((gsize)depth, '[');
        g_autofree char *close = g_strnfill((gsize)depth, ']');
        g_autofree char *text = g_strconcat(open, close, NULL);
        assert_int_equal(scan_value(text, strlen(text)), depth <= JSCAN_DEPTH_MAX);
    }
}

static void test_unescape(void **state)
{
    static const struct {
        const char *json, *text; /* NULL = refused */
        size_t max;
    } cases[] = {
        {"\"abc\"", "abc", 3},
        {"\"abc\"", NULL, 2},
        {"\"a\\n\\u00e9\\ud83d\\ude00/\"", "a\n\xc3\xa9\xf0\x9f\x98\x80/", 9},
        {"\"\\u1ea3\"", "\xe1\xba\xa3", 3},
        {"\"\\u0000\"", NULL, 10},
    };
    char buffer[16];

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct jscan scan;
        struct jscan_text string;
        struct text out;
        jscan_init(&scan, cases[i].json, strlen(cases[i].json));
        assert_true(jscan_string(&scan, &string));
        assert_int_equal(jscan_unescape(&string, buffer, cases[i].max, &out),
                         cases[i].text != NULL);
        if (cases[i].text != NULL)
            assert_true(text_is(out, cases[i].text));
    }
}

#define M(inside) "{\"message\":{\"token\":\"abc\"" inside "}}"

static void test_fcm_messages(void **state)
{
    static const struct {
        const char *body;
        bool valid;
        const char *field; /* of a refused one; NULL = the whole body */
    } cases[] = {
        {M(""), true, NULL},
        {M(",\"data\":{}"), true, NULL},
        {M(",\"data\":{\"alert\":\"A\",\"v\":\"1\",\"title\":\"C\xe1\xba\xa3nh b\xc3\xa1o\"}"),
         true, NULL},
        {M(",\"android\":{\"priority\":\"HIGH\",\"ttl\":\"3600s\",\"direct_boot_ok\":true}"), true,
         NULL},
        {M(",\"android\":{\"directBootOk\":true,\"collapseKey\":\"k\",\"ttl\":\"3.5s\"}"), true,
         NULL},
        {M(",\"android\":{\"ttl\":\"0s\"}"), true, NULL},
        {M(",\"android\":{\"ttl\":\"2419200s\"}"), true, NULL},
        {M(",\"apns\":{\"headers\":{}},\"webpush\":{},\"fcm_options\":{}"), true, NULL},
        {"{\"message\":{\"fid\":\"abc\"},\"validate_only\":true}", true, NULL},
        {"{\"message\":{\"topic\":\"prov-all\"},\"validateOnly\":false}", true, NULL},
        {"{\"message\":{\"condition\":\"'a' in topics\"}}", true, NULL},

        {"", false, NULL},
        {"[]", false, NULL},
        {"{\"message\":{\"token\":\"abc\"}", false, NULL},
        {"{\"message\":{\"token\":\"abc\"}}x", false, NULL},
        {"{}", false, "message"},
        {"{\"message\":{}}", false, "message"},
        {"{\"message\":[]}", false, "message"},
        {"{\"messages\":{}}", false, NULL},
        {"{\"message\":{\"token\":\"abc\",\"fid\":\"abc\"}}", false, "message"},
        {"{\"message\":{\"token\":\"abc\",\"topic\":\"t\"}}", false, "message"},
        {"{\"message\":{\"token\":\"\"}}", false, "message.token"},
        {"{\"message\":{\"token\":\"a/b\"}}", false, "message.token"},
        {"{\"message\":{\"token\":\"a\\u0000\"}}", false, "message.token"},
        {"{\"message\":{\"token\":7}}", false, "message.token"},
        {"{\"message\":{\"topic\":\"/topics/t\"}}", false, "message.topic"},
        {M(",\"token\":\"abc\""), false, "message.token"},
        {M(",\"colour\":1"), false, NULL},
        {M(",\"data\":{\"n\":1}"), false, "message.data"},
        {M(",\"data\":{\"n\":null}"), false, "message.data"},
        {M(",\"data\":{\"n\":{}}"), false, "message.data"},
        {M(",\"data\":[]"), false, "message.data"},
        {M(",\"data\":{\"from\":\"x\"}"), false, "message.data"},
        {M(",\"data\":{\"message_type\":\"x\"}"), false, "message.data"},
        {M(",\"data\":{\"google.x\":\"x\"}"), false, "message.data"},
        {M(",\"data\":{\"gcm.notification.x\":\"x\"}"), false, "message.data"},
        {M(",\"data\":{\"a\":\"x\",\"a\":\"x\"}"), false, "message.data"},
        {M(",\"android\":{\"priority\":\"URGENT\"}"), false, "message.android.priority"},
        {M(",\"android\":{\"ttl\":3600}"), false, "message.android.ttl"},
        {M(",\"android\":{\"ttl\":\"3600\"}"), false, "message.android.ttl"},
        {M(",\"android\":{\"ttl\":\"-1s\"}"), false, "message.android.ttl"},
        {M(",\"android\":{\"ttl\":\"2419201s\"}"), false, "message.android.ttl"},
        {M(",\"android\":{\"ttl\":\"99999999999s\"}"), false, "message.android.ttl"},
        {M(",\"android\":{\"ttl\":\"1.s\"}"), false, "message.android.ttl"},
        {M(",\"android\":{\"direct_boot_ok\":\"true\"}"), false, "message.android.direct_boot_ok"},
        {M(",\"android\":{\"direct_boot\":true}"), false, NULL},
    };
    struct fcm_message message;

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        bool valid = fcm_message_read(cases[i].body, strlen(cases[i].body), &message);
        if (valid != cases[i].valid)
            fail_msg("%s: %s", cases[i].body, message.problem);
        if (!valid && g_strcmp0(message.field, cases[i].field) != 0)
            fail_msg("%s: field %s", cases[i].body, message.field);
    }
}

static void test_fcm_values(void **state)
{
    static const char body[] =
        "{\"message\":{\"token\":\"\\u0061bc\",\"data\":{\"alert\":\"20261123-"
        "K7M2QX\",\"v\":\"2\",\"t\":\"\\u1ea3\"}}}";
    struct fcm_message message;

    (void)state;
    assert_true(fcm_message_read(body, strlen(body), &message));
    assert_true(text_is(message.address, "abc"));
    assert_true(text_is(message.alert, "20261123-K7M2QX"));
    assert_true(text_is(message.version, "2"));
    assert_int_equal(message.payload_len, 5 + 15 + 1 + 1 + 1 + 3);
}

static void test_fcm_sizes(void **state)
{
    static const struct {
        const char *address;
        size_t limit;
    } cases[] = {
        {"token", FCM_PAYLOAD_MAX}, {"fid", FCM_PAYLOAD_MAX}, {"topic", FCM_TOPIC_PAYLOAD_MAX}};
    struct fcm_message message;

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (size_t extra = 0; extra < 2; extra++) {
            g_autofree char *text = g_strnfill(cases[i].limit - 1 + extra, 'x');
            g_autofree char *body = g_strdup_printf(
                "{\"message\":{\"%s\":\"abc\",\"data\":{\"k\":\"%s\"}}}", cases[i].address, text);
            assert_int_equal(fcm_message_read(body, strlen(body), &message), extra == 0);
            assert_int_equal(message.too_big, extra == 1);
        }
    }
}

static void test_apns_payloads(void **state)
{
    static const struct {
        const char *body;
        bool valid;
        const char *alert, *version;
    } cases[] = {
        {"{\"aps\":{}}", true, NULL, NULL},
        {"{\"aps\":{\"alert\":\"x\"},\"alert\":\"A\",\"v\":\"1\"}", true, "A", "1"},
        {"{\"v\":2,\"alert\":\"A\",\"aps\":{\"alert\":{\"title\":\"t\"}}}", true, "A", "2"},
        {"{\"aps\":{},\"alert\":{\"x\":1}}", true, NULL, NULL},
        {"{}", false, NULL, NULL},
        {"{\"aps\":1}", false, NULL, NULL},
        {"{\"aps\":{},\"aps\":{}}", false, NULL, NULL},
        {"{\"aps\":{\"alert\":1}}", false, NULL, NULL},
        {"{\"aps\":{}} ]", false, NULL, NULL},
        {"{\"aps\":{},\"alert\":\"A\",\"alert\":\"B\"}", false, NULL, NULL},
    };
    struct apns_payload payload;

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_int_equal(apns_payload_read(cases[i].body, strlen(cases[i].body), &payload),
                         cases[i].valid);
        if (!cases[i].valid)
            continue;
        assert_int_equal(payload.alert.at != NULL, cases[i].alert != NULL);
        if (cases[i].alert != NULL) {
            assert_true(text_is(payload.alert, cases[i].alert));
            assert_true(text_is(payload.version, cases[i].version));
        }
    }
}

#define HEAD "POST /token HTTP/1.1\r\nHost: localhost\r\n"

static void test_http1_requests(void **state)
{
    static const struct {
        const char *data;
        enum http1_result result;
        const char *body;
    } cases[] = {
        {HEAD "Content-Length: 3\r\n\r\nabc", HTTP1_DONE, "abc"},
        {HEAD "content-length:3 \r\n\r\nabcd", HTTP1_DONE, "abc"},
        {HEAD "\r\n", HTTP1_DONE, ""},
        {HEAD "Content-Length: 3\r\n\r\nab", HTTP1_PARTIAL, NULL},
        {HEAD, HTTP1_PARTIAL, NULL},
        {"", HTTP1_PARTIAL, NULL},
        {HEAD "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", HTTP1_BAD, NULL},
        {HEAD "Content-Length: -3\r\n\r\nabc", HTTP1_BAD, NULL},
        {HEAD "Content-Length: 99999999\r\n\r\n", HTTP1_BAD, NULL},
        {HEAD "Content-Length: 40000\r\n\r\n", HTTP1_BAD, NULL},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n", HTTP1_BAD, NULL},
        {HEAD "no colon\r\n\r\n", HTTP1_BAD, NULL},
        {HEAD ": empty\r\n\r\n", HTTP1_BAD, NULL},
        {"POST /token\r\n\r\n", HTTP1_BAD, NULL},
        {"POST /token HTTP/1.0\r\n\r\n", HTTP1_BAD, NULL},
        {"\r\n\r\n", HTTP1_BAD, NULL},
    };
    struct request_head head;
    struct request request;

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        enum http1_result result =
            http1_read(cases[i].data, strlen(cases[i].data), &head, &request);
        if (result != cases[i].result)
            fail_msg("%s: %d", cases[i].data, (int)result);
        if (result != HTTP1_DONE)
            continue;
        assert_true(text_is(request.header[HEADER_METHOD], "POST"));
        assert_true(text_is(request.header[HEADER_PATH], "/token"));
        assert_true(text_is(request.body, cases[i].body));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_forms),    cmocka_unit_test(test_json_depth),
        cmocka_unit_test(test_unescape),      cmocka_unit_test(test_fcm_messages),
        cmocka_unit_test(test_fcm_values),    cmocka_unit_test(test_fcm_sizes),
        cmocka_unit_test(test_apns_payloads), cmocka_unit_test(test_http1_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
