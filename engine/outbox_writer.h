/* Writes what became of targeted pushes, in batches: while one is being committed the next one
 * grows, so that the disk sets the pace and not the number of pushes. */
#ifndef LOA_ENGINE_OUTBOX_WRITER_H
#define LOA_ENGINE_OUTBOX_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/db_async.h"

/* One push that was claimed under epoch. */
struct outbox_result {
    int64_t notification_id;
    int64_t device_id;
    int32_t epoch;
    int32_t attempt;     /* made so far */
    const char *channel; /* static */
    const char *state;   /* static: an outcome's name; "queued" to try again after delay_ms,
                            "unstored" to look again after it */
    int64_t delay_ms;
    const char *reason; /* static */
    char *token;        /* owned by the result; NULL for mqtt */
    bool token_dead;    /* retire it */
    bool token_proven;  /* accepted for the first time */
};

struct outbox_writer;
/* written runs after each batch, also a failed one (which is tried again). db borrowed. Owned. */
struct outbox_writer *outbox_writer_new(struct db_async *db, void (*written)(void *user),
                                        void *user);
/* Drops what was not written: those pushes are sent again when their lease ends. Free it after db.
 */
void outbox_writer_free(struct outbox_writer *writer);
LOA_AUTO_DEFINE(outbox_writer, outbox_writer_free)
/* Takes token. */
void outbox_writer_add(struct outbox_writer *writer, const struct outbox_result *result);
/* Nothing waits and nothing is being written. */
bool outbox_writer_idle(const struct outbox_writer *writer);

#endif
