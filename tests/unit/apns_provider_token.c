/* lib: loa_apns */
/* When APNs' provider token is minted anew, and when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apns/provider_token.h"
#include "base/crypto.h"
#include "tests/unit/channel_rig.h"

#define MINUTE_US (60 * USEC_PER_SEC)

static char *pki;
static struct clock_fake fake;

static void test_the_token_lives_between_40_and_50_minutes(void **state)
{
    g_autofree char *key = pki_file(pki, "engine.key"), *first = NULL;
    uint32_t generation;

    (void)state;
    for (int round = 0; round < 20; round++) {
        clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
        loa_auto(provider_token) token =
            provider_token_new(key, "LOAKEY0001", "LOATEAM001", &fake.clock, NULL);
        first = g_strdup(provider_token_header(token, &generation));
        assert_true(g_str_has_prefix(first, "bearer "));
        clock_fake_advance(&fake, 40 * MINUTE_US - 1);
        assert_string_equal(provider_token_header(token, NULL), first);
        assert_true(provider_token_expired(token, generation - 1)); /* not this one */
        clock_fake_advance(&fake, 10 * MINUTE_US + 1);
        assert_string_not_equal(provider_token_header(token, NULL), first);
        g_clear_pointer(&first, g_free);
    }
}

static void test_the_token_is_minted_early_only_once_in_20_minutes(void **state)
{
    g_autofree char *key = pki_file(pki, "engine.key");
    uint32_t first, second;

    (void)state;
    clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
    loa_auto(provider_token) token =
        provider_token_new(key, "LOAKEY0001", "LOATEAM001", &fake.clock, NULL);
    provider_token_header(token, &first);
    assert_true(provider_token_expired(token, first));
    provider_token_header(token, &second);
    assert_int_equal(second, first + 1); /* early, once */
    first = second;
    assert_true(provider_token_expired(token, first));
    clock_fake_advance(&fake, 30 * USEC_PER_SEC - 1);
    assert_true(provider_token_expired(token, first));
    clock_fake_advance(&fake, 1);
    assert_false(provider_token_expired(token, first)); /* for half a minute: our fault */
    provider_token_accepted(token, first);
    clock_fake_advance(&fake, 20 * MINUTE_US - 30 * USEC_PER_SEC - 1);
    assert_true(provider_token_expired(token, first));
    provider_token_header(token, &second);
    assert_int_equal(first, second);
    clock_fake_advance(&fake, 1);
    assert_true(provider_token_expired(token, first));
    provider_token_header(token, &second);
    assert_int_equal(second, first + 1);
    assert_true(provider_token_expired(token, first)); /* late answers change nothing */
    provider_token_header(token, &first);
    assert_int_equal(first, second);
}

/* A machine that slept, or whose clock was set forward: the monotonic clock does not show it. */
static void test_the_token_ages_by_the_wall_clock_too(void **state)
{
    g_autofree char *key = pki_file(pki, "engine.key");
    uint32_t first, second;

    (void)state;
    clock_fake_init(&fake, RIG_NOW_S * USEC_PER_SEC);
    loa_auto(provider_token) token =
        provider_token_new(key, "LOAKEY0001", "LOATEAM001", &fake.clock, NULL);
    provider_token_header(token, &first);
    fake.utc_us += 60 * MINUTE_US;
    provider_token_header(token, &second);
    assert_int_equal(second, first + 1);
}

static int set_up(void **state)
{
    (void)state;
    log_set_sink(rig_drop_log, NULL);
    crypto_init();
    pki = pki_make();
    if (pki == NULL)
        return 1;
    g_autofree char *key = pki_file(pki, "engine.key");
    return g_chmod(key, 0600);
}

static int tear_down(void **state)
{
    (void)state;
    pki_remove(pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_token_lives_between_40_and_50_minutes),
        cmocka_unit_test(test_the_token_is_minted_early_only_once_in_20_minutes),
        cmocka_unit_test(test_the_token_ages_by_the_wall_clock_too),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
