/* loa mqtt: publishes alerts to the brokers, takes the devices' receipts, settles the MQTT chunks
 * of the fan-out. Everything runs on one main loop; any number of these processes work side by
 * side. */
#include <sysexits.h>

#include "app/role.h"
#include "base/log.h"
#include "engine/fanout.h"
#include "engine/outbox_worker.h"
#include "mqtt/brokers.h"
#include "mqtt/channel.h"
#include "mqtt/publisher.h"
#include "mqtt/receipts.h"

#define QUEUE_MAX     4096 /* statements */
#define DRAIN_LIMIT_S 10   /* what is still out then is taken over by another process */

struct mqtt_role {
    struct role role;
    struct database_clock clock;
    struct release_keys *keys;
    struct brokers *brokers;
    struct db_async *db_publish; /* publisher and receipts */
    struct db_async *db_flight;
    struct publisher *publisher;
    struct receipts *receipts;
    struct channel *channel;
    struct fanout *fanout;
    struct outbox_worker *outbox;
    unsigned draining; /* of fan-out and outbox */
    guint limit;
};

static bool ready(struct role *role, const char **out_reason)
{
    const struct mqtt_role *self = role->data;

    *out_reason = "a broker cannot be reached";
    return brokers_up(self->brokers) == brokers_count(self->brokers);
}

static void on_notify(const char *channel, const char *payload, void *user)
{
    struct mqtt_role *self = user;
    (void)channel, (void)payload;

    publisher_wake(self->publisher);
}

static void drained(void *user)
{
    struct mqtt_role *self = user;

    if (--self->draining == 0)
        role_quit(&self->role);
}

static gboolean drain_limit(gpointer data)
{
    struct mqtt_role *self = data;

    self->limit = 0;
    log_event(LOG_LEVEL_WARN, "drain_cut_short");
    role_quit(&self->role);
    return G_SOURCE_REMOVE;
}

static void drain(struct role *role)
{
    struct mqtt_role *self = role->data;

    self->limit = g_timeout_add_seconds(DRAIN_LIMIT_S, drain_limit, self);
    self->draining = 2;
    outbox_worker_drain(self->outbox, drained, self);
    fanout_drain(self->fanout, drained, self);
}

static void start_publishing(struct mqtt_role *self, const struct settings *settings)
{
    self->db_publish = db_async_new(settings->database_conninfo, QUEUE_MAX, &self->clock.clock);
    const struct publisher_options options = {.brokers = self->brokers,
                                              .db = self->db_publish,
                                              .clock = &self->clock.clock,
                                              .keys = self->keys,
                                              .poll_ms = settings->deliver_poll_ms};
    self->publisher = publisher_new(&options);
    self->receipts = receipts_new(self->brokers, self->db_publish, &self->clock.clock,
                                  settings->api_rate_per_device);
    db_async_listen(self->db_publish, "loa_fanout", on_notify, self);
}

static void start_settling(struct mqtt_role *self, const struct settings *settings)
{
    self->db_flight = db_async_new(settings->database_conninfo, QUEUE_MAX, &self->clock.clock);
    self->channel = mqtt_channel_new(self->brokers, &self->clock.clock);
    const struct fanout_options options = {.owner = self->role.self.id,
                                           .db = self->db_flight,
                                           .db_plan = self->role.db,
                                           .db_listen = self->role.db,
                                           .clock = &self->clock,
                                           .settings = settings,
                                           .keys = self->keys,
                                           .channels = &self->channel,
                                           .n_channels = 1,
                                           .plans = false};
    self->fanout = fanout_new(&options);
    const struct outbox_worker_options outbox = {.owner = self->role.self.id,
                                                 .db = self->role.db,
                                                 .fanout = self->fanout,
                                                 .clock = &self->clock.clock,
                                                 .channels = &self->channel,
                                                 .n_channels = 1,
                                                 .poll_ms = settings->deliver_poll_ms};
    self->outbox = outbox_worker_new(&outbox);
    self->role.drain = drain;
    self->role.ready = ready;
    self->role.data = self;
}

/* The channel goes first, as engine/fanout.h asks. Then the database connections: their pending
 * callbacks still find everything. The brokers' pending callbacks know when what they belong to is
 * gone. */
static void stop(struct mqtt_role *self)
{
    g_clear_handle_id(&self->limit, g_source_remove);
    self->channel->ops->free(self->channel);
    g_clear_pointer(&self->db_publish, db_async_free);
    g_clear_pointer(&self->db_flight, db_async_free);
    role_clear(&self->role);
    outbox_worker_free(self->outbox);
    fanout_free(self->fanout);
    receipts_free(self->receipts);
    publisher_free(self->publisher);
}

int role_mqtt(struct command *command, int argc, char **argv)
{
    static const char *const channels[] = {"mqtt", NULL};
    const struct settings *settings = command->settings;
    struct mqtt_role self = {0};
    g_autoptr(GError) error = NULL;
    int status = EX_OK;

    if (!command_parse("mqtt", "Publishes alerts to the MQTT brokers and takes receipts.", NULL,
                       &argc, &argv, &status))
        return status;
    self.keys =
        release_keys_load((const char *const *)settings->broadcast_public_key_files, &error);
    self.brokers = self.keys != NULL ? brokers_new(settings, true, &error) : NULL;
    if (self.brokers == NULL) {
        status = command_fail("mqtt", error);
    } else if (!role_init(&self.role, command, "mqtt", channels, settings->mqtt_metrics_listen)) {
        status = EX_UNAVAILABLE;
    } else {
        database_clock_init(&self.clock, command->clock);
        start_publishing(&self, settings);
        start_settling(&self, settings);
        role_run(&self.role);
        stop(&self);
    }
    g_clear_pointer(&self.brokers, brokers_free);
    g_clear_pointer(&self.keys, release_keys_free);
    return status;
}
