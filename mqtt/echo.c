/* Publishes a nonce to each broker and waits for it on the shared connection's subscription. A
 * broker that is still connecting is given the message when it comes up within the deadline. */
#include "mqtt/echo.h"

#include <string.h>

#include "mqtt/topic.h"

struct echo {
    struct brokers *brokers;
    const struct clock *clock;
    bool *sent, *back; /* per broker */
    char nonce[33];
    int64_t started_us;
    echo_cb cb; /* NULL: no run under way */
    void *user;
    guint deadline_id;
};

static char *missing(const struct echo *echo)
{
    g_autoptr(GString) text = g_string_new("no answer from");

    for (unsigned n = 0; n < brokers_count(echo->brokers); n++)
        if (!echo->back[n])
            g_string_append_printf(text, " %s", brokers_names(echo->brokers)[n]);
    return g_strdup(text->str);
}

static bool all_back(const struct echo *echo)
{
    for (unsigned n = 0; n < brokers_count(echo->brokers); n++)
        if (!echo->back[n])
            return false;
    return true;
}

static void end(struct echo *echo)
{
    echo_cb cb = echo->cb;
    bool ok = all_back(echo);
    g_autofree char *detail = ok ? g_strdup("every broker answered") : missing(echo);

    g_clear_handle_id(&echo->deadline_id, g_source_remove);
    echo->cb = NULL;
    cb(ok, detail, echo->clock->mono_us(echo->clock) - echo->started_us, echo->user);
}

static gboolean on_deadline(gpointer user)
{
    struct echo *echo = user;

    echo->deadline_id = 0;
    end(echo);
    return G_SOURCE_REMOVE;
}

static void answered(struct broker *broker, enum broker_reply reply, unsigned reason, void *user)
{
    (void)broker, (void)reply, (void)reason, (void)user; /* only the way back counts */
}

static void send_to(struct echo *echo, unsigned n)
{
    struct broker *broker = brokers_get(echo->brokers, n);

    if (echo->cb == NULL || echo->sent[n] || broker_room(broker) == 0)
        return;
    echo->sent[n] = broker_publish(broker, MQTT_TOPIC_CANARY, echo->nonce, strlen(echo->nonce),
                                   false, 10, answered, NULL);
}

static void on_room(struct broker *broker, void *user)
{
    struct echo *echo = user;

    send_to(echo, brokers_index(echo->brokers, broker));
}

static void on_message(struct broker *broker, const char *topic, const void *payload, size_t len,
                       void *user)
{
    struct echo *echo = user;

    if (echo->cb == NULL || strcmp(topic, MQTT_TOPIC_CANARY) != 0 || len != strlen(echo->nonce) ||
        memcmp(payload, echo->nonce, len) != 0)
        return;
    echo->back[brokers_index(echo->brokers, broker)] = true;
    if (all_back(echo))
        end(echo);
}

static const struct broker_events events = {.up = on_room, .room = on_room, .message = on_message};

struct echo *echo_new(struct brokers *brokers, const struct clock *clock)
{
    struct echo *echo = g_new0(struct echo, 1);

    echo->brokers = brokers;
    echo->clock = clock;
    echo->sent = g_new0(bool, brokers_count(brokers));
    echo->back = g_new0(bool, brokers_count(brokers));
    brokers_observe(brokers, &events, echo);
    return echo;
}

void echo_free(struct echo *echo)
{
    if (echo->cb != NULL)
        end(echo);
    brokers_unobserve(echo->brokers, echo);
    g_free(echo->sent);
    g_free(echo->back);
    g_free(echo);
}

struct busy {
    echo_cb cb;
    void *user;
};

static gboolean refuse_idle(gpointer user)
{
    g_autofree struct busy *busy = user;

    busy->cb(false, "a dry run is already under way", 0, busy->user);
    return G_SOURCE_REMOVE;
}

void echo_run(struct echo *echo, echo_cb cb, void *user)
{
    if (echo->cb != NULL) {
        struct busy *busy = g_new(struct busy, 1);
        *busy = (struct busy){.cb = cb, .user = user};
        g_idle_add_full(G_PRIORITY_DEFAULT, refuse_idle, busy, NULL);
        return;
    }
    g_snprintf(echo->nonce, sizeof(echo->nonce), "%08x%08x%08x%08x", g_random_int(), g_random_int(),
               g_random_int(), g_random_int());
    echo->cb = cb;
    echo->user = user;
    echo->started_us = echo->clock->mono_us(echo->clock);
    echo->deadline_id = g_timeout_add(ECHO_DEADLINE_MS, on_deadline, echo);
    for (unsigned n = 0; n < brokers_count(echo->brokers); n++) {
        echo->sent[n] = false;
        echo->back[n] = false;
        send_to(echo, n);
    }
}
