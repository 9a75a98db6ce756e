/* Hands each event of each broker to every observer. */
#include "mqtt/brokers.h"

#include <assert.h>

#include "base/error.h"
#include "mqtt/topic.h"

struct observer {
    const struct broker_events *events;
    void *user;
};

struct brokers {
    struct broker **list;
    bool *misconfigured;
    unsigned n;
    char **names;
    GArray *observers; /* struct observer */
};

/* Calls one event of every observer that has it. */
#define NOTIFY_OBSERVERS(brokers, event, ...)                                                      \
    for (guint i_ = 0; i_ < (brokers)->observers->len; i_++) {                                     \
        const struct observer *o_ = &g_array_index((brokers)->observers, struct observer, i_);     \
        if (o_->events->event != NULL)                                                             \
            o_->events->event(__VA_ARGS__, o_->user);                                              \
    }

static void on_up(struct broker *broker, void *user)
{
    struct brokers *brokers = user;

    brokers->misconfigured[brokers_index(brokers, broker)] = false;
    NOTIFY_OBSERVERS(brokers, up, broker);
}

static void on_down(struct broker *broker, void *user)
{
    struct brokers *brokers = user;

    NOTIFY_OBSERVERS(brokers, down, broker);
}

static void on_room(struct broker *broker, void *user)
{
    struct brokers *brokers = user;

    NOTIFY_OBSERVERS(brokers, room, broker);
}

static void on_message(struct broker *broker, const char *topic, const void *payload, size_t len,
                       void *user)
{
    struct brokers *brokers = user;

    NOTIFY_OBSERVERS(brokers, message, broker, topic, payload, len);
}

static void on_config_error(struct broker *broker, const char *reason, void *user)
{
    struct brokers *brokers = user;

    brokers->misconfigured[brokers_index(brokers, broker)] = true;
    NOTIFY_OBSERVERS(brokers, config_error, broker, reason);
}

static const struct broker_events events = {.up = on_up,
                                            .down = on_down,
                                            .room = on_room,
                                            .message = on_message,
                                            .config_error = on_config_error};

/* The list must name each broker once: its name is the key of its acknowledgements. */
static bool check_list(char **addresses, GError **error)
{
    if (addresses == NULL || addresses[0] == NULL || g_strv_length(addresses) > BROKERS_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "mqtt.brokers: name between 1 and %d brokers as host:port", BROKERS_MAX);
        return false;
    }
    for (char **address = addresses; *address != NULL; address++) {
        if (g_strv_contains((const char *const *)address + 1, *address)) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "mqtt.brokers: '%s' stands twice",
                        *address);
            return false;
        }
    }
    return true;
}

struct brokers *brokers_new(const struct settings *settings, bool receipts, GError **error)
{
    static const char *const subscriptions[] = {MQTT_TOPIC_CANARY, MQTT_TOPIC_RECEIPTS_SHARED,
                                                NULL};
    static const char *const canary_only[] = {MQTT_TOPIC_CANARY, NULL};

    if (!check_list(settings->mqtt_brokers, error))
        return NULL;
    struct brokers *brokers = g_new0(struct brokers, 1);
    brokers->names = g_strdupv(settings->mqtt_brokers);
    brokers->observers = g_array_new(FALSE, FALSE, sizeof(struct observer));
    brokers->list = g_new0(struct broker *, g_strv_length(brokers->names));
    brokers->misconfigured = g_new0(bool, g_strv_length(brokers->names));
    for (; brokers->names[brokers->n] != NULL; brokers->n++) {
        const struct broker_options options = {.address = brokers->names[brokers->n],
                                               .ca_file = settings->mqtt_ca_file,
                                               .cert_file = settings->mqtt_cert_file,
                                               .key_file = settings->mqtt_key_file,
                                               .subscriptions =
                                                   receipts ? subscriptions : canary_only,
                                               .events = &events,
                                               .user = brokers};
        brokers->list[brokers->n] = broker_new(&options, error);
        if (brokers->list[brokers->n] == NULL) {
            brokers_free(brokers);
            return NULL;
        }
    }
    return brokers;
}

void brokers_free(struct brokers *brokers)
{
    g_array_set_size(brokers->observers, 0);
    for (unsigned i = 0; i < brokers->n; i++)
        broker_free(brokers->list[i]);
    g_array_free(brokers->observers, TRUE);
    g_strfreev(brokers->names);
    g_free(brokers->misconfigured);
    g_free(brokers->list);
    g_free(brokers);
}

void brokers_observe(struct brokers *brokers, const struct broker_events *observer_events,
                     void *user)
{
    const struct observer observer = {.events = observer_events, .user = user};

    g_array_append_val(brokers->observers, observer);
}

void brokers_unobserve(struct brokers *brokers, void *user)
{
    for (guint i = brokers->observers->len; i-- > 0;)
        if (g_array_index(brokers->observers, struct observer, i).user == user)
            g_array_remove_index(brokers->observers, i);
}

unsigned brokers_count(const struct brokers *brokers)
{
    return brokers->n;
}

struct broker *brokers_get(const struct brokers *brokers, unsigned n)
{
    assert(n < brokers->n);
    return brokers->list[n];
}

unsigned brokers_index(const struct brokers *brokers, const struct broker *broker)
{
    for (unsigned i = 0; i < brokers->n; i++)
        if (brokers->list[i] == broker)
            return i;
    assert(!"a broker of another list");
    return 0;
}

const char *const *brokers_names(const struct brokers *brokers)
{
    return (const char *const *)brokers->names;
}

unsigned brokers_up(const struct brokers *brokers)
{
    unsigned up = 0;

    for (unsigned i = 0; i < brokers->n; i++)
        up += broker_is_up(brokers->list[i]) ? 1 : 0;
    return up;
}

bool brokers_all_misconfigured(const struct brokers *brokers)
{
    for (unsigned i = 0; i < brokers->n; i++)
        if (!brokers->misconfigured[i])
            return false;
    return true;
}
