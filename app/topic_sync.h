/* Brings the subscriptions of FCM topics up to date: what is missing is added, what is surplus is
 * removed. It may be ended at any instant; the next run does what is left. */
#ifndef LOA_APP_TOPIC_SYNC_H
#define LOA_APP_TOPIC_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "app/command.h"
#include "fcm/topic.h"

struct topic_sync_counts {
    int64_t added, removed;
    int64_t dead;    /* registrations retired, as after a push */
    int64_t suspect; /* dead, too, by FCM's word, but so many at once that they were left alone */
    int64_t again;   /* subscriptions that a later run has to try again */
    int64_t refused; /* subscriptions that FCM will not make */
    GHashTable *reasons; /* of refused and again: static word → GINT count; owned by the caller */
};

struct topic_sync_progress {
    /* So many of total have been answered in this phase. */
    void (*step)(enum fcm_topic_op op, int64_t done, int64_t total, void *user);
    void *user;
};

/* Blocking. RETRY, DENIED, INVALID: nothing more can be done now; counts tell what was done before.
 * CONFLICT: another run is at work. counts->reasons must be set. */
bool topic_sync_run(struct command *command, struct db *db,
                    const struct topic_sync_progress *progress, struct topic_sync_counts *counts,
                    GError **error);

#endif
