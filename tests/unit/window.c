/* lib: loa_engine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/push_id.h"
#include "engine/window.h"

static void test_window_grows_only_when_used(void **state)
{
    struct window w;

    (void)state;
    window_init(&w, 100);
    assert_int_equal(window_limit(&w), WINDOW_INITIAL);
    for (int i = 0; i < 200; i++)
        window_good(&w, window_limit(&w));
    assert_int_equal(window_limit(&w), 100);
    window_init(&w, 1000);
    for (int i = 0; i < 200; i++)
        window_good(&w, 0);
    assert_int_equal(window_limit(&w), WINDOW_INITIAL + 1); /* idle: no evidence, no growth */
}

static void test_window_shrinks_at_once_and_never_closes(void **state)
{
    struct window w;

    (void)state;
    window_init(&w, 100);
    window_bad(&w);
    assert_int_equal(window_limit(&w), WINDOW_INITIAL - 1);
    for (int i = 0; i < 1000; i++)
        window_bad(&w);
    assert_int_equal(window_limit(&w), 1);
    window_good(&w, 1);
    assert_int_equal(window_limit(&w), 2);
}

static void test_push_id(void **state)
{
    uint8_t id[PUSH_ID_LEN], other[PUSH_ID_LEN];
    char text[PUSH_ID_TEXT];

    (void)state;
    push_id_make(id, 0x0102, 0x0a0b, 3);
    push_id_text(id, text);
    assert_string_equal(text, "00000000-0102-8003-8000-000000000a0b");
    push_id_make(other, 0x0102, 0x0a0b, 4);
    assert_memory_not_equal(id, other, PUSH_ID_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_grows_only_when_used),
        cmocka_unit_test(test_window_shrinks_at_once_and_never_closes),
        cmocka_unit_test(test_push_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
