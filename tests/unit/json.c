/* lib: loa_base */
/* JSON bodies: what is refused while parsing, and what the field readers say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/json.h"

#define DEEP15 "[[[[[[[[[[[[[[["
#define END15  "]]]]]]]]]]]]]]]"

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        size_t len; /* 0 = up to NUL */
        bool ok;
        const char *says;
    } cases[] = {
        {"{}", 0, true, NULL},
        {" { \"a\" : 1 } \n", 0, true, NULL},
        {"{\"a\":\"[[[[[[[[[[[[[[[[[[[[[\"}", 0, true, NULL},
        {"{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[[\"}", 0, true, NULL},
        {"{\"a\":" DEEP15 "1" END15 "}", 0, true, NULL},
        {"{\"a\":[" DEEP15 "1" END15 "]}", 0, false, "16"},
        {"", 0, false, "line 1"},
        {"[]", 0, false, "object"},
        {"1", 0, false, NULL},
        {"null", 0, false, NULL},
        {"{\"a\":1,\"a\":2}", 0, false, "duplicate"},
        {"{\"a\":1}{", 0, false, "line 1"},
        {"{\"a\":1} x", 0, false, NULL},
        {"{\"a\":1,}", 0, false, NULL},
        {"{'a':1}", 0, false, NULL},
        {"{\n\"a\":\n@}", 0, false, "line 3"},
        {"{\"a\":\"\\u0000\"}", 0, false, NULL},
        {"{\"a\":\"x\0y\"}", 11, false, NULL},
        {"{\"a\":\"\xc3\"}", 0, false, "decode"},
        {"{\"a\":\"\xc0\xaf\"}", 0, false, "decode"},
        {"{\"a\":\"\\ud800\"}", 0, false, NULL},
        {"{\"a\":99999999999999999999}", 0, false, NULL},
        {"{\"a\":1e999}", 0, false, NULL},
        {"{\"a\":NaN}", 0, false, NULL},
        {"{\"a\":\"secret", 0, false, "line 1"},
        {"{\"01234567890123456789\":"
         "\"0123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789\"}",
         0, false, "at most 100"},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        size_t len = cases[i].len != 0 ? cases[i].len : strlen(cases[i].text);
        g_autoptr(json_t) object = json_parse_object(cases[i].text, len, 100, &error);
        bool ok = object != NULL;
        if (ok != cases[i].ok || (!ok && !g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID)) ||
            (cases[i].says != NULL && strstr(error->message, cases[i].says) == NULL))
            fail_msg("%s → %s", cases[i].text, ok ? "accepted" : error->message);
        if (error != NULL)
            assert_null(strstr(error->message, "secret"));
    }
}

/* All complaints as "name: detail\n". */
static char *complaints(struct json_reader *reader)
{
    GString *all = g_string_new(NULL);
    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        const char *name, *detail;
        json_reader_complaint(reader, i, &name, &detail);
        g_string_append_printf(all, "%s: %s\n", name, detail);
    }
    return g_string_free(all, FALSE);
}

static json_t *parse(const char *text)
{
    json_t *object = json_parse_object(text, strlen(text), 10000, NULL);
    assert_non_null(object);
    return object;
}

static void test_strings(void **state)
{
    static const struct {
        const char *json; /* of field "s" */
        bool required;
        const char *value; /* NULL = none */
        const char *complaint;
    } cases[] = {
        {"{\"s\":\"Cao Bằng\"}", true, "Cao Bằng", ""},
        {"{\"s\":\"Cao Ba\\u0306\\u0300ng\"}", true, "Cao Bằng", ""}, /* NFD → NFC */
        {"{\"s\":\"a\\n\\tb\"}", true, "a\n\tb", ""},
        {"{\"s\":\"\"}", false, "", ""},
        {"{\"s\":\"\"}", true, NULL, "s: must not be empty\n"},
        {"{}", false, NULL, ""},
        {"{}", true, NULL, "s: is required\n"},
        {"{\"s\":null}", false, NULL, "s: must be a string\n"},
        {"{\"s\":7}", false, NULL, "s: must be a string\n"},
        {"{\"s\":\"1234567890123\"}", true, NULL, "s: must be at most 12 bytes of UTF-8, has 13\n"},
        {"{\"s\":\"123456789012\"}", true, "123456789012", ""},
        {"{\"s\":\"ằằằằ\"}", true, "ằằằằ", ""},
        {"{\"s\":\"ằằằằa\"}", true, NULL, "s: must be at most 12 bytes of UTF-8, has 13\n"},
        {"{\"s\":\"a\\rb\"}", true, NULL, "s: must not contain control characters\n"},
        {"{\"s\":\"a\\u0007\"}", true, NULL, "s: must not contain control characters\n"},
        {"{\"s\":\"a\\u007f\"}", true, NULL, "s: must not contain control characters\n"},
        {"{\"s\":\"a\\u0085\"}", true, NULL, "s: must not contain control characters\n"},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) object = parse(cases[i].json);
        struct json_reader *reader = json_reader_new(object);
        const char *value = json_read_string(reader, "s", 12, cases[i].required);
        g_autofree char *said = complaints(reader);
        json_reader_free(reader); /* the value belongs to the object */
        if (g_strcmp0(value, cases[i].value) != 0 || strcmp(said, cases[i].complaint) != 0)
            fail_msg("%s → %s, %s", cases[i].json, value, said);
    }
}

static void test_other_types(void **state)
{
    static const char *const words[] = {"fcm", "apns", NULL};
    g_autoptr(json_t) object = parse(
        "{\"w\":\"apns\",\"wx\":\"APNS\",\"wn\":1,\"i\":-5,\"low\":-6,\"high\":6,\"real\":1.0,"
        "\"text\":\"5\",\"t\":true,\"f\":false,\"b\":1,\"extra\":1,\"more\":{}}");
    loa_auto(json_reader) reader = json_reader_new(object);
    (void)state;
    assert_string_equal(json_read_word(reader, "w", words, true), "apns");
    assert_null(json_read_word(reader, "wx", words, false));
    assert_null(json_read_word(reader, "wn", words, false));
    assert_null(json_read_word(reader, "w0", words, false));
    assert_null(json_read_word(reader, "w1", words, true));
    assert_int_equal(json_read_int(reader, "i", -5, 5, 9, true), -5);
    assert_int_equal(json_read_int(reader, "low", -5, 5, 9, true), 9);
    assert_int_equal(json_read_int(reader, "high", -5, 5, 9, true), 9);
    assert_int_equal(json_read_int(reader, "real", -5, 5, 9, true), 9);
    assert_int_equal(json_read_int(reader, "text", -5, 5, 9, true), 9);
    assert_int_equal(json_read_int(reader, "i0", -5, 5, 9, false), 9);
    assert_int_equal(json_read_int(reader, "i1", -5, 5, 9, true), 9);
    assert_true(json_read_bool(reader, "t", false));
    assert_false(json_read_bool(reader, "f", true));
    assert_true(json_read_bool(reader, "b", true));
    assert_true(json_read_bool(reader, "b0", true));
    json_reader_complain(reader, "own", "is wrong");
    json_reader_complain(reader, "own", "is wrong"); /* said once */
    json_reader_end(reader);
    g_autofree char *said = complaints(reader);
    assert_string_equal(said, "wx: must be one of: fcm, apns\n"
                              "wn: must be one of: fcm, apns\n"
                              "w1: is required\n"
                              "low: must be a whole number from -5 to 5\n"
                              "high: must be a whole number from -5 to 5\n"
                              "real: must be a whole number from -5 to 5\n"
                              "text: must be a whole number from -5 to 5\n"
                              "i1: is required\n"
                              "b: must be true or false\n"
                              "own: is wrong\n"
                              "extra: is not known here; leave it out\n"
                              "more: is not known here; leave it out\n");
}

static void test_complaints_are_bounded(void **state)
{
    g_autoptr(GString) text = g_string_new("{\"a\":1");
    (void)state;
    for (unsigned i = 0; i < 200; i++)
        g_string_append_printf(text, ",\"x%u\":1", i);
    g_string_append(text, "}");
    g_autoptr(json_t) object = parse(text->str);
    loa_auto(json_reader) reader = json_reader_new(object);
    json_reader_end(reader);
    assert_int_equal(json_reader_complaints(reader), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_complaints_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
