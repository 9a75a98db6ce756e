/* loa deliver: the fan-out over FCM and APNs. As many processes as there are cores or machines. */
#include <sysexits.h>

#include "app/channels.h"
#include "app/role.h"
#include "base/log.h"
#include "engine/clock_store.h"
#include "engine/fanout.h"
#include "engine/outbox_worker.h"

#define QUEUE_MAX     20000
#define DRAIN_LIMIT_S 20 /* open requests are answered or given up by then */

struct deliver {
    struct role role;
    struct database_clock clock;
    struct channels channels;
    struct release_keys *keys;
    struct db_async *db;
    struct db_async *db_listen, *db_scan;
    struct fanout *fanout;
    struct outbox_worker *outbox;
    guint limit;
    int draining; /* of fan-out and outbox, how many still hold something */
};

static void drained(void *user)
{
    struct deliver *deliver = user;

    if (--deliver->draining == 0)
        role_quit(&deliver->role);
}

static gboolean drain_limit(gpointer data)
{
    struct deliver *deliver = data;

    deliver->limit = 0;
    log_event(LOG_LEVEL_WARN, "drain_cut_short");
    role_quit(&deliver->role);
    return G_SOURCE_REMOVE;
}

static void drain(struct role *role)
{
    struct deliver *deliver = role->data;

    deliver->limit = g_timeout_add_seconds(DRAIN_LIMIT_S, drain_limit, deliver);
    deliver->draining = 2;
    outbox_worker_drain(deliver->outbox, drained, deliver);
    fanout_drain(deliver->fanout, drained, deliver);
}

static void start(struct deliver *deliver)
{
    struct settings *settings = deliver->role.command->settings;

    deliver->db = db_async_new(settings->database_conninfo, QUEUE_MAX, &deliver->clock.clock);
    deliver->db_listen =
        db_async_new(settings->database_conninfo, QUEUE_MAX, &deliver->clock.clock);
    deliver->db_scan = db_async_new(settings->database_conninfo, QUEUE_MAX, &deliver->clock.clock);
    struct fanout_options options = {
        .owner = deliver->role.self.id,
        .db = deliver->db,
        .db_plan = deliver->role.db,
        .db_listen = deliver->db_listen,
        .db_scan = deliver->db_scan,
        .clock = &deliver->clock,
        .settings = settings,
        .keys = deliver->keys,
        .channels = deliver->channels.channel,
        .n_channels = deliver->channels.n,
        .plans = true,
    };
    deliver->fanout = fanout_new(&options);
    struct outbox_worker_options outbox = {
        .owner = deliver->role.self.id,
        .db = deliver->role.db,
        .fanout = deliver->fanout,
        .clock = &deliver->clock.clock,
        .channels = deliver->channels.channel,
        .n_channels = deliver->channels.n,
        .poll_ms = settings->deliver_poll_ms,
    };
    deliver->outbox = outbox_worker_new(&outbox);
    deliver->role.drain = drain;
    deliver->role.data = deliver;
}

/* The channels go first: they answer what is out, and still find its owner. Then the database
 * connections: their pending callbacks still find the fan-out. */
static void stop(struct deliver *deliver)
{
    g_clear_handle_id(&deliver->limit, g_source_remove);
    channels_clear(&deliver->channels);
    g_clear_pointer(&deliver->db, db_async_free);
    g_clear_pointer(&deliver->db_listen, db_async_free);
    g_clear_pointer(&deliver->db_scan, db_async_free);
    role_clear(&deliver->role);
    outbox_worker_free(deliver->outbox);
    fanout_free(deliver->fanout);
    release_keys_free(deliver->keys);
}

/* A machine with a wrong clock would ask for provider tokens that are refused. The first poll would
 * tell the time as well, but only after the first token was asked for. */
static void ask_time(struct deliver *deliver, const char *conninfo)
{
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = db_open(conninfo, &error);
    int64_t now;

    if (db != NULL && clock_store_now(db, &now, &error))
        database_clock_follow(&deliver->clock, now);
    else
        log_event(LOG_LEVEL_WARN, "database_time_unknown", LOG_STR("error", error->message));
}

static bool prepare(struct deliver *deliver, struct command *command, GError **error)
{
    const struct settings *settings = command->settings;

    database_clock_init(&deliver->clock, command->clock);
    ask_time(deliver, settings->database_conninfo);
    deliver->keys =
        release_keys_load((const char *const *)settings->broadcast_public_key_files, error);
    return deliver->keys != NULL &&
           channels_open_push(&deliver->channels, (const char *const *)settings->deliver_channels,
                              settings, &deliver->clock.clock, error);
}

int role_deliver(struct command *command, int argc, char **argv)
{
    struct deliver deliver = {0};
    const char *names[CHANNELS_MAX + 1] = {NULL};
    g_autoptr(GError) error = NULL;
    int status = EX_OK;

    if (!command_parse("deliver", "Sends broadcasts over FCM and APNs.", NULL, &argc, &argv,
                       &status))
        return status;
    if (!prepare(&deliver, command, &error))
        return command_fail("deliver", error);
    for (size_t i = 0; i < deliver.channels.n; i++)
        names[i] = deliver.channels.channel[i]->name;
    if (!role_init(&deliver.role, command, "deliver", names,
                   command->settings->deliver_metrics_listen))
        return EX_UNAVAILABLE;
    start(&deliver);
    role_run(&deliver.role);
    stop(&deliver);
    return EX_OK;
}
