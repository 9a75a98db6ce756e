/* lib: loa_mqtt */
/* Topics, and what is taken for a receipt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "mqtt/address.h"
#include "mqtt/receipts.h"
#include "mqtt/topic.h"

static void test_alert_topics(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const two[] = {"01273", "01288", NULL};
    static const struct {
        const char *realm;
        bool emergency;
        const char *const *communes;
        const char *want;
    } cases[] = {
        {"live", false, NULL, "loa/v1/alert/all/A-1"},
        {"live", false, none, "loa/v1/alert/all/A-1"},
        {"live", false, two, "loa/v1/alert/area/01273/A-1 loa/v1/alert/area/01288/A-1"},
        {"live", true, none, "loa/v1/emergency/all/A-1"},
        {"live", true, two, "loa/v1/emergency/area/01273/A-1 loa/v1/emergency/area/01288/A-1"},
        {"exercise", false, none, "loa/v1/exercise/all/A-1"},
        {"exercise", true, none, "loa/v1/exercise/all/A-1"},
        {"test", true, two, "loa/v1/test/area/01273/A-1 loa/v1/test/area/01288/A-1"},
        {"whatever", true, none, "loa/v1/test/all/A-1"}, /* never a live root by accident */
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(GStrv) topics =
            mqtt_alert_topics(cases[i].realm, cases[i].emergency, cases[i].communes, "A-1");
        g_autofree char *joined = g_strjoinv(" ", topics);
        assert_string_equal(joined, cases[i].want);
    }
}

static void test_device_ids(void **state)
{
    static const struct {
        const char *text;
        int64_t id; /* 0 = refused */
    } cases[] = {
        {"1", 1},        {"17", 17}, {"9223372036854775807", INT64_MAX},
        {"0", 0},        {"", 0},    {"9223372036854775808", 0},
        {"017", 0},      {"+17", 0}, {"-17", 0},
        {"17 ", 0},      {" 17", 0}, {"17/18", 0},
        {"1e3", 0},      {"#", 0},   {"99999999999999999999999999", 0},
        {"\xd9\xa1", 0}, /* a digit, but not an ASCII one */
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *topic = g_strconcat(MQTT_TOPIC_RECEIPT_PREFIX, cases[i].text, NULL);
        int64_t id = 0;
        assert_int_equal(mqtt_receipt_device(topic, &id), cases[i].id != 0);
        assert_int_equal(id, cases[i].id);
    }
}

static void test_receipts(void **state)
{
    static const struct {
        const char *topic, *payload;
        bool ok;
    } cases[] = {
        {"loa/v1/receipt/17", "{\"alert\":\"20261123-K7M2QX\",\"v\":1,\"event\":\"shown\"}", true},
        {"loa/v1/receipt/17", "{\"alert\":\"20261123-K7M2QX\",\"v\":2,\"event\":\"opened\"}", true},
        {"loa/v1/receipt/x", "{\"alert\":\"20261123-K7M2QX\",\"v\":1,\"event\":\"shown\"}", false},
        {"loa/v1/device/17", "{\"alert\":\"20261123-K7M2QX\",\"v\":1,\"event\":\"shown\"}", false},
        {"loa/v1/receipt/17", "{\"alert\":\"20261123-K7M2QX\",\"v\":1,\"event\":\"read\"}", false},
        {"loa/v1/receipt/17", "{\"alert\":\"20261123-K7M2QX\",\"v\":1}", false},
        {"loa/v1/receipt/17", "", false},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct receipt receipt = {0};
        g_autoptr(GError) error = NULL;
        bool ok = mqtt_receipt_read(cases[i].topic, cases[i].payload, strlen(cases[i].payload),
                                    &receipt, &error);
        assert_int_equal(ok, cases[i].ok);
        assert_int_equal(error == NULL, cases[i].ok);
        assert_int_equal(receipt.device_id, ok ? 17 : 0);
    }
}

static void test_confirmation(void **state)
{
    struct receipt a = {.alert_id = "A-1", .version = 1, .event = RECEIPT_SHOWN};
    struct receipt b = {.alert_id = "A-1", .version = 2, .event = RECEIPT_OPENED};
    const struct receipt *both[] = {&a, &b};
    char *json = mqtt_receipt_confirmation(both, 2);
    (void)state;

    assert_string_equal(json, "{\"confirm\":[{\"alert\":\"A-1\",\"v\":1,\"event\":\"shown\"},"
                              "{\"alert\":\"A-1\",\"v\":2,\"event\":\"opened\"}]}");
    free(json);
}

static void test_broker_addresses(void **state)
{
    static const struct {
        const char *text, *host; /* NULL = refused */
        int port;
    } cases[] = {
        {"mqtt1.example.vn:8884", "mqtt1.example.vn", 8884},
        {"127.0.0.1:1", "127.0.0.1", 1},
        {"[::1]:65535", "::1", 65535},
        {"mqtt1", NULL, 0},
        {":8883", NULL, 0},
        {"host:0", NULL, 0},
        {"host:65536", NULL, 0},
        {"host:88x", NULL, 0},
        {"", NULL, 0},
    };
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *host = NULL;
        g_autoptr(GError) error = NULL;
        int port = 0;
        assert_int_equal(mqtt_address_parse(cases[i].text, &host, &port, &error),
                         cases[i].host != NULL);
        if (cases[i].host != NULL)
            assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alert_topics),     cmocka_unit_test(test_device_ids),
        cmocka_unit_test(test_receipts),         cmocka_unit_test(test_confirmation),
        cmocka_unit_test(test_broker_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
