/* The way of a receipt: message → rate limit → parser → batch → durable → confirmation. Where a
 * receipt came from is remembered per device until the confirmation has left, in bounded memory; a
 * device whose confirmation is lost repeats its receipt and is confirmed again. */
#include "mqtt/receipts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/http_server.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mqtt/topic.h"

#define RATE_KEYS_MAX         100000 /* devices whose rate is remembered */
#define BURST_S               10
#define ORIGINS_MAX           50000 /* devices of one generation of origins */
#define CONFIRMATION_EXPIRY_S 300   /* a device that is off repeats anyway */
#define CONFIRM_WAITING_MAX   50000 /* confirmations waiting for room at one broker */

/* A confirmation that waits for room at its broker. */
struct confirmation {
    int64_t device_id;
    char *json; /* owned */
};

struct receipts {
    struct brokers *brokers;
    const struct clock *clock;
    struct rate_table *rate;
    struct receipt_batch_async *batch;
    /* int64 device id → broker index + 1. Two generations: when the young one is full, the old one
     * is forgotten; more devices than receipt_batch_async queues fit into one. */
    GHashTable *origins, *origins_old;
    GQueue *waiting; /* per broker: struct confirmation */
};

bool mqtt_receipt_read(const char *topic, const void *payload, size_t len, struct receipt *out,
                       GError **error)
{
    int64_t device_id;

    if (!mqtt_receipt_device(topic, &device_id)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "not a receipt topic of a device");
        return false;
    }
    return receipt_parse(payload, len, device_id, out, error);
}

char *mqtt_receipt_confirmation(const struct receipt *const *receipts, size_t n)
{
    g_autoptr(json_t) object = json_object();
    json_t *list = json_array();

    json_object_set_new(object, "confirm", list);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:s}", "alert", receipts[i]->alert_id,
                                              "v", receipts[i]->version, "event",
                                              receipt_event_name(receipts[i]->event)));
    return json_dumps(object, JSON_COMPACT);
}

/* --- coming in --- */

static void refuse(const char *reason)
{
    metric_add(METRIC_RECEIPTS_REFUSED, reason, 1);
}

static GHashTable *origins_new(void)
{
    return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

static void remember_origin(struct receipts *self, int64_t device_id, unsigned broker)
{
    if (g_hash_table_size(self->origins) >= ORIGINS_MAX) {
        g_hash_table_destroy(self->origins_old);
        self->origins_old = self->origins;
        self->origins = origins_new();
    }
    g_hash_table_replace(self->origins, g_memdup2(&device_id, sizeof(device_id)),
                         GUINT_TO_POINTER(broker + 1));
}

/* False when the device has been forgotten: it repeats its receipt. */
static bool find_origin(const struct receipts *self, int64_t device_id, unsigned *out_broker)
{
    gpointer origin = g_hash_table_lookup(self->origins, &device_id);

    if (origin == NULL)
        origin = g_hash_table_lookup(self->origins_old, &device_id);
    if (origin == NULL)
        return false;
    *out_broker = GPOINTER_TO_UINT(origin) - 1;
    return true;
}

static void on_message(struct broker *broker, const char *topic, const void *payload, size_t len,
                       void *user)
{
    struct receipts *self = user;
    struct receipt receipt;
    unsigned wait_s;

    if (!g_str_has_prefix(topic, MQTT_TOPIC_RECEIPT_PREFIX))
        return;
    if (!rate_table_take(self->rate, topic, self->clock->mono_us(self->clock), &wait_s)) {
        refuse("rate");
        return;
    }
    if (!mqtt_receipt_read(topic, payload, len, &receipt, NULL)) {
        refuse("malformed");
        return;
    }
    if (!receipt_batch_async_add(self->batch, &receipt)) {
        refuse("queue_full");
        return;
    }
    remember_origin(self, receipt.device_id, brokers_index(self->brokers, broker));
}

/* --- going back --- */

static void confirmation_free(struct confirmation *confirmation)
{
    free(confirmation->json);
    g_free(confirmation);
}

static void confirmed(struct broker *broker, enum broker_reply reply, unsigned reason, void *user)
{
    (void)broker, (void)reply, (void)reason, (void)user; /* lost: the device repeats */
}

static void pump(struct receipts *self, unsigned n)
{
    struct broker *broker = brokers_get(self->brokers, n);

    while (broker_room(broker) > 0 && self->waiting[n].length > 0) {
        struct confirmation *confirmation = g_queue_pop_head(&self->waiting[n]);
        g_autofree char *topic = mqtt_device_topic(confirmation->device_id);
        if (!broker_publish(broker, topic, confirmation->json, strlen(confirmation->json), false,
                            CONFIRMATION_EXPIRY_S, confirmed, NULL))
            refuse("unconfirmed");
        confirmation_free(confirmation);
    }
}

static void on_room(struct broker *broker, void *user)
{
    struct receipts *self = user;

    pump(self, brokers_index(self->brokers, broker));
}

static void on_down(struct broker *broker, void *user)
{
    struct receipts *self = user;

    g_queue_clear_full(&self->waiting[brokers_index(self->brokers, broker)],
                       (GDestroyNotify)confirmation_free);
}

/* Queues one confirmation for the receipts of one device. */
static void confirm(struct receipts *self, GPtrArray *receipts)
{
    const struct receipt *first = receipts->pdata[0];
    unsigned n;

    if (!find_origin(self, first->device_id, &n) ||
        self->waiting[n].length >= CONFIRM_WAITING_MAX ||
        !broker_is_up(brokers_get(self->brokers, n)))
        return;
    struct confirmation *confirmation = g_new(struct confirmation, 1);
    confirmation->device_id = first->device_id;
    confirmation->json =
        mqtt_receipt_confirmation((const struct receipt *const *)receipts->pdata, receipts->len);
    g_queue_push_tail(&self->waiting[n], confirmation);
}

static void on_durable(const struct receipt *receipts, const enum receipt_result *results, size_t n,
                       void *user)
{
    struct receipts *self = user;
    g_autoptr(GHashTable) devices =
        g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
    GHashTableIter iter;
    gpointer value;

    for (size_t i = 0; i < n; i++) {
        if (results[i] != RECEIPT_STORED)
            continue;
        GPtrArray *list = g_hash_table_lookup(devices, &receipts[i].device_id);
        if (list == NULL) {
            list = g_ptr_array_new();
            g_hash_table_insert(devices, (gpointer)&receipts[i].device_id, list);
        }
        g_ptr_array_add(list, (gpointer)&receipts[i]);
    }
    g_hash_table_iter_init(&iter, devices);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        confirm(self, value);
    for (unsigned i = 0; i < brokers_count(self->brokers); i++)
        pump(self, i);
}

static const struct broker_events events = {
    .down = on_down, .room = on_room, .message = on_message};

struct receipts *receipts_new(struct brokers *brokers, struct db_async *db,
                              const struct clock *clock, int64_t rate_per_device)
{
    struct receipts *self = g_new0(struct receipts, 1);

    self->brokers = brokers;
    self->clock = clock;
    self->rate =
        rate_table_new(RATE_KEYS_MAX, (double)rate_per_device, (double)rate_per_device * BURST_S);
    self->origins = origins_new();
    self->origins_old = origins_new();
    self->waiting = g_new0(GQueue, brokers_count(brokers));
    self->batch = receipt_batch_async_new(db, on_durable, self);
    brokers_observe(brokers, &events, self);
    return self;
}

void receipts_free(struct receipts *self)
{
    brokers_unobserve(self->brokers, self);
    receipt_batch_async_free(self->batch);
    for (unsigned n = 0; n < brokers_count(self->brokers); n++)
        g_queue_clear_full(&self->waiting[n], (GDestroyNotify)confirmation_free);
    g_free(self->waiting);
    g_hash_table_destroy(self->origins);
    g_hash_table_destroy(self->origins_old);
    rate_table_free(self->rate);
    g_free(self);
}
