/* Addresses of brokers as they stand in settings and options. */
#ifndef LOA_MQTT_ADDRESS_H
#define LOA_MQTT_ADDRESS_H

#include <stdbool.h>

#include <glib.h>

/* "host:port" or "[v6]:port" → owned host, port. INVALID shows the form. */
bool mqtt_address_parse(const char *address, char **out_host, int *out_port,
                        GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
