/* TLS for libmosquitto's clients. Loa hands libmosquitto a finished SSL_CTX: the server's name is
 * checked by OpenSSL against the configured host even though the socket is opened by address, one
 * context serves thousands of simulated phones, and the reason of a refused certificate is known.
 */
#ifndef LOA_MQTT_TLS_H
#define LOA_MQTT_TLS_H

#include <glib.h>

struct mosquitto;

struct mqtt_tls;

/* ca_file "" = the system's roots; cert_file and key_file "" = no client certificate. host: name or
 * address that the broker's certificate must carry. TLS 1.2 or later, always verified. INVALID
 * names the file. Owned. */
struct mqtt_tls *mqtt_tls_new(const char *host, const char *ca_file, const char *cert_file,
                              const char *key_file, GError **error);
void mqtt_tls_free(struct mqtt_tls *tls);

/* Makes the client use it; call before connecting. The context lives as long as any user. */
void mqtt_tls_use(struct mqtt_tls *tls, struct mosquitto *client);

/* Sends host as SNI: call right after the socket was opened by address. */
void mqtt_tls_set_sni(struct mqtt_tls *tls, struct mosquitto *client);

/* Why the last certificate was refused ("certificate has expired"), NULL when none was. Static. */
const char *mqtt_tls_refusal(const struct mqtt_tls *tls);

#endif
