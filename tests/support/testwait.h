/* Waiting in tests: for a condition, with a deadline, never for a time. */
#ifndef LOA_TESTS_SUPPORT_TESTWAIT_H
#define LOA_TESTS_SUPPORT_TESTWAIT_H

#include <stdbool.h>

/* Runs the thread's default main context until done(user), at most timeout_ms. Returns whether it
 * was done. The condition is looked at after every event and every 5 ms. */
bool test_wait_until(bool (*done)(void *user), void *user, int timeout_ms);

#endif
