/* lib: loa_h2 */
/* nghttp2's memory: what it may rely on, and that freed blocks are used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "h2/blocks.h"

#define LARGEST ((size_t)BLOCK_STEP * BLOCK_KINDS)

static const size_t sizes[] = {0,   1,   63,  64,          65,      100,
                               512, 513, 999, LARGEST - 1, LARGEST, LARGEST + 1};

static void test_every_size_is_usable(void **state)
{
    struct blocks blocks = {{NULL}};
    void *memory[sizeof(sizes) / sizeof(*sizes)];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        memory[i] = blocks_alloc(&blocks, sizes[i]);
        assert_int_equal((uintptr_t)memory[i] % 16, 0);
        memset(memory[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(((uint8_t *)memory[i])[at], i);
        blocks_free(&blocks, memory[i]);
    }
    blocks_free(&blocks, NULL);
    blocks_clear(&blocks);
}

static void test_a_freed_block_is_used_again(void **state)
{
    struct blocks blocks = {{NULL}};
    void *first = blocks_alloc(&blocks, 100), *second = blocks_alloc(&blocks, 100);

    (void)state;
    blocks_free(&blocks, first);
    blocks_free(&blocks, second);
    assert_ptr_equal(blocks_alloc(&blocks, 128), second); /* of the same size, the last one first */
    assert_ptr_equal(blocks_alloc(&blocks, 65), first);
    blocks_free(&blocks, first);
    blocks_free(&blocks, second);
    blocks_clear(&blocks);
    assert_null(blocks.spare[2]);
}

static void test_zeroed_after_use(void **state)
{
    struct blocks blocks = {{NULL}};
    uint8_t *memory = blocks_alloc(&blocks, 200);

    (void)state;
    memset(memory, 0xff, 200);
    blocks_free(&blocks, memory);
    assert_ptr_equal(blocks_alloc_zeroed(&blocks, 10, 20), memory);
    for (size_t at = 0; at < 200; at++)
        assert_int_equal(memory[at], 0);
    blocks_free(&blocks, memory);
    blocks_clear(&blocks);
}

/* From every size to every other one, keeping what fits. */
static void test_resize_keeps_the_content(void **state)
{
    struct blocks blocks = {{NULL}};

    (void)state;
    for (size_t i = 1; i < sizeof(sizes) / sizeof(*sizes); i++)
        for (size_t j = 1; j < sizeof(sizes) / sizeof(*sizes); j++) {
            size_t kept = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            uint8_t *memory = blocks_resize(&blocks, NULL, sizes[i]);
            for (size_t at = 0; at < sizes[i]; at++)
                memory[at] = (uint8_t)(at * 7);
            memory = blocks_resize(&blocks, memory, sizes[j]);
            for (size_t at = 0; at < kept; at++)
                assert_int_equal(memory[at], (uint8_t)(at * 7));
            memset(memory, 1, sizes[j]);
            blocks_free(&blocks, memory);
        }
    blocks_clear(&blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_is_usable),
        cmocka_unit_test(test_a_freed_block_is_used_again),
        cmocka_unit_test(test_zeroed_after_use),
        cmocka_unit_test(test_resize_keeps_the_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
