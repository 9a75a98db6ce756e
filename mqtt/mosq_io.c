/* Two traps of libmosquitto behind a foreign loop are handled here: several packets may lie in one
 * TLS record, which the socket no longer announces; and while the handshake waits for the server,
 * the queued CONNECT packet makes mosquitto_want_write() true, which would spin. */
#include "mqtt/mosq_io.h"

#include <mosquitto.h>
#include <openssl/ssl.h>

#define PACKETS_PER_CALL 16

bool mosq_io_wants_write(struct mosquitto *client)
{
    SSL *ssl = mosquitto_ssl_get(client);

    if (ssl != NULL && SSL_in_init(ssl) && SSL_want_read(ssl))
        return false;
    return mosquitto_want_write(client);
}

static bool tls_has_more(struct mosquitto *client)
{
    SSL *ssl = mosquitto_ssl_get(client);

    return ssl != NULL && SSL_pending(ssl) > 0;
}

int mosq_io_run(struct mosquitto *client, bool readable)
{
    int rc = MOSQ_ERR_SUCCESS;

    if (readable) {
        do {
            rc = mosquitto_loop_read(client, PACKETS_PER_CALL);
        } while (rc == MOSQ_ERR_SUCCESS && tls_has_more(client));
    }
    if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(client) != -1 && mosquitto_want_write(client))
        rc = mosquitto_loop_write(client, PACKETS_PER_CALL);
    return rc;
}
