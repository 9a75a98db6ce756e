/* lib: loa_engine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/members.h"

static void test_round_trip(void **state)
{
    static const struct {
        int64_t ids[6];
        size_t n;
    } rows[] = {{{1}, 1},
                {{1, 2, 3}, 3},
                {{127, 128, 16511, 16512}, 4},
                {{1, INT64_MAX - 1, INT64_MAX}, 3},
                {{5000000, 5000001, 5000500, 9000000000}, 4}};

    (void)state;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        g_autoptr(GByteArray) bytes = members_encode(rows[r].ids, rows[r].n);
        int64_t out[6];
        assert_true(members_decode(bytes->data, bytes->len, out, rows[r].n, NULL));
        for (size_t i = 0; i < rows[r].n; i++) {
            assert_true(out[i] == rows[r].ids[i]);
            assert_int_equal(members_find(bytes->data, bytes->len, rows[r].ids[i]), (int)i);
        }
        assert_int_equal(members_find(bytes->data, bytes->len, 4), -1);
        assert_false(members_decode(bytes->data, bytes->len - 1, out, rows[r].n, NULL));
        assert_false(members_decode(bytes->data, bytes->len, out, rows[r].n - 1, NULL));
    }
}

static void test_neighbours_take_a_byte(void **state)
{
    int64_t ids[10000];

    (void)state;
    for (size_t i = 0; i < 10000; i++)
        ids[i] = 700000 + (int64_t)i;
    g_autoptr(GByteArray) bytes = members_encode(ids, 10000);
    assert_in_range(bytes->len, 10000, 10003);
}

static void test_refuses_foreign_bytes(void **state)
{
    static const struct {
        uint8_t bytes[12];
        size_t len, count;
    } rows[] = {
        {{0}, 1, 1},                                                        /* a delta of zero */
        {{1, 0}, 2, 2},                                                     /* not ascending */
        {{0x80}, 1, 1},                                                     /* cut short */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 10, 1}, /* over 63 bits */
    };

    (void)state;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        int64_t out[2];
        assert_false(members_decode(rows[r].bytes, rows[r].len, out, rows[r].count, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_neighbours_take_a_byte),
                                       cmocka_unit_test(test_refuses_foreign_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
