/* One broker connection. A new libmosquitto client is made for every attempt: the library's own
 * resending after a reconnect would repeat publications with their old expiry, and what is still
 * owed is known to the publisher. The library resolves names synchronously, so the address is
 * looked up first and the socket opened by address.
 *
 * Callbacks of libmosquitto run inside mosq_io_run(); the client is only destroyed outside. */
#include "mqtt/broker.h"

#include <assert.h>
#include <string.h>

#include <gio/gio.h>
#include <glib-unix.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "base/log.h"
#include "base/metrics.h"
#include "mqtt/address.h"
#include "mqtt/mosq_io.h"
#include "mqtt/tls.h"

#define KEEPALIVE_S        10
#define CONNECT_DEADLINE_S 10
#define BACKOFF_MIN_MS     1000
#define BACKOFF_MAX_MS     30000
#define REASON_FAILED      0x80 /* MQTT 5 §2.4: reason codes from here on are failures */

struct pending {
    broker_publish_cb cb;
    void *user;
};

struct broker {
    char *name, *host;
    int port;
    char *ca_file, *cert_file, *key_file;
    char **subscriptions;
    const struct broker_events *events;
    void *user;

    GCancellable *resolving;
    unsigned attempts; /* chooses among a name's addresses */
    struct mqtt_tls *tls;
    struct mosquitto *client;
    GSource *source; /* watches the client's socket */
    guint tick_id, retry_id;
    unsigned ticks; /* seconds since the attempt began */
    unsigned backoff_ms;
    bool up;
    bool held;               /* only emergencies leave */
    bool starved;            /* there was no room: tell when there may be some */
    const char *drop_reason; /* set in a callback: end the connection when it returns */
    const char *last_failure;
    unsigned in_flight_max;
    GHashTable *pending; /* message id → struct pending */
};

static void broker_connect(struct broker *broker);

/* --- the end of a connection --- */

static gboolean on_retry(gpointer data)
{
    struct broker *broker = data;

    broker->retry_id = 0;
    broker_connect(broker);
    return G_SOURCE_REMOVE;
}

static void retry_later(struct broker *broker)
{
    unsigned jitter_ms = (unsigned)g_random_int_range(0, (int)(broker->backoff_ms / 2));

    assert(broker->retry_id == 0);
    broker->retry_id = g_timeout_add(broker->backoff_ms / 2 + jitter_ms, on_retry, broker);
    broker->backoff_ms = MIN(broker->backoff_ms * 2, BACKOFF_MAX_MS);
}

static void client_drop(struct broker *broker)
{
    if (broker->source != NULL) {
        g_source_destroy(broker->source);
        g_clear_pointer(&broker->source, g_source_unref);
    }
    g_clear_handle_id(&broker->tick_id, g_source_remove);
    g_clear_pointer(&broker->client, mosquitto_destroy);
    g_clear_pointer(&broker->tls, mqtt_tls_free);
    broker->up = false;
    broker->starved = broker->held;
    broker->drop_reason = NULL;
}

static void pending_fail_all(struct broker *broker)
{
    g_autoptr(GHashTable) lost = g_steal_pointer(&broker->pending);
    GHashTableIter iter;
    gpointer value;

    broker->pending = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    g_hash_table_iter_init(&iter, lost);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct pending *pending = value;
        pending->cb(broker, BROKER_LOST, 0, pending->user);
    }
}

static bool is_config_reason(const char *reason)
{
    return strcmp(reason, "tls_untrusted") == 0 || strcmp(reason, "tls_files") == 0 ||
           strcmp(reason, "not_authorized") == 0;
}

/* Ends the attempt or connection and plans the next. reason: static. detail: for the log. */
static void broker_lost(struct broker *broker, const char *reason, const char *detail)
{
    bool was_up = broker->up;

    /* A broker that stays down is told once, not with every attempt. */
    if (was_up || broker->last_failure == NULL || strcmp(broker->last_failure, reason) != 0)
        log_event(is_config_reason(reason) ? LOG_LEVEL_ALERT : LOG_LEVEL_WARN, "broker_lost",
                  LOG_STR("broker", broker->name), LOG_STR("reason", reason),
                  LOG_STR("detail", detail));
    broker->last_failure = reason;
    client_drop(broker);
    metric_set(METRIC_BROKER_UP, broker->name, 0);
    pending_fail_all(broker);
    retry_later(broker);
    if (was_up && broker->events->down != NULL)
        broker->events->down(broker, broker->user);
    if (is_config_reason(reason) && broker->events->config_error != NULL)
        broker->events->config_error(broker, reason, broker->user);
}

/* The library's error, or what the certificate check or a callback noted. */
static void client_failed(struct broker *broker, int rc)
{
    const char *refusal = broker->tls != NULL ? mqtt_tls_refusal(broker->tls) : NULL;

    if (refusal != NULL)
        broker_lost(broker, "tls_untrusted", refusal);
    else if (broker->drop_reason != NULL)
        broker_lost(broker, broker->drop_reason, "");
    else
        broker_lost(broker, broker->up ? "connection_lost" : "connect_failed",
                    rc == MOSQ_ERR_ERRNO ? g_strerror(errno) : mosquitto_strerror(rc));
}

/* --- libmosquitto's callbacks --- */

/* The broker's Receive Maximum bounds what may be out (MQTT 5 §3.3.4). */
static unsigned receive_maximum(const mosquitto_property *props)
{
    uint16_t maximum = UINT16_MAX;

    mosquitto_property_read_int16(props, MQTT_PROP_RECEIVE_MAXIMUM, &maximum, false);
    return CLAMP(maximum, 1, BROKER_IN_FLIGHT_MAX);
}

static void on_connect(struct mosquitto *client, void *user, int reason, int flags,
                       const mosquitto_property *props)
{
    struct broker *broker = user;
    (void)flags;

    if (reason != 0) {
        broker->drop_reason =
            reason == MQTT_RC_NOT_AUTHORIZED || reason == MQTT_RC_BAD_USERNAME_OR_PASSWORD
                ? "not_authorized"
                : "connect_refused";
        return;
    }
    for (char **filter = broker->subscriptions; *filter != NULL; filter++)
        if (mosquitto_subscribe_v5(client, NULL, *filter, 1, 0, NULL) != MOSQ_ERR_SUCCESS)
            broker->drop_reason = "subscribe_failed";
    broker->in_flight_max = receive_maximum(props);
    broker->up = true;
    broker->backoff_ms = BACKOFF_MIN_MS;
    broker->last_failure = NULL;
    metric_set(METRIC_BROKER_UP, broker->name, 1);
    log_event(LOG_LEVEL_INFO, "broker_connected", LOG_STR("broker", broker->name),
              LOG_INT("in_flight_max", broker->in_flight_max));
    if (broker->events->up != NULL)
        broker->events->up(broker, broker->user);
}

static void on_subscribe(struct mosquitto *client, void *user, int mid, int n, const int *granted,
                         const mosquitto_property *props)
{
    struct broker *broker = user;
    (void)client, (void)mid, (void)props;

    for (int i = 0; i < n; i++)
        if (granted[i] >= REASON_FAILED)
            broker->drop_reason = "subscribe_refused";
}

static void on_disconnect(struct mosquitto *client, void *user, int reason,
                          const mosquitto_property *props)
{
    struct broker *broker = user;
    (void)client, (void)props;

    if (reason == MQTT_RC_NOT_AUTHORIZED)
        broker->drop_reason = "not_authorized";
}

static enum broker_reply reply_of(int reason)
{
    if (reason >= REASON_FAILED)
        return BROKER_REFUSED;
    return reason == MQTT_RC_NO_MATCHING_SUBSCRIBERS ? BROKER_NO_SUBSCRIBERS : BROKER_ACKED;
}

static void tell_room(struct broker *broker)
{
    broker->starved = broker_room(broker) == 0;
    if (broker->events->room != NULL)
        broker->events->room(broker, broker->user);
}

static void on_publish(struct mosquitto *client, void *user, int mid, int reason,
                       const mosquitto_property *props)
{
    struct broker *broker = user;
    gpointer value;
    (void)client, (void)props;

    if (!g_hash_table_steal_extended(broker->pending, GINT_TO_POINTER(mid), NULL, &value))
        return;
    g_autofree struct pending *pending = value;
    pending->cb(broker, reply_of(reason), (unsigned)reason, pending->user);
    if (broker->starved)
        tell_room(broker);
}

static void on_message(struct mosquitto *client, void *user,
                       const struct mosquitto_message *message, const mosquitto_property *props)
{
    struct broker *broker = user;
    (void)client, (void)props;

    if (message->payloadlen >= 0 && broker->events->message != NULL)
        broker->events->message(broker, message->topic, message->payload,
                                (size_t)message->payloadlen, broker->user);
}

/* --- the socket in the main loop --- */

struct socket_source {
    GSource source;
    struct broker *broker;
    gpointer tag;
    GIOCondition
        condition; /* waited for now: changing it wakes the loop, so only when it differs */
};

static gboolean socket_prepare(GSource *source, gint *timeout)
{
    struct socket_source *self = (struct socket_source *)source;
    GIOCondition condition = G_IO_IN | G_IO_HUP | G_IO_ERR;

    if (mosq_io_wants_write(self->broker->client))
        condition |= G_IO_OUT;
    if (condition != self->condition)
        g_source_modify_unix_fd(source, self->tag, condition);
    self->condition = condition;
    *timeout = -1;
    return FALSE;
}

static gboolean socket_check(GSource *source)
{
    struct socket_source *self = (struct socket_source *)source;

    return g_source_query_unix_fd(source, self->tag) != 0;
}

static gboolean socket_dispatch(GSource *source, GSourceFunc callback, gpointer user)
{
    struct socket_source *self = (struct socket_source *)source;
    struct broker *broker = self->broker;
    GIOCondition ready = g_source_query_unix_fd(source, self->tag);
    (void)callback, (void)user;

    int rc = mosq_io_run(broker->client, (ready & (G_IO_IN | G_IO_HUP | G_IO_ERR)) != 0);
    if (rc != MOSQ_ERR_SUCCESS || broker->drop_reason != NULL) {
        client_failed(broker, rc);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static void socket_watch(struct broker *broker)
{
    static GSourceFuncs funcs = {
        .prepare = socket_prepare, .check = socket_check, .dispatch = socket_dispatch};
    GSource *source = g_source_new(&funcs, sizeof(struct socket_source));
    struct socket_source *self = (struct socket_source *)source;

    self->broker = broker;
    self->condition = G_IO_IN;
    self->tag = g_source_add_unix_fd(source, mosquitto_socket(broker->client), self->condition);
    broker->source = source;
    g_source_attach(source, NULL);
}

/* Keepalive, and the deadline of an attempt. */
static gboolean on_tick(gpointer data)
{
    struct broker *broker = data;
    int rc = mosquitto_loop_misc(broker->client);

    broker->ticks++;
    if (!broker->up && broker->ticks >= CONNECT_DEADLINE_S)
        broker->drop_reason = "connect_timeout";
    if (rc == MOSQ_ERR_SUCCESS && broker->drop_reason == NULL)
        return G_SOURCE_CONTINUE;
    broker->tick_id = 0;
    client_failed(broker, rc);
    return G_SOURCE_REMOVE;
}

/* --- connecting --- */

static struct mosquitto *client_new(struct broker *broker)
{
    uint32_t nonce[2] = {g_random_int(), g_random_int()};
    g_autofree char *id = g_strdup_printf("loa-engine-%08x%08x", nonce[0], nonce[1]);
    struct mosquitto *client = mosquitto_new(id, true, broker);

    if (client == NULL)
        return NULL;
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(client, MOSQ_OPT_SEND_MAXIMUM, BROKER_IN_FLIGHT_MAX);
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
    mqtt_tls_use(broker->tls, client);
    mosquitto_connect_v5_callback_set(client, on_connect);
    mosquitto_disconnect_v5_callback_set(client, on_disconnect);
    mosquitto_subscribe_v5_callback_set(client, on_subscribe);
    mosquitto_publish_v5_callback_set(client, on_publish);
    mosquitto_message_v5_callback_set(client, on_message);
    return client;
}

static void connect_to(struct broker *broker, const char *address)
{
    g_autoptr(GError) error = NULL;

    broker->tls =
        mqtt_tls_new(broker->host, broker->ca_file, broker->cert_file, broker->key_file, &error);
    if (broker->tls == NULL) {
        broker_lost(broker, "tls_files", error->message);
        return;
    }
    broker->client = client_new(broker);
    if (broker->client == NULL) {
        broker_lost(broker, "connect_failed", g_strerror(errno));
        return;
    }
    int rc = mosquitto_connect_bind_async(broker->client, address, broker->port, KEEPALIVE_S, NULL);
    if (rc != MOSQ_ERR_SUCCESS || mosquitto_socket(broker->client) == -1) {
        client_failed(broker, rc);
        return;
    }
    mqtt_tls_set_sni(broker->tls, broker->client);
    broker->ticks = 0;
    broker->tick_id = g_timeout_add_seconds(1, on_tick, broker);
    socket_watch(broker);
}

static void on_resolved(GObject *resolver, GAsyncResult *result, gpointer user)
{
    g_autoptr(GError) error = NULL;
    GList *addresses = g_resolver_lookup_by_name_finish(G_RESOLVER(resolver), result, &error);
    struct broker *broker = user;

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* the broker is gone */
    g_clear_object(&broker->resolving);
    if (addresses == NULL) {
        broker_lost(broker, "name_unresolved", error->message);
        return;
    }
    g_autofree char *address = g_inet_address_to_string(
        g_list_nth_data(addresses, broker->attempts++ % g_list_length(addresses)));
    g_resolver_free_addresses(addresses);
    connect_to(broker, address);
}

static void broker_connect(struct broker *broker)
{
    g_autoptr(GResolver) resolver = g_resolver_get_default();

    broker->resolving = g_cancellable_new();
    g_resolver_lookup_by_name_async(resolver, broker->host, broker->resolving, on_resolved, broker);
}

struct broker *broker_new(const struct broker_options *options, GError **error)
{
    char *host;
    int port;

    if (!mqtt_address_parse(options->address, &host, &port, error))
        return NULL;
    mosquitto_lib_init();

    struct broker *broker = g_new0(struct broker, 1);
    broker->name = g_strdup(options->address);
    broker->host = host;
    broker->port = port;
    broker->ca_file = g_strdup(options->ca_file);
    broker->cert_file = g_strdup(options->cert_file);
    broker->key_file = g_strdup(options->key_file);
    broker->subscriptions = g_strdupv((char **)options->subscriptions);
    broker->events = options->events;
    broker->user = options->user;
    broker->backoff_ms = BACKOFF_MIN_MS;
    broker->pending = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    metric_set(METRIC_BROKER_UP, broker->name, 0);
    broker_connect(broker);
    return broker;
}

void broker_free(struct broker *broker)
{
    if (broker->resolving != NULL) {
        g_cancellable_cancel(broker->resolving);
        g_clear_object(&broker->resolving);
    }
    g_clear_handle_id(&broker->retry_id, g_source_remove);
    if (broker->up) {
        mosquitto_disconnect_v5(broker->client, 0, NULL);
        mosq_io_run(broker->client, false);
    }
    client_drop(broker);
    pending_fail_all(broker);
    g_hash_table_destroy(broker->pending);
    g_strfreev(broker->subscriptions);
    g_free(broker->ca_file);
    g_free(broker->cert_file);
    g_free(broker->key_file);
    g_free(broker->host);
    g_free(broker->name);
    g_free(broker);
}

const char *broker_name(const struct broker *broker)
{
    return broker->name;
}

bool broker_is_up(const struct broker *broker)
{
    return broker->up;
}

static unsigned room_below(const struct broker *broker, unsigned limit)
{
    unsigned out = g_hash_table_size(broker->pending);

    if (!broker->up || broker->drop_reason != NULL || out >= limit)
        return 0;
    return limit - out;
}

unsigned broker_room(const struct broker *broker)
{
    unsigned reserve = MIN(BROKER_URGENT_RESERVE, broker->in_flight_max / 2);

    return broker->held ? 0 : room_below(broker, broker->in_flight_max - reserve);
}

unsigned broker_room_urgent(const struct broker *broker)
{
    return room_below(broker, broker->in_flight_max);
}

void broker_hold(struct broker *broker, bool hold)
{
    if (broker->held == hold)
        return;
    broker->held = hold;
    if (hold)
        broker->starved = true;
    else if (broker->starved && broker_room(broker) > 0)
        tell_room(broker);
}

/* --- publishing --- */

static mosquitto_property *publish_properties(uint32_t expiry_s)
{
    mosquitto_property *props = NULL;

    mosquitto_property_add_int32(&props, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, expiry_s);
    mosquitto_property_add_byte(&props, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
    mosquitto_property_add_string(&props, MQTT_PROP_CONTENT_TYPE, "application/json");
    return props;
}

bool broker_publish(struct broker *broker, const char *topic, const void *payload, size_t len,
                    bool retain, uint32_t expiry_s, broker_publish_cb cb, void *user)
{
    mosquitto_property *props = publish_properties(expiry_s);
    int mid;

    assert(broker_room_urgent(broker) > 0);
    int rc = mosquitto_publish_v5(broker->client, &mid, topic, (int)len, payload, 1, retain, props);
    mosquitto_property_free_all(&props);
    if (rc != MOSQ_ERR_SUCCESS) {
        /* A broken connection is found and told by the socket's source. */
        if (rc == MOSQ_ERR_OVERSIZE_PACKET || rc == MOSQ_ERR_PAYLOAD_SIZE)
            log_event(LOG_LEVEL_ERROR, "publication_oversize", LOG_STR("broker", broker->name),
                      LOG_INT("bytes", len));
        return false;
    }
    struct pending *pending = g_new(struct pending, 1);
    *pending = (struct pending){.cb = cb, .user = user};
    g_hash_table_replace(broker->pending, GINT_TO_POINTER(mid), pending);
    broker->starved = broker_room(broker) == 0;
    return true;
}
