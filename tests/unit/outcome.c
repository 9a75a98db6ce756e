/* lib: loa_engine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/outcome.h"

static void test_names(void **state)
{
    static const struct {
        uint8_t byte;
        const char *name, *reason;
    } rows[] = {{1, "ACCEPTED", ""},
                {5, "UNKNOWN_SENT", ""},
                {16, "SUPPRESSED", "unregistered"},
                {17, "SUPPRESSED", "stale"},
                {OUTCOME_RETRY, "RETRY", ""}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(outcome_name(rows[i].byte), rows[i].name);
        assert_string_equal(outcome_reason(rows[i].byte), rows[i].reason);
    }
    assert_null(outcome_name(0));
    assert_null(outcome_name(255));
}

static void test_tally(void **state)
{
    const uint8_t codes[] = {1, 1, 2, 16, 17, 17, OUTCOME_RETRY};
    struct outcome_tally tally = {0};
    uint64_t sum = 0;

    (void)state;
    outcome_tally_add(&tally, codes, sizeof(codes));
    assert_int_equal(outcome_tally_name(&tally, "ACCEPTED"), 2);
    assert_int_equal(outcome_tally_name(&tally, "SUPPRESSED"), 3);
    assert_int_equal(outcome_tally_name(&tally, "EXPIRED"), 0);
    assert_int_equal(outcome_tally_final(&tally), 6);
    for (const char *const *name = outcome_names(); *name != NULL; name++)
        sum += outcome_tally_name(&tally, *name);
    assert_int_equal(sum, outcome_tally_final(&tally)); /* no outcome is left out of the names */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_tally)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
