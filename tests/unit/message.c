/* lib: loa_engine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "engine/channel.h"
#include "engine/message.h"

static const struct message sample = {
    .type = MESSAGE_ALERT,
    .alert_id = "20261123-K7M2QX",
    .version = 1,
    .kind = "CANH_BAO",
    .level = "khan_cap",
    .cls = "khan_cap",
    .realm = "live",
    .issued_s = 1795000000,
    .expires_s = 1795007200,
    .title = "Lũ khẩn cấp",
    .body = "Nước sông Bằng lên nhanh.",
    .instruction = "Di dời ngay.",
    .areas = "toan_tinh",
    .language = "vi",
    .url = "",
    .source_document = "12/CĐ-UBND",
    .receipt_window_s = 600,
    .key_id = "k1",
};

/* Length-prefixed fields: no two different messages share their bytes. */
static void test_canonical_bytes(void **state)
{
    g_autoptr(GByteArray) bytes = message_canonical_bytes(&sample);
    static const char head[] = "loa-alert-v1\0\0\0\5alert\0\0\0\17"
                               "20261123-K7M2QX\0\0\0\1"
                               "1";

    (void)state;
    assert_true(bytes->len > sizeof(head));
    assert_memory_equal(bytes->data, head, sizeof(head) - 1);
    struct message moved = sample;
    moved.title = "Lũ khẩn cấpN";
    moved.body = "ước sông Bằng lên nhanh.";
    g_autoptr(GByteArray) other = message_canonical_bytes(&moved);
    assert_int_equal(other->len, bytes->len);
    assert_memory_not_equal(other->data, bytes->data, bytes->len);
}

/* Changing any one field changes the bytes that are signed. */
static void test_every_field_is_signed(void **state)
{
    g_autoptr(GByteArray) bytes = message_canonical_bytes(&sample);

    (void)state;
#define CHANGED(field, value)                                                                      \
    do {                                                                                           \
        struct message m = sample;                                                                 \
        m.field = value;                                                                           \
        g_autoptr(GByteArray) b = message_canonical_bytes(&m);                                     \
        assert_false(b->len == bytes->len && memcmp(b->data, bytes->data, b->len) == 0);           \
    } while (0)
    CHANGED(type, MESSAGE_CANCEL);
    CHANGED(alert_id, "20261123-K7M2QY");
    CHANGED(version, 2);
    CHANGED(kind, "THONG_TIN");
    CHANGED(level, "thuong");
    CHANGED(cls, "thuong");
    CHANGED(realm, "test");
    CHANGED(issued_s, 1);
    CHANGED(expires_s, 1);
    CHANGED(title, "x");
    CHANGED(body, "x");
    CHANGED(instruction, "x");
    CHANGED(areas, "01273");
    CHANGED(language, "en");
    CHANGED(url, "https://x");
    CHANGED(source_document, "x");
    CHANGED(receipt_window_s, 1);
    CHANGED(key_id, "k2");
#undef CHANGED
}

static void test_json_has_only_strings(void **state)
{
    static const char *const skip[] = {"title", NULL};
    g_autoptr(json_t) json = message_to_json(&sample, skip);
    const char *name;
    json_t *value;

    (void)state;
    json_object_foreach(json, name, value) assert_true(json_is_string(value));
    assert_null(json_object_get(json, "title")); /* asked to be left out */
    assert_null(json_object_get(json, "url"));   /* empty */
    assert_null(json_object_get(json, "sig"));   /* not signed */
    assert_string_equal(json_string_value(json_object_get(json, "v")), "1");
    struct message signed_message = sample;
    signed_message.is_signed = true;
    g_autoptr(json_t) with_signature = message_to_json(&signed_message, NULL);
    assert_int_equal(strlen(json_string_value(json_object_get(with_signature, "sig"))), 86);
}

static void test_emergency(void **state)
{
    struct message m = sample;

    (void)state;
    assert_true(message_is_emergency(&m));
    m.realm = "exercise";
    assert_false(message_is_emergency(&m));
    m = sample;
    m.kind = "THONG_TIN";
    assert_false(message_is_emergency(&m));
    m = sample;
    m.level = "uu_tien";
    assert_false(message_is_emergency(&m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_bytes),
        cmocka_unit_test(test_every_field_is_signed),
        cmocka_unit_test(test_json_has_only_strings),
        cmocka_unit_test(test_emergency),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
