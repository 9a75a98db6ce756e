/* The list of brokers of settings mqtt.brokers, and who wants to hear of their events: publisher,
 * receipts and the channel share the connections. */
#ifndef LOA_MQTT_BROKERS_H
#define LOA_MQTT_BROKERS_H

#include "base/settings.h"
#include "mqtt/broker.h"

#define BROKERS_MAX 64

struct brokers;

/* Connects to every broker of the list and subscribes to the canary topic; with receipts also to
 * the devices' receipts, of which each goes to one subscriber of the group only. INVALID for an
 * empty list, a malformed or repeated address. Owned. */
struct brokers *brokers_new(const struct settings *settings, bool receipts, GError **error);
/* Its observers must not be called any more: free them first or after, they hold no resources here.
 */
void brokers_free(struct brokers *brokers);
LOA_AUTO_DEFINE(brokers, brokers_free)

/* Observers are called in the order of observing. events is borrowed. */
void brokers_observe(struct brokers *brokers, const struct broker_events *events, void *user);
void brokers_unobserve(struct brokers *brokers, void *user);

unsigned brokers_count(const struct brokers *brokers);
struct broker *brokers_get(const struct brokers *brokers, unsigned n);
/* Position of a broker in the list. */
unsigned brokers_index(const struct brokers *brokers, const struct broker *broker);
/* The configured addresses, NULL-terminated, borrowed. */
const char *const *brokers_names(const struct brokers *brokers);
unsigned brokers_up(const struct brokers *brokers);
/* Every broker's last attempt failed for a reason that only an operator can mend. */
bool brokers_all_misconfigured(const struct brokers *brokers);

#endif
