/* Driving a libmosquitto client from a foreign event loop: which events to wait for, and what to do
 * when they come. (mosquitto_loop() itself uses select and fails above descriptor 1023.) */
#ifndef LOA_MQTT_MOSQ_IO_H
#define LOA_MQTT_MOSQ_IO_H

#include <stdbool.h>

struct mosquitto;

/* Whether to wait for the socket to become writable; readable is always waited for. */
bool mosq_io_wants_write(struct mosquitto *client);

/* Handles readiness: reads (all that TLS has buffered, too), then writes what is queued. Runs the
 * client's callbacks. MOSQ_ERR_SUCCESS, or the error that ended the connection. */
int mosq_io_run(struct mosquitto *client, bool readable);

#endif
