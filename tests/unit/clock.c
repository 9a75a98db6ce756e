/* lib: loa_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"

static void test_fake_clock_moves_only_when_told(void **state)
{
    struct clock_fake fake;
    (void)state;
    clock_fake_init(&fake, 1700000000 * USEC_PER_SEC);
    const struct clock *clock = &fake.clock;
    int64_t mono = clock->mono_us(clock);
    assert_true(clock->utc_us(clock) == 1700000000 * USEC_PER_SEC);
    clock_fake_advance(&fake, 1500);
    assert_true(clock->utc_us(clock) == 1700000000 * USEC_PER_SEC + 1500);
    assert_true(clock->mono_us(clock) == mono + 1500);
}

/* The offset is read once per process, so this test sets it before the first reading. */
static void test_system_clock_is_shifted_by_the_environment(void **state)
{
    const struct clock *clock = clock_system();
    (void)state;
    setenv("LOA_CLOCK_OFFSET_S", "-3600", 1);
    int64_t before = (int64_t)time(NULL) - 3600;
    int64_t now = clock->utc_us(clock) / USEC_PER_SEC;
    assert_in_range(now - before + 1, 0, 3);
    int64_t mono = clock->mono_us(clock);
    assert_true(mono > 0 && clock->mono_us(clock) >= mono);
}

static void test_exit_codes(void **state)
{
    static const struct {
        enum loa_error code;
        int exit_code;
    } cases[] = {
        {LOA_ERROR_RETRY, EX_TEMPFAIL},   {LOA_ERROR_UNCERTAIN, EX_TEMPFAIL},
        {LOA_ERROR_INVALID, EX_DATAERR},  {LOA_ERROR_NOT_FOUND, EX_NOINPUT},
        {LOA_ERROR_CONFLICT, EX_DATAERR}, {LOA_ERROR_DENIED, EX_NOPERM},
        {LOA_ERROR_LIMIT, EX_TEMPFAIL},   {LOA_ERROR_INTERNAL, EX_SOFTWARE},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = g_error_new(LOA_ERROR, (int)cases[i].code, "x");
        assert_int_equal(loa_error_exit_code(error), cases[i].exit_code);
    }
    assert_int_equal(loa_error_exit_code(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fake_clock_moves_only_when_told),
        cmocka_unit_test(test_system_clock_is_shifted_by_the_environment),
        cmocka_unit_test(test_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
