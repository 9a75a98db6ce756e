/* One TCP connection with TLS on it, non-blocking. OpenSSL is included only in link.c and pool.c.
 */
#ifndef LOA_H2_LINK_H
#define LOA_H2_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gio/gio.h>

#include "base/auto.h"

struct ssl_ctx_st;

enum h2_io {
    H2_IO_DONE,   /* as far as asked */
    H2_IO_AGAIN,  /* when the descriptor is ready; see h2_link_wants_write */
    H2_IO_CLOSED, /* the peer has ended the connection */
    H2_IO_FAILED, /* error is set; DENIED when only an operator can mend it */
};

struct h2_link;

/* Begins to connect. host is the name that the certificate must carry; copied. RETRY when there is
 * no way to the address. Owned. */
struct h2_link *h2_link_open(struct ssl_ctx_st *tls, const char *host, GSocketAddress *address,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Says goodbye to the peer as far as that does not block. */
void h2_link_close(struct h2_link *link);
LOA_AUTO_DEFINE(h2_link, h2_link_close)

int h2_link_fd(const struct h2_link *link);
/* DONE: connected, certificate and name verified, HTTP/2 agreed. */
enum h2_io h2_link_handshake(struct h2_link *link, GError **error);
enum h2_io h2_link_read(struct h2_link *link, uint8_t *data, size_t max, size_t *out_len,
                        GError **error);
/* After AGAIN the next call must offer the same bytes again; more may follow them. */
enum h2_io h2_link_write(struct h2_link *link, const uint8_t *data, size_t len, size_t *out_len,
                         GError **error);
/* What the last AGAIN waits for: room to write, else something to read. */
bool h2_link_wants_write(const struct h2_link *link);

#endif
