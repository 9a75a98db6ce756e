/* Log events under test: what is warned of must have been declared, and what was declared must
 * come. As cmocka fixtures: cmocka_unit_test_setup_teardown(test, testlog_setup, testlog_teardown).
 */
#ifndef LOA_TESTS_SUPPORT_TESTLOG_H
#define LOA_TESTS_SUPPORT_TESTLOG_H

#include <stdbool.h>

/* Captures the log from now on (the minimum becomes debug) and forgets what was captured. Returns
 * 0. */
int testlog_setup(void **state);
/* Standard error again. Returns -1, after printing why, when an event of level warn or above came
 * that was not declared, or an expected one did not come. */
int testlog_teardown(void **state);

/* The event must come before the teardown. event: a literal. */
void testlog_expect(const char *event);
/* The event may come. */
void testlog_allow(const char *event);
/* How often it came since the setup. Thread safe. */
unsigned testlog_count(const char *event);
/* Its last line, NULL if none. Owned. */
char *testlog_last(const char *event);

#endif
