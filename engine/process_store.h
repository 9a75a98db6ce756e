/* Rows of the table process: who is alive. Every role says so every PROCESS_BEAT_MS; /readyz and
 * the shares of the provider's quota count those seen lately. */
#ifndef LOA_ENGINE_PROCESS_STORE_H
#define LOA_ENGINE_PROCESS_STORE_H

#include <stdbool.h>

#include <glib.h>

#include "base/db.h"
#include "base/db_async.h"

#define PROCESS_BEAT_MS     2000
#define PROCESS_SEEN_S      10 /* silent for longer = not alive */
#define PROCESS_ID_LEN      32 /* hex digits */
#define PROCESS_CHANNEL_MAX 8

/* This process. Fill with process_self_init; the strings of channels are borrowed. */
struct process_self {
    char id[PROCESS_ID_LEN + 1]; /* random per start; also the lease owner of its chunks */
    const char *role;            /* "api", "deliver", "tick", "mqtt"; borrowed */
    char host[65];
    int pid;
    const char *channels[PROCESS_CHANNEL_MAX]; /* that it serves now */
    size_t n_channels;
};

/* channels: NULL-terminated or NULL; at most PROCESS_CHANNEL_MAX (asserted). */
void process_self_init(struct process_self *self, const char *role, const char *const *channels);

/* Writes or renews the row; removes rows silent for an hour. Blocks. */
bool process_beat(struct db *db, const struct process_self *self,
                  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes the row at an orderly end. Blocks. */
bool process_leave(struct db *db, const struct process_self *self,
                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same on an event loop. cb NULL: a failure is logged. */
void process_beat_async(struct db_async *db, const struct process_self *self, db_async_cb cb,
                        void *user);
void process_leave_async(struct db_async *db, const struct process_self *self, db_async_cb cb,
                         void *user);

#endif
