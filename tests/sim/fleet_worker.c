/* One process of the fleet: an epoll set of its own, because libmosquitto's loop uses select and
 * each client takes three descriptors. Phones connect a few at a time, so that neither the broker's
 * accept queue nor its single core is overrun. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "base/clock.h"
#include "base/json.h"
#include "engine/receipt.h"
#include "mqtt/address.h"
#include "mqtt/mosq_io.h"
#include "mqtt/tls.h"
#include "tests/sim/fleet_alert.h"
#include "tests/sim/fleet_phone.h"
#include "tests/sim/fleet_shared.h"

#define KEEPALIVE_S        600
#define SESSION_EXPIRY_S   (7 * 86400) /* as long as a device secret lives */
#define CONNECTING_MAX     64          /* in all processes */
#define CONNECT_DEADLINE_S 30
#define SCAN_MS            100
#define MISC_S             5
#define RETRY_MIN_S        1
#define RETRY_MAX_S        30
#define CACHE_MAX          256
#define EVENTS_MAX         256

enum phone_state {
    PHONE_OFF,        /* next: CONNECTING */
    PHONE_CONNECTING, /* until the subscriptions are granted; next: ON, OFF */
    PHONE_ON,         /* next: OFF */
};

struct phone {
    struct worker *worker;
    const struct fleet_device *device;
    struct fleet_count *count;
    struct mosquitto *client;
    int fd;
    uint32_t events; /* in the epoll set */
    enum phone_state state;
    bool drop;         /* set in a callback: close when it returns */
    unsigned granting; /* CONNECTING: subscriptions asked for and not yet granted */
    unsigned broker;   /* index */
    unsigned failures; /* in a row */
    int64_t next_us;   /* OFF: when to connect; CONNECTING: deadline */
    int64_t misc_us;   /* next keepalive check */
    GArray *alerts;    /* struct phone_alert; NULL = none yet */
    GArray *notices;
    char *device_topic;
};

struct broker_target {
    char *host;
    int port;
    struct mqtt_tls *tls;
};

struct worker {
    const struct fleet_options *options;
    struct fleet_shared *shared;
    const struct clock *clock;
    struct broker_target *targets;
    unsigned n_targets;
    struct phone *phones;
    unsigned n_phones;
    unsigned connecting, connecting_max;
    int epoll_fd;
    GHashTable *cache; /* language + payload (GBytes) → struct cached_alert */
    int32_t window_s;  /* override seen last */
    uint32_t resets;
};

/* The same bytes come to thousands of phones; each (bytes, language) is checked once. */
struct cached_alert {
    enum fleet_alert_result result;
    struct fleet_alert alert;
};

static volatile sig_atomic_t stopping;

static void on_term(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static int64_t mono_us(const struct worker *worker)
{
    return worker->clock->mono_us(worker->clock);
}

/* --- what a phone does with a message --- */

static const struct cached_alert *read_cached(struct worker *worker, const char *language,
                                              const void *payload, size_t len)
{
    g_autoptr(GByteArray) key = g_byte_array_sized_new((guint)(len + 16));

    g_byte_array_append(key, (const guint8 *)language, (guint)strlen(language) + 1);
    g_byte_array_append(key, payload, (guint)len);
    g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(g_steal_pointer(&key));
    struct cached_alert *cached = g_hash_table_lookup(worker->cache, bytes);
    if (cached != NULL)
        return cached;
    if (g_hash_table_size(worker->cache) >= CACHE_MAX)
        g_hash_table_remove_all(worker->cache);
    cached = g_new0(struct cached_alert, 1);
    cached->result =
        fleet_alert_read(payload, len, language, worker->options->keys, &cached->alert);
    g_hash_table_insert(worker->cache, g_steal_pointer(&bytes), cached);
    return cached;
}

static int64_t receipt_window_s(const struct worker *worker, const struct fleet_alert *alert)
{
    int32_t window_s = worker->shared->receipt_window_s;

    return window_s >= 0 && alert->window_s > 0 ? MAX(window_s, 1) : alert->window_s;
}

static void note_shown(struct phone *phone, const struct fleet_alert *alert)
{
    struct fleet_shared *shared = phone->worker->shared;
    int64_t now_us = phone->worker->clock->utc_us(phone->worker->clock);
    int64_t none = 0;

    shared->distinct++;
    phone->count->distinct++;
    if (alert->is_cancel)
        shared->cancelled++;
    if (alert->is_emergency) {
        shared->emergencies++;
        phone->count->emergency_us = now_us;
    }
    atomic_compare_exchange_strong(&shared->first_us, &none, now_us);
    shared->last_us = now_us;
}

static void take_alert(struct phone *phone, const void *payload, size_t len)
{
    struct worker *worker = phone->worker;
    const struct cached_alert *cached = read_cached(worker, phone->device->language, payload, len);

    worker->shared->received++;
    if (cached->result == FLEET_ALERT_MALFORMED) {
        worker->shared->malformed++;
    } else if (cached->result == FLEET_ALERT_BAD_SIGNATURE) {
        worker->shared->bad_signatures++;
    } else if (phone_show(&phone->alerts, cached->alert.alert_id, cached->alert.version,
                          receipt_window_s(worker, &cached->alert), g_random_double(),
                          mono_us(worker))) {
        note_shown(phone, &cached->alert);
    } else {
        worker->shared->duplicates++;
        phone->count->repeats++;
    }
}

static void take_confirmations(struct phone *phone, const json_t *list)
{
    size_t i;
    const json_t *item;

    json_array_foreach(list, i, item)
    {
        const char *alert = json_string_value(json_object_get(item, "alert"));
        int version = (int)json_integer_value(json_object_get(item, "v"));
        if (alert != NULL && phone_confirm(phone->alerts, g_intern_string(alert), version))
            phone->worker->shared->receipts_confirmed++;
    }
}

/* Confirmations and targeted notifications. */
static void take_own(struct phone *phone, const void *payload, size_t len)
{
    g_autoptr(json_t) object = json_parse_object(payload, len, 65536, NULL);
    const char *notice = json_string_value(json_object_get(object, "alert"));

    if (json_is_array(json_object_get(object, "confirm")))
        take_confirmations(phone, json_object_get(object, "confirm"));
    else if (notice == NULL)
        phone->worker->shared->malformed++;
    else if (phone_show(&phone->notices, g_intern_string(notice), 1, 0, 0, 0))
        phone->worker->shared->notices++;
}

static void on_message(struct mosquitto *client, void *user,
                       const struct mosquitto_message *message, const mosquitto_property *props)
{
    struct phone *phone = user;
    (void)client, (void)props;

    if (strcmp(message->topic, phone->device_topic) == 0)
        take_own(phone, message->payload, (size_t)message->payloadlen);
    else
        take_alert(phone, message->payload, (size_t)message->payloadlen);
}

/* --- connecting --- */

/* What is retained comes with every connection, also to a kept session. */
static bool subscribe(struct mosquitto *client, int n, char *const *filters, int qos)
{
    return mosquitto_subscribe_multiple(client, NULL, n, filters, qos,
                                        MQTT_SUB_OPT_SEND_RETAIN_ALWAYS, NULL) == MOSQ_ERR_SUCCESS;
}

static void on_connect(struct mosquitto *client, void *user, int reason, int flags,
                       const mosquitto_property *props)
{
    struct phone *phone = user;
    const char *commune = phone->device->commune;
    g_autofree char *near = g_strdup_printf("loa/v1/emergency/area/%s/+", commune);
    g_autofree char *news = g_strdup_printf("loa/v1/alert/area/%s/+", commune);
    char *queued[] = {"loa/v1/emergency/all/+", phone->device_topic, near};
    char *unqueued[] = {"loa/v1/alert/all/+", news};
    int more = commune[0] != '\0' ? 1 : 0;
    (void)flags, (void)props;

    phone->granting = 2;
    if (reason != 0 || !subscribe(client, 2 + more, queued, 1) ||
        !subscribe(client, 1 + more, unqueued, 0))
        phone->drop = true;
}

static void on_subscribe(struct mosquitto *client, void *user, int mid, int n, const int *granted,
                         const mosquitto_property *props)
{
    struct phone *phone = user;
    (void)client, (void)mid, (void)props;

    for (int i = 0; i < n; i++)
        phone->drop = phone->drop || granted[i] > 1;
    if (phone->drop || phone->state != PHONE_CONNECTING || --phone->granting > 0)
        return;
    phone->state = PHONE_ON;
    phone->failures = 0;
    phone->worker->connecting--;
    phone->worker->shared->connected++;
    phone->worker->shared->connects++;
}

static void phone_close(struct phone *phone)
{
    struct worker *worker = phone->worker;
    unsigned wait_s = MIN(RETRY_MIN_S << MIN(phone->failures, 5), RETRY_MAX_S);

    if (phone->state == PHONE_ON)
        worker->shared->connected--;
    else if (phone->state == PHONE_CONNECTING)
        worker->connecting--;
    /* Closing the descriptor takes it out of the epoll set. */
    g_clear_pointer(&phone->client, mosquitto_destroy);
    phone->state = PHONE_OFF;
    phone->drop = false;
    phone->failures++;
    phone->broker = (phone->broker + 1) % worker->n_targets;
    phone->next_us = mono_us(worker) + (int64_t)(wait_s * (0.5 + g_random_double() / 2) * 1e6);
}

static bool watch(struct phone *phone)
{
    struct epoll_event event = {.data.ptr = phone};
    uint32_t events = EPOLLIN | (mosq_io_wants_write(phone->client) ? EPOLLOUT : 0);
    int fd = mosquitto_socket(phone->client);

    if (fd == phone->fd && events == phone->events)
        return true;
    event.events = events;
    if (epoll_ctl(phone->worker->epoll_fd, fd == phone->fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
                  &event) != 0)
        return false;
    phone->fd = fd;
    phone->events = events;
    return true;
}

/* After any call into the library: closes what failed, else waits for the right events. */
static void phone_after(struct phone *phone, int rc)
{
    if (rc != MOSQ_ERR_SUCCESS || phone->drop || mosquitto_socket(phone->client) == -1 ||
        !watch(phone))
        phone_close(phone);
}

static struct mosquitto *client_new(struct phone *phone, struct broker_target *target)
{
    g_autofree char *id = g_strdup_printf("%" G_GINT64_FORMAT, phone->device->id);
    /* No clean start: a phone comes back to its session and to what was queued for it. */
    struct mosquitto *client = mosquitto_new(id, false, phone);

    if (client == NULL)
        return NULL;
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_username_pw_set(client, id, phone->device->password);
    if (target->tls != NULL)
        mqtt_tls_use(target->tls, client);
    mosquitto_connect_v5_callback_set(client, on_connect);
    mosquitto_subscribe_v5_callback_set(client, on_subscribe);
    mosquitto_message_v5_callback_set(client, on_message);
    return client;
}

static void phone_connect(struct phone *phone)
{
    struct worker *worker = phone->worker;
    struct broker_target *target = &worker->targets[phone->broker];
    mosquitto_property *props = NULL;
    int rc = MOSQ_ERR_NOMEM;

    phone->state = PHONE_CONNECTING;
    worker->connecting++;
    phone->next_us = mono_us(worker) + CONNECT_DEADLINE_S * USEC_PER_SEC;
    phone->fd = -1;
    phone->client = client_new(phone, target);
    if (phone->client == NULL) {
        phone_close(phone);
        return;
    }
    mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
    rc = mosquitto_connect_bind_v5(phone->client, target->host, target->port, KEEPALIVE_S, NULL,
                                   props);
    mosquitto_property_free_all(&props);
    phone_after(phone, rc);
}

/* --- receipts and time --- */

static int send_receipt(struct phone *phone, const struct phone_alert *alert)
{
    g_autofree char *topic = g_strdup_printf("loa/v1/receipt/%" G_GINT64_FORMAT, phone->device->id);
    g_autofree char *json =
        g_strdup_printf("{\"alert\":\"%s\",\"v\":%d,\"event\":\"%s\"}", alert->alert_id,
                        alert->version, receipt_event_name(RECEIPT_SHOWN));

    phone->worker->shared->receipts_sent++;
    return mosquitto_publish_v5(phone->client, NULL, topic, (int)strlen(json), json, 1, false,
                                NULL);
}

/* What time asks of a phone that is on. */
static void phone_tick_on(struct phone *phone, int64_t now_us)
{
    const struct phone_alert *alert;
    int rc = MOSQ_ERR_SUCCESS;
    bool touched = false;

    while (rc == MOSQ_ERR_SUCCESS && (alert = phone_receipt_due(phone->alerts, now_us)) != NULL) {
        rc = send_receipt(phone, alert);
        touched = true;
    }
    if (rc == MOSQ_ERR_SUCCESS && now_us >= phone->misc_us) {
        rc = mosquitto_loop_misc(phone->client);
        phone->misc_us = now_us + MISC_S * USEC_PER_SEC;
        touched = true;
    }
    if (touched)
        phone_after(phone, rc);
}

static void phone_tick(struct phone *phone, int64_t now_us)
{
    struct worker *worker = phone->worker;

    if (phone->state == PHONE_ON) {
        phone_tick_on(phone, now_us);
    } else if (now_us >= phone->next_us) {
        if (phone->state == PHONE_CONNECTING)
            phone_close(phone);
        else if (worker->connecting < worker->connecting_max)
            phone_connect(phone);
    }
}

/* Orders of the control socket. */
static void obey(struct worker *worker)
{
    int32_t window_s = worker->shared->receipt_window_s;
    uint32_t resets = worker->shared->phone_resets;

    if (window_s >= 0 && window_s != worker->window_s)
        for (unsigned i = 0; i < worker->n_phones; i++)
            phone_hurry(worker->phones[i].alerts, MAX(window_s, 1), g_random_double(),
                        mono_us(worker));
    worker->window_s = window_s;
    if (resets != worker->resets)
        for (unsigned i = 0; i < worker->n_phones; i++)
            g_clear_pointer(&worker->phones[i].alerts, g_array_unref);
    worker->resets = resets;
}

static void scan(struct worker *worker)
{
    obey(worker);
    for (unsigned i = 0; i < worker->n_phones && !stopping; i++)
        phone_tick(&worker->phones[i], mono_us(worker));
}

/* --- the process --- */

static void worker_loop(struct worker *worker)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t scan_us = 0;

    while (!stopping) {
        int64_t now_us = mono_us(worker);
        if (now_us >= scan_us) {
            scan(worker);
            scan_us = now_us + SCAN_MS * USEC_PER_MSEC;
        }
        int n = epoll_wait(worker->epoll_fd, events, EVENTS_MAX, SCAN_MS / 4);
        for (int i = 0; i < n; i++) {
            struct phone *phone = events[i].data.ptr;
            if (phone->client != NULL)
                phone_after(phone, mosq_io_run(phone->client, (events[i].events & ~EPOLLOUT) != 0));
        }
        /* A slot that became free is used at once, not at the next scan. */
        if (worker->connecting > 0 && worker->connecting < worker->connecting_max / 2)
            scan_us = MIN(scan_us, now_us + 10 * USEC_PER_MSEC);
    }
}

static bool targets_init(struct worker *worker, GError **error)
{
    char **brokers = worker->options->brokers;

    worker->n_targets = g_strv_length(brokers);
    worker->targets = g_new0(struct broker_target, worker->n_targets);
    for (unsigned i = 0; i < worker->n_targets; i++) {
        struct broker_target *target = &worker->targets[i];
        if (!mqtt_address_parse(brokers[i], &target->host, &target->port, error))
            return false;
        if (worker->options->plain)
            continue;
        target->tls = mqtt_tls_new(target->host, worker->options->ca_file, "", "", error);
        if (target->tls == NULL)
            return false;
    }
    return true;
}

static void phones_init(struct worker *worker, int number)
{
    const GArray *devices = worker->options->devices;

    worker->phones = g_new0(struct phone, devices->len / (guint)worker->options->processes + 1);
    for (guint i = (guint)number; i < devices->len; i += (guint)worker->options->processes) {
        struct phone *phone = &worker->phones[worker->n_phones++];
        phone->worker = worker;
        phone->device = &g_array_index(devices, struct fleet_device, i);
        phone->count = &worker->shared->counts[i];
        phone->broker = i / (guint)worker->options->processes % worker->n_targets;
        phone->device_topic = g_strdup_printf("loa/v1/device/%" G_GINT64_FORMAT, phone->device->id);
    }
}

static void worker_clear(struct worker *worker)
{
    for (unsigned i = 0; i < worker->n_phones; i++) {
        struct phone *phone = &worker->phones[i];
        g_clear_pointer(&phone->client, mosquitto_destroy);
        g_clear_pointer(&phone->alerts, g_array_unref);
        g_clear_pointer(&phone->notices, g_array_unref);
        g_free(phone->device_topic);
    }
    for (unsigned i = 0; i < worker->n_targets; i++) {
        g_free(worker->targets[i].host);
        g_clear_pointer(&worker->targets[i].tls, mqtt_tls_free);
    }
    g_free(worker->phones);
    g_free(worker->targets);
    g_hash_table_destroy(worker->cache);
    close(worker->epoll_fd);
}

int fleet_worker_run(const struct fleet_options *options, int number)
{
    struct worker worker = {.options = options,
                            .shared = options->shared,
                            .clock = clock_system(),
                            .connecting_max = (unsigned)MAX(CONNECTING_MAX / options->processes, 4),
                            .window_s = -1};
    g_autoptr(GError) error = NULL;

    signal(SIGTERM, on_term);
    signal(SIGPIPE, SIG_IGN);
    mosquitto_lib_init();
    worker.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker.cache =
        g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, g_free);
    if (!targets_init(&worker, &error)) {
        g_printerr("loa-sim fleet: %s\n", error->message);
        return EXIT_FAILURE;
    }
    phones_init(&worker, number);
    worker_loop(&worker);
    worker_clear(&worker);
    mosquitto_lib_cleanup();
    return EXIT_SUCCESS;
}
