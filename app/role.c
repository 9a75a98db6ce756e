/* Signals arrive as sources of the main loop, so a role never sees one in the middle of its work.
 * After a second signal what is out is taken over by another process, as after a crash. */
#include "app/role.h"

#include <signal.h>
#include <string.h>

#include <glib-unix.h>

#include "app/status_server.h"
#include "base/log.h"

#define QUEUE_MAX      4096 /* statements */
#define LEAVE_LIMIT_MS 1000 /* a row that stays is forgotten after PROCESS_SEEN_S */

static gboolean on_beat(gpointer user)
{
    struct role *role = user;

    /* One that waits is enough while the database is away. */
    if (db_async_connected(role->db) || db_async_pending(role->db) == 0)
        process_beat_async(role->db, &role->self, NULL, NULL);
    return G_SOURCE_CONTINUE;
}

static gboolean on_leave_limit(gpointer user)
{
    struct role *role = user;

    role->leave_limit = 0;
    g_main_loop_quit(role->loop);
    return G_SOURCE_REMOVE;
}

static void on_left(PGresult *res, const GError *error, void *user)
{
    struct role *role = user;
    (void)res, (void)error;

    if (role->loop != NULL)
        g_main_loop_quit(role->loop);
}

void role_quit(struct role *role)
{
    if (role->leaving)
        return;
    role->leaving = true;
    g_clear_handle_id(&role->beat, g_source_remove);
    role->leave_limit = g_timeout_add(LEAVE_LIMIT_MS, on_leave_limit, role);
    process_leave_async(role->db, &role->self, on_left, role);
}

static gboolean on_signal(gpointer user)
{
    struct role *role = user;

    if (role->stopping) {
        g_main_loop_quit(role->loop);
        return G_SOURCE_CONTINUE;
    }
    role->stopping = true;
    log_event(LOG_LEVEL_INFO, "role_stopping");
    if (role->drain != NULL)
        role->drain(role);
    else
        role_quit(role);
    return G_SOURCE_CONTINUE;
}

static bool is_ready(void *user, const char **out_reason)
{
    struct role *role = user;

    if (role->stopping) {
        *out_reason = "this process is stopping";
        return false;
    }
    if (!db_async_connected(role->db)) {
        *out_reason = "the database cannot be reached";
        return false;
    }
    return role->ready == NULL || role->ready(role, out_reason);
}

bool role_init(struct role *role, struct command *command, const char *name,
               const char *const *channels, const char *listen)
{
    g_autoptr(GError) error = NULL;

    memset(role, 0, sizeof *role);
    role->command = command;
    role->status = status_server_start(listen, is_ready, role, &error);
    if (error != NULL) {
        command_fail(name, error);
        return false;
    }
    process_self_init(&role->self, name, channels);
    role->db = db_async_new(command->settings->database_conninfo, QUEUE_MAX, command->clock);
    role->loop = g_main_loop_new(NULL, FALSE);
    return true;
}

void role_run(struct role *role)
{
    role->signals[0] = g_unix_signal_add(SIGTERM, on_signal, role);
    role->signals[1] = g_unix_signal_add(SIGINT, on_signal, role);
    role->beat = g_timeout_add(PROCESS_BEAT_MS, on_beat, role);
    on_beat(role);
    log_event(LOG_LEVEL_INFO, "role_started", LOG_STR("version", LOA_VERSION));
    g_main_loop_run(role->loop);
    for (size_t i = 0; i < G_N_ELEMENTS(role->signals); i++)
        g_clear_handle_id(&role->signals[i], g_source_remove);
    g_clear_handle_id(&role->beat, g_source_remove);
    g_clear_handle_id(&role->leave_limit, g_source_remove);
    log_event(LOG_LEVEL_INFO, "role_stopped");
}

void role_clear(struct role *role)
{
    g_clear_pointer(&role->status, status_server_stop);
    g_clear_pointer(&role->loop, g_main_loop_unref);
    g_clear_pointer(&role->db, db_async_free);
}
