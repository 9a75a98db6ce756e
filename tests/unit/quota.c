/* lib: loa_engine */
/* The part of the quota that this process has in hand: leases lapse, an emergency's are its own,
 * and a gate closes everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glib.h>

#include "base/clock.h"
#include "engine/quota.h"

#define SECOND USEC_PER_SEC

static void test_no_limit(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 0, 20);
    assert_int_equal(quota_room(&q, false, 1), INT64_MAX);
    assert_int_equal(quota_ask(&q, 5000, false, 1), 0);
    quota_take(&q, 5000, false, 1);
    assert_int_equal(quota_room(&q, false, 1), INT64_MAX);
}

static void test_asks_for_what_it_can_use(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 600000, 20);
    assert_int_equal(q.reserve, 120000);
    assert_int_equal(quota_room(&q, false, 0), 0);
    assert_int_equal(quota_ask(&q, 0, false, 0), 0);
    assert_int_equal(quota_ask(&q, 1000, false, 0), QUOTA_ASK_MIN); /* nothing was sent yet */
    assert_int_equal(quota_ask(&q, 1000, false, 0), 0);             /* one at a time */
    quota_granted(&q, QUOTA_ASK_MIN, false, 0, 10);
    assert_int_equal(quota_room(&q, false, 10), QUOTA_ASK_MIN);
    assert_int_equal(quota_ask(&q, 1000, false, 10), 0); /* enough in hand */
    quota_take(&q, 33, false, 10);
    assert_int_equal(quota_ask(&q, 1000, false, 20), QUOTA_ASK_MIN);
    quota_granted(&q, QUOTA_ASK_MIN, false, 20, 30);
    quota_take(&q, 95, false, 30); /* over both leases */
    assert_int_equal(quota_room(&q, false, 30), 0);
    assert_int_equal(quota_ask(&q, 1000, false, 30), 128); /* what was sent in a quarter second */
}

static void test_grows_and_shrinks_with_the_rate(void **state)
{
    struct quota q;
    int64_t now = 0, asked = 0;

    (void)state;
    quota_init(&q, 100000000, 0);
    for (int i = 0; i < 2000; i++, now += 1000) { /* uses at once whatever it gets, for 2 s */
        int64_t n = quota_ask(&q, 100000, true, now);
        if (n > 0)
            quota_granted(&q, n, true, now, now);
        quota_take(&q, quota_room(&q, true, now), true, now);
        asked = MAX(asked, n);
    }
    assert_int_equal(asked, QUOTA_ASK_MAX);
    now += SECOND; /* a second of silence */
    assert_int_equal(quota_ask(&q, 100000, true, now), QUOTA_ASK_MIN);
}

static void test_a_lease_lapses(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 600000, 20);
    quota_granted(&q, 100, false, 0, 1);
    quota_granted(&q, 50, false, SECOND / 2, SECOND / 2);
    assert_int_equal(quota_room(&q, false, SECOND - 1), 150);
    assert_int_equal(quota_room(&q, false, SECOND), 50); /* counted from the question */
    assert_int_equal(quota_room(&q, false, SECOND * 3 / 2), 0);
}

/* The one that ends first is used first; of too many, the one with least is given up. */
static void test_many_leases(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 600000, 20);
    for (int i = 0; i < QUOTA_LEASES; i++)
        quota_granted(&q, 100, false, i * 1000, i * 1000);
    quota_take(&q, 50, false, 5000);
    assert_int_equal(quota_room(&q, false, SECOND), 300);
    quota_granted(&q, 200, false, 5000, 5000);
    assert_int_equal(quota_room(&q, false, 5000), 500);
}

static void test_an_emergency_takes_all_and_keeps_its_own(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 600000, 20);
    quota_granted(&q, 100, false, 0, 0);
    quota_granted(&q, 5000, true, 0, 0);
    assert_int_equal(quota_room(&q, true, 1), 5100);
    assert_int_equal(quota_room(&q, false, 1), 100);
    quota_take(&q, 200, true, 1);
    assert_int_equal(quota_room(&q, true, 1), 4900);
}

static void test_an_answer_of_nothing_waits_a_little(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 600000, 20);
    assert_true(quota_ask(&q, 10, false, 0) > 0);
    quota_granted(&q, 0, false, 0, 1000);
    assert_int_equal(quota_ask(&q, 10, false, 1000), 0);
    assert_true(quota_ask(&q, 10, true, 1000) > 0); /* an emergency does not */
    quota_granted(&q, -1, true, 0, SECOND);         /* the statement failed */
    assert_int_equal(quota_ask(&q, 10, true, SECOND), 0);
    assert_int_equal(quota_room(&q, true, SECOND), 0);
    assert_true(quota_ask(&q, 10, false, SECOND) > 0);
}

static void test_a_gate_closes_everything(void **state)
{
    struct quota q;

    (void)state;
    quota_init(&q, 600000, 20);
    quota_granted(&q, 100, true, 99 * SECOND, 99 * SECOND);
    assert_true(quota_gate(&q, 100 * SECOND));
    assert_false(quota_gate(&q, 100 * SECOND + 1000)); /* a hundred answers say the same */
    assert_true(quota_gate(&q, 101 * SECOND));
    assert_false(quota_gate(&q, 50 * SECOND));
    assert_int_equal(quota_room(&q, true, 99 * SECOND), 0);
    assert_int_equal(quota_ask(&q, 10, true, 99 * SECOND), 0);
    assert_true(quota_ask(&q, 10, true, 101 * SECOND) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_asks_for_what_it_can_use),
        cmocka_unit_test(test_grows_and_shrinks_with_the_rate),
        cmocka_unit_test(test_a_lease_lapses),
        cmocka_unit_test(test_many_leases),
        cmocka_unit_test(test_an_emergency_takes_all_and_keeps_its_own),
        cmocka_unit_test(test_an_answer_of_nothing_waits_a_little),
        cmocka_unit_test(test_a_gate_closes_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
