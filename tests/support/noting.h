/* A scripted provider that accepts everything and notes which broadcast each push was of, in order.
 */
#ifndef LOA_TESTS_SUPPORT_NOTING_H
#define LOA_TESTS_SUPPORT_NOTING_H

#include "tests/support/stage.h"

/* Its user is a GArray of int64_t. name must live. */
struct script_channel *noting_channel_new(const char *name);
void noting_channel_free(struct script_channel *script);
/* Pushes so far. */
int noting_count(const struct script_channel *script);
/* Place of the first or last push of a broadcast, from 0; -1 when there is none. */
int noting_first(const struct script_channel *script, int64_t id);
int noting_last(const struct script_channel *script, int64_t id);
/* How many pushes of the broadcast were not before this place. */
int noting_since(const struct script_channel *script, int64_t id, int place);
/* For stage_until_true: 100 pushes have been sent. */
bool noting_sent_some(void *script);
/* Lets the main loop run for so long: to see that nothing happens. */
void noting_let_run(int64_t ms);

#endif
