/* Real mosquitto brokers for tests, from the generated configuration, on free ports of 127.0.0.1;
 * and a phone that a test drives by hand. Failures end the program with a message; everything is
 * stopped and removed by _free, at the latest with the test program. */
#ifndef LOA_TESTS_SUPPORT_TESTBROKER_H
#define LOA_TESTS_SUPPORT_TESTBROKER_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "mqtt/mosquitto_conf.h"

/* The folder made by pki.sh; one per program. "ca.pem" → its path. Borrowed. */
const char *testbroker_pki(const char *file);

struct testbroker;
/* Running, with the devices' passwords. Owned. */
struct testbroker *testbroker_new(const struct mosquitto_device *devices, size_t n);
/* The same, but phones connect without TLS: to measure what it costs. */
struct testbroker *testbroker_new_plain(const struct mosquitto_device *devices, size_t n);
void testbroker_free(struct testbroker *broker);
/* Of the running broker. */
int testbroker_pid(const struct testbroker *broker);
/* kill -9: what it has not written is lost. */
void testbroker_kill(struct testbroker *broker);
/* Stops it in its tracks with its connections open, as an overloaded machine would; and lets it go
 * on. */
void testbroker_freeze(struct testbroker *broker);
void testbroker_thaw(struct testbroker *broker);
/* Forgets sessions and retained messages, as a new machine would. While it is stopped. */
void testbroker_wipe(struct testbroker *broker);
/* Adds to one of its files, "mosquitto.conf" or "engine.acl", while it is stopped. */
void testbroker_append(struct testbroker *broker, const char *file, const char *text);
/* Returns when both listeners accept connections. */
void testbroker_start(struct testbroker *broker);
/* "127.0.0.1:port" of the listener for engines. Borrowed. */
const char *testbroker_address(const struct testbroker *broker);
int testbroker_device_port(const struct testbroker *broker);

/* One message that a client has received. */
struct testmessage {
    char *topic, *payload;
    bool retained;
    int64_t expiry_s; /* -1 = none told */
};

/* Driven inside testclient_until only: between two calls it reads nothing and acknowledges nothing.
 */
struct testclient;
/* As a device, the client id being the user name. */
struct testclient *testclient_device(const struct testbroker *broker, const char *user,
                                     const char *password);
/* As a device whose session the broker keeps, as phones do. */
struct testclient *testclient_device_kept(const struct testbroker *broker, const char *user,
                                          const char *password);
/* As a device under a client id of its choice. */
struct testclient *testclient_device_as(const struct testbroker *broker, const char *user,
                                        const char *password, const char *client_id);
/* On the engines' listener with a certificate of the pki, "" for none. */
struct testclient *testclient_engine(const struct testbroker *broker, const char *certificate);
void testclient_free(struct testclient *client);

/* Closes the connection and waits for it. */
void testclient_disconnect(struct testclient *client);
/* The connection breaks without a word; what it had not read is lost. */
void testclient_cut(struct testclient *client);
/* Connects and waits for the answer; returns CONNACK's reason, -1 when the connection was closed.
 */
int testclient_connect(struct testclient *client);
/* Subscribes with QoS 1 and waits for the SUBACK. */
void testclient_subscribe(struct testclient *client, const char *filter);
void testclient_subscribe_qos(struct testclient *client, const char *filter, int qos);
/* Publishes with QoS 1 and waits: the PUBACK's reason, -1 when the connection was closed. */
int testclient_publish(struct testclient *client, const char *topic, const char *payload,
                       bool retain);
/* Publishes the same n times and waits for the last answer. */
void testclient_publish_many(struct testclient *client, const char *topic, const char *payload,
                             bool retain, unsigned n);
/* Messages received so far: struct testmessage. */
const GPtrArray *testclient_messages(const struct testclient *client);
/* Runs the main loop and the client until done(user); fails after 20 s. */
void testclient_until(struct testclient *client, bool (*done)(void *user), void *user);
/* Until so many messages have come in all. */
void testclient_until_messages(struct testclient *client, unsigned n);

#endif
