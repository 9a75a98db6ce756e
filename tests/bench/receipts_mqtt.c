/* lib: loa_mqtt */
/* Phones that tell their receipts over MQTT, all through one connection to a broker that lets it
 * speak for them: what is measured is `loa mqtt` and the database, not the broker's TLS. A receipt
 * that is not confirmed within two seconds is published again. */
#include <mosquitto.h>
#include <poll.h>
#include <string.h>

#include "tests/bench/receipts_load.h"

#define CONFIRMATIONS "loa/v1/device/+"
#define POLL_MS       2

struct bench {
    struct load load;
    int64_t *sent_us; /* per device, the last time */
    int oldest;       /* all before it are confirmed */
    int64_t checked_us;
    bool ready;
};

static void publish(struct mosquitto *client, struct bench *bench, int index)
{
    char topic[64], body[128];
    int len = g_snprintf(body, sizeof body, "{\"alert\":\"%s\",\"v\":1,\"event\":\"shown\"}",
                         bench->load.alert);

    g_snprintf(topic, sizeof topic, "loa/v1/receipt/%" PRId64, bench->load.first + index);
    bench->sent_us[index] = load_now();
    if (mosquitto_publish(client, NULL, topic, len, body, 1, false) != MOSQ_ERR_SUCCESS)
        g_error("cannot publish");
}

static void on_message(struct mosquitto *client, void *user,
                       const struct mosquitto_message *message)
{
    struct bench *bench = user;
    int64_t id = g_ascii_strtoll(message->topic + strlen(CONFIRMATIONS) - 1, NULL, 10);
    int64_t index = id - bench->load.first;

    (void)client;
    if (index < 0 || index >= bench->load.next || message->payload == NULL ||
        g_strstr_len(message->payload, message->payloadlen, bench->load.alert) == NULL)
        return;
    load_confirm(&bench->load, (int)index);
}

static void on_subscribe(struct mosquitto *client, void *user, int mid, int n, const int *granted)
{
    (void)client, (void)mid, (void)n, (void)granted;
    ((struct bench *)user)->ready = true;
}

static void on_connect(struct mosquitto *client, void *user, int rc)
{
    (void)user;
    if (rc != 0 || mosquitto_subscribe(client, NULL, CONFIRMATIONS, 1) != MOSQ_ERR_SUCCESS)
        g_error("the broker refuses the loader: %d", rc);
}

static void send_due(struct mosquitto *client, struct bench *bench)
{
    struct load *load = &bench->load;
    int64_t now = load_now();

    while (load->next - load->confirmed < load->width && load_due(load) <= now)
        publish(client, bench, load_take(load));
    while (bench->oldest < load->next && load->waited_us[bench->oldest] != 0)
        bench->oldest++;
    if (now - bench->checked_us < LOAD_REPEAT_US / 4)
        return;
    bench->checked_us = now;
    for (int i = bench->oldest; i < load->next; i++) {
        if (load->waited_us[i] != 0 || now - bench->sent_us[i] < LOAD_REPEAT_US)
            continue;
        load->repeated++;
        publish(client, bench, i);
    }
}

/* Reads, writes and keeps the connection alive. */
static void turn(struct mosquitto *client)
{
    struct pollfd fd = {.fd = mosquitto_socket(client), .events = POLLIN};

    if (mosquitto_want_write(client))
        fd.events |= POLLOUT;
    poll(&fd, 1, POLL_MS);
    if ((fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
        mosquitto_loop_read(client, 1000) != MOSQ_ERR_SUCCESS)
        g_error("the broker has closed the connection");
    if (mosquitto_want_write(client))
        mosquitto_loop_write(client, 1);
    mosquitto_loop_misc(client);
}

int main(int argc, char **argv)
{
    struct bench bench = {.load = {.width = 2000}};
    struct mosquitto *client;

    if (!load_parse(&bench.load, argc, argv))
        return EXIT_FAILURE;
    mosquitto_lib_init();
    bench.sent_us = g_new0(int64_t, (gsize)bench.load.count);
    client = mosquitto_new("loader", true, &bench);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_message_callback_set(client, on_message);
    mosquitto_max_inflight_messages_set(client, 0);
    if (mosquitto_connect(client, "127.0.0.1", bench.load.port, 60) != MOSQ_ERR_SUCCESS)
        g_error("no broker at port %d", bench.load.port);
    while (!bench.ready && !load_over(&bench.load))
        turn(client);
    bench.load.start_us = load_now();
    while (!load_over(&bench.load)) {
        send_due(client, &bench);
        turn(client);
    }
    load_print(&bench.load);
    mosquitto_destroy(client);
    mosquitto_lib_cleanup();
    g_free(bench.sent_us);
    return EXIT_SUCCESS;
}
