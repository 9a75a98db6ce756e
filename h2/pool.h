/* A few HTTP/2 connections to one host, for very many small requests. Non-blocking, on the
 * thread's default GMainContext; everything here is for that one thread. TLS is always verified.
 *
 * A slot is one connection; it reconnects by itself (1 to 60 s, doubling, with jitter; at once
 * after a graceful GOAWAY), asking DNS afresh each time and going round the host's addresses. */
#ifndef LOA_H2_POOL_H
#define LOA_H2_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "h2/request.h"

/* Copied by h2_pool_new; the strings too. */
struct h2_config {
    const char *name;     /* for the log: "apns" */
    const char *endpoint; /* host:port; an IPv6 address in brackets */
    const char *ca_file;  /* PEM of trusted roots, "" for the system's */
    unsigned connections;
    unsigned streams_max;  /* requests open on one connection, below the peer's own limit */
    unsigned timeout_ms;   /* from send to answer */
    size_t copy_max;       /* bytes of copied header values per request */
    bool one_until_proven; /* one request at a time until h2_pool_prove (APNs) */
    /* 0 = the default: */
    unsigned backoff_min_ms; /* 1000 */
    unsigned backoff_max_ms; /* 60000 */
    unsigned idle_ping_ms;   /* a PING after so long without a byte; an hour */
    unsigned silence_ms;     /* with requests open: a PING after so long without a byte, and the end
                                after as long again; 5000 */
    const struct clock *clock; /* borrowed */

    /* Room may have grown or a connection came up. May be NULL. Never called from inside a call of
     * the user's. */
    void (*on_room)(void *user);
    /* Connecting failed for a reason that only an operator can mend; reason begins with
     * "tls_untrusted: " and is borrowed. Tried again at the slowest pace. May be NULL. */
    void (*on_refused)(const char *reason, void *user);
    void *user;
};

struct h2_pool;

/* INVALID for a bad endpoint or ca_file. Owned. */
struct h2_pool *h2_pool_new(const struct h2_config *config,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Settles every open request, calling its done; done must not send then. */
void h2_pool_free(struct h2_pool *pool);
LOA_AUTO_DEFINE(h2_pool, h2_pool_free)

/* Begins to connect all slots. */
void h2_pool_start(struct h2_pool *pool);
unsigned h2_pool_slots(const struct h2_pool *pool);
/* Host for the :authority header, with the port unless that is 443. Borrowed. */
const char *h2_pool_authority(const struct h2_pool *pool);

/* Requests that the peer takes on this slot now. */
unsigned h2_pool_room(const struct h2_pool *pool, unsigned slot);
unsigned h2_pool_in_flight(const struct h2_pool *pool, unsigned slot);
/* Queues a request. Without room (the connection may have gone since) it is settled as NOT_SENT. */
void h2_pool_send(struct h2_pool *pool, unsigned slot, const struct h2_request *request);
/* Settles a request without sending it, through done like all others. reason is static. */
void h2_pool_settle(struct h2_pool *pool, unsigned slot, const struct h2_request *request,
                    enum h2_outcome outcome, const char *reason);
/* Writes what was queued. Once after a batch of sends. */
void h2_pool_flush(struct h2_pool *pool);

/* The peer has accepted our credentials on this slot: the one-request start is over. */
void h2_pool_prove(struct h2_pool *pool, unsigned slot);
/* No new requests on this slot's connection; when the open ones have ended it connects again. For
 * a connection that the peer has declared useless. reason is static. */
void h2_pool_drain(struct h2_pool *pool, unsigned slot, const char *reason);
/* Ready connections. */
unsigned h2_pool_ready(const struct h2_pool *pool);
/* Why a slot is not connected, for people; "" when all are. Borrowed until the next call. */
const char *h2_pool_trouble(const struct h2_pool *pool);

#endif
