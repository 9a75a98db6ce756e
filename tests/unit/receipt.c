/* lib: loa_engine */
/* Reading one receipt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/receipt.h"

static const struct {
    const char *text;
    const char *why; /* named in the refusal; NULL = accepted */
} cases[] = {
    {"{\"alert\":\"20261123-K7M2QX\",\"v\":1,\"event\":\"shown\"}", NULL},
    {"{\"alert\":\"20261123-K7M2QX\",\"v\":2,\"event\":\"opened\"}", NULL},
    {"{\"alert\":\"a\",\"v\":1,\"event\":\"seen\"}", "event"},
    {"{\"alert\":\"a\",\"v\":0,\"event\":\"shown\"}", "v"},
    {"{\"alert\":\"a\",\"v\":\"1\",\"event\":\"shown\"}", "v"},
    {"{\"alert\":\"a\",\"v\":1}", "event"},
    {"{\"v\":1,\"event\":\"shown\"}", "alert"},
    {"{\"alert\":\"\",\"v\":1,\"event\":\"shown\"}", "alert"},
    {"{\"alert\":\"a b\",\"v\":1,\"event\":\"shown\"}", "alert"},
    {"{\"alert\":\"123456789012345678901234567890123\",\"v\":1,\"event\":\"shown\"}", "alert"},
    {"{\"alert\":\"a\",\"v\":1,\"event\":\"shown\",\"device\":\"7\"}", "device"},
    {"{\"alert\":\"a\",\"v\":1,\"v\":2,\"event\":\"shown\"}", "JSON"},
    {"", "JSON"},
    {"[]", "JSON"},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        struct receipt receipt = {.version = -1};
        bool ok = receipt_parse(cases[i].text, strlen(cases[i].text), 42, &receipt, &error);

        if (ok != (cases[i].why == NULL) || (!ok && strstr(error->message, cases[i].why) == NULL))
            fail_msg("%s: %s", cases[i].text, ok ? "accepted" : error->message);
        if (ok)
            assert_int_equal(receipt.device_id, 42);
        else
            assert_int_equal(receipt.version, -1);
    }
}

static void test_values(void **state)
{
    static const char text[] = "{\"alert\":\"20261123-K7M2QX\",\"v\":2,\"event\":\"opened\"}";
    struct receipt receipt;

    (void)state;
    assert_true(receipt_parse(text, strlen(text), INT64_MAX, &receipt, NULL));
    assert_string_equal(receipt.alert_id, "20261123-K7M2QX");
    assert_int_equal(receipt.version, 2);
    assert_int_equal(receipt.event, RECEIPT_OPENED);
    assert_true(receipt.device_id == INT64_MAX);
    assert_string_equal(receipt_event_name(RECEIPT_SHOWN), "shown");
    assert_string_equal(receipt_event_name(RECEIPT_OPENED), "opened");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
