/* lib: loa_base */
/* Token buckets: what passes when, forgetting the least recently used key, many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/http_server.h"

static void test_rates(void **state)
{
    static const struct {
        int64_t at_ms;
        const char *key;
        bool allowed;
        unsigned wait_s;
    } steps[] = {
        /* 2 a second, 4 at once */
        {0, "a", true, 0},     {0, "a", true, 0},      {0, "a", true, 0},     {0, "a", true, 0},
        {0, "a", false, 1},    {0, "b", true, 0},      {499, "a", false, 1},  {500, "a", true, 0},
        {500, "a", false, 1},  {400, "a", false, 1},   {1500, "a", true, 0},  {1500, "a", true, 0},
        {1500, "a", false, 1}, {60000, "a", true, 0},  {60000, "a", true, 0}, {60000, "a", true, 0},
        {60000, "a", true, 0}, {60000, "a", false, 1}, {60000, "b", true, 0},
    };
    loa_auto(rate_table) table = rate_table_new(10, 2, 4);
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        unsigned wait_s = 0;
        bool allowed =
            rate_table_take(table, steps[i].key, steps[i].at_ms * USEC_PER_MSEC, &wait_s);
        if (allowed != steps[i].allowed || wait_s != steps[i].wait_s)
            fail_msg("step %zu: allowed %d, wait %u s", i, allowed, wait_s);
    }
}

static void test_slow_rate_tells_when(void **state)
{
    loa_auto(rate_table) table = rate_table_new(10, 0.1, 1);
    unsigned wait_s = 0;
    (void)state;
    assert_true(rate_table_take(table, "a", 0, &wait_s));
    assert_false(rate_table_take(table, "a", 0, &wait_s));
    assert_int_equal(wait_s, 10);
    assert_false(rate_table_take(table, "a", 9 * USEC_PER_SEC, &wait_s));
    assert_int_equal(wait_s, 1);
    assert_true(rate_table_take(table, "a", 10 * USEC_PER_SEC, &wait_s));
}

static void test_memory_is_bounded(void **state)
{
    loa_auto(rate_table) table = rate_table_new(3, 0.001, 1);
    unsigned wait_s;
    (void)state;
    assert_true(rate_table_take(table, "a", 0, &wait_s));
    assert_true(rate_table_take(table, "b", 0, &wait_s));
    assert_true(rate_table_take(table, "c", 0, &wait_s));
    assert_false(rate_table_take(table, "a", 0, &wait_s)); /* a is used later than b now */
    assert_true(rate_table_take(table, "d", 0, &wait_s));  /* b is forgotten */
    assert_false(rate_table_take(table, "a", 0, &wait_s));
    assert_false(rate_table_take(table, "c", 0, &wait_s));
    assert_true(rate_table_take(table, "b", 0, &wait_s));
}

enum { THREADS = 4, TAKES = 2000, BURST = 1000 };

struct taker {
    struct rate_table *table;
    unsigned allowed;
};

static void *take_many(void *user)
{
    struct taker *taker = user;
    unsigned wait_s;
    for (unsigned i = 0; i < TAKES; i++) {
        g_autofree char *own = g_strdup_printf("key:%u", i % 50);
        taker->allowed += rate_table_take(taker->table, "shared", 0, &wait_s);
        (void)!rate_table_take(taker->table, own, 0, &wait_s);
    }
    return NULL;
}

static void test_threads(void **state)
{
    loa_auto(rate_table) table = rate_table_new(40, 1, BURST);
    struct taker takers[THREADS] = {{.table = NULL}};
    pthread_t threads[THREADS];
    unsigned allowed = 0;
    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        takers[i].table = table;
        pthread_create(&threads[i], NULL, take_many, &takers[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        allowed += takers[i].allowed;
    }
    assert_int_equal(allowed, BURST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_slow_rate_tells_when),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
