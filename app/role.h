/* The frame of every role: one main loop that ends at SIGTERM or SIGINT after the work that is out
 * has come home, a database connection, the heartbeat row of table process, and /metrics, /healthz,
 * /readyz where the settings give an address. */
#ifndef LOA_APP_ROLE_H
#define LOA_APP_ROLE_H

#include "app/command.h"
#include "base/db_async.h"
#include "engine/process_store.h"

struct status_server;

struct role {
    struct command *command;  /* borrowed */
    struct process_self self; /* the heartbeat's row; self.id is random per start */
    struct db_async *db;      /* for the heartbeat and anything else that is not urgent */

    /* For the role to set between role_init and role_run; all may stay NULL. */
    /* The first signal: start no new work, and call role_quit when what is out has come home. It
     * bounds its own time. NULL = the loop ends at once. */
    void (*drain)(struct role *role);
    /* Asked for /readyz beside the database; on false *out_reason (static) says why not. */
    bool (*ready)(struct role *role, const char **out_reason);
    void *data; /* the role's own */

    /* The frame's own. */
    GMainLoop *loop;
    struct status_server *status;
    guint beat, leave_limit, signals[2];
    bool stopping, leaving;
};

/* channels: NULL-terminated names that this process serves, or NULL; listen: "" = no status server.
 * role must stay where it is until role_clear. On false the reason has been printed and there is
 * nothing to clear. */
bool role_init(struct role *role, struct command *command, const char *name,
               const char *const *channels, const char *listen) G_GNUC_WARN_UNUSED_RESULT;
/* Runs until role_quit, or a signal when there is no drain, or a second signal. */
void role_run(struct role *role);
/* Takes the heartbeat's row away and ends the loop, at once when the database does not answer. */
void role_quit(struct role *role);
void role_clear(struct role *role);

#endif
