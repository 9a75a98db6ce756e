/* lib: loa_engine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/member_communes.h"

static void test_round_trip(void **state)
{
    static const struct {
        int members, communes;
        size_t width;
    } rows[] = {{1, 1, 1}, {100, 3, 1}, {300, 255, 1}, {300, 256, 2}, {10000, 3000, 2}};

    (void)state;
    for (size_t r = 0; r < G_N_ELEMENTS(rows); r++) {
        loa_auto(member_communes) c = member_communes_new();
        g_autofree uint16_t *out = g_new(uint16_t, (gsize)rows[r].members);
        char code[8];
        for (int i = 0; i < rows[r].members; i++) {
            g_snprintf(code, sizeof(code), "%05d", i % rows[r].communes);
            member_communes_add(c, code);
        }
        g_autoptr(GByteArray) bytes = member_communes_encode(c);
        assert_int_equal(bytes->len, (size_t)rows[r].members * rows[r].width);
        assert_true(member_communes_decode(bytes->data, bytes->len, (size_t)rows[r].communes, out,
                                           (size_t)rows[r].members, NULL));
        for (int i = 0; i < rows[r].members; i++)
            assert_int_equal(out[i], i % rows[r].communes);
    }
}

/* No commune is a commune like others, and differs from having recorded nothing. */
static void test_codes(void **state)
{
    loa_auto(member_communes) c = member_communes_new();
    loa_auto(member_communes) none = member_communes_new();

    (void)state;
    member_communes_add(c, "01273");
    member_communes_add(c, NULL);
    member_communes_add(c, "01276");
    member_communes_add(c, "");
    member_communes_add(none, NULL);
    g_autofree char *codes = member_communes_codes(c);
    g_autofree char *only = member_communes_codes(none);
    g_autoptr(GByteArray) bytes = member_communes_encode(c);
    assert_string_equal(codes, ",01273,,01276");
    assert_string_equal(only, ",");
    assert_memory_equal(bytes->data, "\x00\x01\x02\x01", 4);
}

static void test_broken(void **state)
{
    static const struct {
        const char *bytes;
        size_t len, n_codes, count;
    } rows[] = {{"\x00\x01", 2, 2, 3},     /* too short */
                {"\x00\x01\x00", 3, 2, 2}, /* too long */
                {"\x00\x02", 2, 2, 2},     /* no such code */
                {"\x00", 1, 0, 1},         /* no codes at all */
                {"\x01\x00", 2, 256, 1}};  /* the 257th of 256 */
    uint16_t out[3];

    (void)state;
    for (size_t r = 0; r < G_N_ELEMENTS(rows); r++) {
        g_autoptr(GError) error = NULL;
        assert_false(member_communes_decode(rows[r].bytes, rows[r].len, rows[r].n_codes, out,
                                            rows[r].count, &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INTERNAL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
