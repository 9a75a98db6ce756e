/* One client after the other, driven by hand: a command asks once and ends, so it may block. */
#include "mqtt/probe.h"

#include <poll.h>
#include <string.h>

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "base/error.h"
#include "mqtt/address.h"
#include "mqtt/alert.h"
#include "mqtt/mosq_io.h"
#include "mqtt/tls.h"
#include "mqtt/topic.h"

#define STEP_LIMIT_US (5 * G_USEC_PER_SEC)
#define POLL_MS       50
#define KEEPALIVE_S   30
#define EXPIRY_S      60
#define REASON_FAILED 0x80 /* MQTT 5 §2.4 */
#define SHARED_FILTER "$share/loa-doctor/" MQTT_TOPIC_CANARY
/* No device has the id 0: should the broker let it through, it is dropped as malformed. */
#define FORBIDDEN_TOPIC MQTT_TOPIC_RECEIPT_PREFIX "0"

struct probe {
    struct mosquitto *client;
    struct mqtt_tls *tls;
    bool closed;
    int answer;  /* reason code of what is waited for; -1 = none yet */
    char *offer; /* what CONNACK lacks; NULL = nothing */
    char nonce[33];
    bool echoed, retained;
    uint32_t expiry_s;
    mqtt_probe_cb cb;
    void *user;
};

/* --- libmosquitto's callbacks --- */

/* What a broker does not mention it offers (MQTT 5 §3.2.2.3). */
static char *read_offer(const mosquitto_property *props)
{
    uint8_t retain = 1, qos = 2, shared = 1, wildcard = 1;
    uint32_t packet = UINT32_MAX;

    mosquitto_property_read_byte(props, MQTT_PROP_RETAIN_AVAILABLE, &retain, false);
    mosquitto_property_read_byte(props, MQTT_PROP_MAXIMUM_QOS, &qos, false);
    mosquitto_property_read_byte(props, MQTT_PROP_SHARED_SUB_AVAILABLE, &shared, false);
    mosquitto_property_read_byte(props, MQTT_PROP_WILDCARD_SUB_AVAILABLE, &wildcard, false);
    mosquitto_property_read_int32(props, MQTT_PROP_MAXIMUM_PACKET_SIZE, &packet, false);
    if (!retain)
        return g_strdup("it does not retain messages");
    if (qos < 1)
        return g_strdup("it has no QoS 1");
    if (!shared)
        return g_strdup("it has no shared subscriptions");
    if (!wildcard)
        return g_strdup("it has no wildcards in subscriptions");
    if (packet < MQTT_PAYLOAD_MAX)
        return g_strdup_printf("its largest packet has %u bytes, an alert up to %d", packet,
                               MQTT_PAYLOAD_MAX);
    return NULL;
}

static void on_connect(struct mosquitto *client, void *user, int reason, int flags,
                       const mosquitto_property *props)
{
    struct probe *probe = user;
    (void)client, (void)flags;

    probe->answer = reason;
    probe->offer = read_offer(props);
}

static void on_subscribe(struct mosquitto *client, void *user, int mid, int n, const int *granted,
                         const mosquitto_property *props)
{
    (void)client, (void)mid, (void)props;
    ((struct probe *)user)->answer = n > 0 ? granted[0] : REASON_FAILED;
}

static void on_publish(struct mosquitto *client, void *user, int mid, int reason,
                       const mosquitto_property *props)
{
    (void)client, (void)mid, (void)props;
    ((struct probe *)user)->answer = reason;
}

/* Others use the canary's topic, too. */
static void on_message(struct mosquitto *client, void *user,
                       const struct mosquitto_message *message, const mosquitto_property *props)
{
    struct probe *probe = user;
    (void)client;

    if ((size_t)message->payloadlen != strlen(probe->nonce) ||
        memcmp(message->payload, probe->nonce, strlen(probe->nonce)) != 0)
        return;
    probe->echoed = true;
    probe->retained = message->retain;
    probe->expiry_s = 0;
    mosquitto_property_read_int32(props, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &probe->expiry_s,
                                  false);
}

/* --- one client --- */

static bool probe_open(struct probe *probe, const struct settings *settings, const char *address,
                       bool with_certificate, GError **error)
{
    g_autofree char *id = g_strdup_printf("loa-doctor-%08x", g_random_int());
    g_autofree char *host = NULL;
    int port;

    probe->answer = -1;
    if (!mqtt_address_parse(address, &host, &port, error))
        return false;
    mosquitto_lib_init();
    probe->tls =
        mqtt_tls_new(host, settings->mqtt_ca_file, with_certificate ? settings->mqtt_cert_file : "",
                     with_certificate ? settings->mqtt_key_file : "", error);
    if (probe->tls == NULL)
        return false;
    probe->client = mosquitto_new(id, true, probe);
    g_snprintf(probe->nonce, sizeof(probe->nonce), "%08x%08x%08x%08x", g_random_int(),
               g_random_int(), g_random_int(), g_random_int());
    mosquitto_int_option(probe->client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mqtt_tls_use(probe->tls, probe->client);
    mosquitto_connect_v5_callback_set(probe->client, on_connect);
    mosquitto_subscribe_v5_callback_set(probe->client, on_subscribe);
    mosquitto_publish_v5_callback_set(probe->client, on_publish);
    mosquitto_message_v5_callback_set(probe->client, on_message);
    probe->closed = mosquitto_connect(probe->client, host, port, KEEPALIVE_S) != MOSQ_ERR_SUCCESS;
    return true;
}

static void probe_close(struct probe *probe)
{
    if (probe->client != NULL)
        mosquitto_destroy(probe->client);
    g_clear_pointer(&probe->tls, mqtt_tls_free);
    g_clear_pointer(&probe->offer, g_free);
    probe->client = NULL;
    probe->closed = true;
}

/* Until *done (or an answer, when done is NULL), the end of the connection, or the limit. */
static bool until(struct probe *probe, const bool *done)
{
    int64_t limit_us = g_get_monotonic_time() + STEP_LIMIT_US;

    while (!probe->closed && (done != NULL ? !*done : probe->answer < 0) &&
           g_get_monotonic_time() < limit_us) {
        struct pollfd fd = {.fd = mosquitto_socket(probe->client), .events = POLLIN};
        if (mosq_io_wants_write(probe->client))
            fd.events |= POLLOUT;
        poll(&fd, 1, POLL_MS);
        probe->closed = mosq_io_run(probe->client, true) != MOSQ_ERR_SUCCESS;
    }
    return done != NULL ? *done : probe->answer >= 0;
}

static bool subscribe(struct probe *probe, const char *filter)
{
    probe->answer = -1;
    return !probe->closed &&
           mosquitto_subscribe_v5(probe->client, NULL, filter, 1, MQTT_SUB_OPT_SEND_RETAIN_ALWAYS,
                                  NULL) == MOSQ_ERR_SUCCESS &&
           until(probe, NULL) && probe->answer == 1;
}

/* The reason code; -1 = no answer. */
static int publish(struct probe *probe, const char *topic, const char *payload, bool retain)
{
    mosquitto_property *props = NULL;

    probe->answer = -1;
    mosquitto_property_add_int32(&props, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, EXPIRY_S);
    if (!probe->closed)
        probe->closed = mosquitto_publish_v5(probe->client, NULL, topic, (int)strlen(payload),
                                             payload, 1, retain, props) != MOSQ_ERR_SUCCESS;
    mosquitto_property_free_all(&props);
    until(probe, NULL);
    return probe->answer;
}

static bool was_taken(int reason)
{
    return reason >= 0 && reason < REASON_FAILED;
}

/* --- the questions --- */

static void say(const struct probe *probe, bool ok, const char *good, const char *bad)
{
    probe->cb(ok, ok ? good : bad, probe->user);
}

static bool ask_connection(struct probe *probe)
{
    bool ok = until(probe, NULL) && probe->answer == 0;

    if (!ok)
        say(probe, false, NULL, "it does not let the engine in");
    else
        say(probe, probe->offer == NULL, "offers what is needed", probe->offer);
    return ok;
}

static void ask_shared(struct probe *probe)
{
    probe->echoed = false;
    bool ok = subscribe(probe, SHARED_FILTER) &&
              was_taken(publish(probe, MQTT_TOPIC_CANARY, probe->nonce, false)) &&
              until(probe, &probe->echoed);

    say(probe, ok, "shared subscription works",
        "a shared subscription (" SHARED_FILTER ") brought nothing: receipts would not arrive");
    mosquitto_unsubscribe(probe->client, NULL, SHARED_FILTER);
}

static void ask_retained(struct probe *probe)
{
    int stored = publish(probe, MQTT_TOPIC_CANARY, probe->nonce, true);

    probe->echoed = false;
    bool ok = was_taken(stored) && subscribe(probe, MQTT_TOPIC_CANARY) &&
              until(probe, &probe->echoed) && probe->retained && probe->expiry_s > 0 &&
              probe->expiry_s <= EXPIRY_S;

    say(probe, ok, "a retained message comes back with its remaining life",
        "a retained message does not come back with its remaining life: phones that were off "
        "would miss alerts, or show old ones");
    publish(probe, MQTT_TOPIC_CANARY, "", true);
}

/* Also right: the broker ends the connection. Ask this last. */
static void ask_rights(struct probe *probe)
{
    bool alive = publish(probe, MQTT_TOPIC_CANARY, probe->nonce, false) >= 0;
    int reason = publish(probe, FORBIDDEN_TOPIC, "{}", false);

    say(probe, alive && (reason >= REASON_FAILED || (reason < 0 && probe->closed)),
        "the engine's rights end where they should",
        "the engine may publish on a phone's topic: the broker does not apply engine.acl");
}

static void ask_stranger(struct probe *probe, const struct settings *settings, const char *address)
{
    bool in = probe_open(probe, settings, address, false, NULL) && until(probe, NULL) &&
              probe->answer == 0;

    say(probe, !in, "nobody gets in without the certificate",
        "a client without the engine's certificate gets in where the engine does");
    probe_close(probe);
}

void mqtt_probe_run(const struct settings *settings, const char *address, mqtt_probe_cb cb,
                    void *user)
{
    struct probe probe = {.cb = cb, .user = user};
    g_autoptr(GError) error = NULL;

    if (!probe_open(&probe, settings, address, true, &error)) {
        cb(false, error->message, user);
    } else if (ask_connection(&probe)) {
        ask_shared(&probe);
        ask_retained(&probe);
        ask_rights(&probe);
        probe_close(&probe);
        ask_stranger(&probe, settings, address);
    }
    probe_close(&probe);
}
