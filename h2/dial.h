/* One attempt to reach a host: an uncached DNS query, then its addresses one after the other until
 * TCP, TLS with verification and HTTP/2 are agreed. */
#ifndef LOA_H2_DIAL_H
#define LOA_H2_DIAL_H

#include <stdint.h>

#include "h2/link.h"

struct h2_dial;

/* link: owned by the callee; NULL when error (borrowed) is set: DENIED when only an operator can
 * mend it, else RETRY. The attempt is over and freed when this runs. */
typedef void (*h2_dialled_cb)(struct h2_link *link, const GError *error, void *user);

/* tls and host are borrowed until the end; turn chooses the address to begin with. The callback
 * runs once, from the thread's default GMainContext, never from inside this call. */
struct h2_dial *h2_dial_start(struct ssl_ctx_st *tls, const char *host, uint16_t port,
                              unsigned turn, h2_dialled_cb cb, void *user);
/* Ends it without the callback. */
void h2_dial_cancel(struct h2_dial *dial);

#endif
