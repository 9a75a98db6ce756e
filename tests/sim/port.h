/* Listening sockets with TLS. */
#ifndef LOA_SIM_PORT_H
#define LOA_SIM_PORT_H

#include "tests/sim/conn.h"

/* A TLS server context with DIR/NAME.pem and NAME.key that speaks h2 (and http/1.1 when asked).
 * Owned. */
SSL_CTX *port_tls_new(const char *dir, const char *name, bool with_http1, GError **error);

/* Listens on "HOST:PORT"; port 0 = any. tls is taken. Owned. */
struct port *port_new(struct loop *loop, struct service *service, enum sim_channel channel,
                      const char *address, SSL_CTX *tls, GError **error);
/* Closes the socket and every connection. */
void port_free(struct port *port);
LOA_AUTO_DEFINE(port, port_free)
/* The port number. */
int port_number(const struct port *port);
/* Splits "HOST:PORT" and "[V6]:PORT". Owned host. */
bool port_parse_address(const char *address, char **out_host, char **out_port, GError **error);

#endif
