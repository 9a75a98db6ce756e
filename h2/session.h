/* The HTTP/2 side of one connection, without input and output: requests in, bytes out, bytes in,
 * answers out. It lives across reconnects: open starts a fresh HTTP/2 session, close ends it and
 * settles every request that was on it. nghttp2 is included only in session.c. */
#ifndef LOA_H2_SESSION_H
#define LOA_H2_SESSION_H

#include <glib.h>

#include "base/auto.h"
#include "h2/request.h"

/* A full TLS record: output is handed out in pieces of this size where there is enough. */
#define H2_RECORD_MAX 16384

struct h2_session;

/* streams_max: requests open at once, whatever the peer allows. copy_max: bytes of header values
 * that one request copies (more is possible, at the price of an allocation). Owned. */
struct h2_session *h2_session_new(unsigned streams_max, size_t copy_max, int64_t timeout_us);
/* Closed before; finished requests were delivered. */
void h2_session_free(struct h2_session *session);
LOA_AUTO_DEFINE(h2_session, h2_session_free)

/* A new connection begins: queues the preface and SETTINGS. */
void h2_session_open(struct h2_session *session);
/* The connection is gone: what was written to it becomes UNCERTAIN, the rest NOT_SENT. reason is
 * static. No-op when not open. */
void h2_session_close(struct h2_session *session, const char *reason);

/* Puts a request in flight. The session is open and room was > 0. */
void h2_session_send(struct h2_session *session, const struct h2_request *request, int64_t now_us);
/* Settles a request without sending it. */
void h2_session_refuse(struct h2_session *session, const struct h2_request *request,
                       enum h2_outcome outcome, const char *reason);

/* Makes output until there is a full record or nothing more to say. false: the session is dead. */
bool h2_session_fill(struct h2_session *session) G_GNUC_WARN_UNUSED_RESULT;
/* What waits to be written; borrowed until the next call. */
const uint8_t *h2_session_output(const struct h2_session *session, size_t *out_len);
/* That many bytes of it have surely left this process (whole TLS records only). */
void h2_session_wrote(struct h2_session *session, size_t len);
/* Bytes from the peer. false: it broke the protocol. */
bool h2_session_receive(struct h2_session *session, const uint8_t *data,
                        size_t len) G_GNUC_WARN_UNUSED_RESULT;
/* Nothing more can come of this session: both sides are done. */
bool h2_session_over(const struct h2_session *session);

/* Settles what is overdue at now_us and resets its stream. */
void h2_session_expire(struct h2_session *session, int64_t now_us);
/* When the oldest request is due; INT64_MAX when none is open. */
int64_t h2_session_deadline(const struct h2_session *session);

/* Calls done of every request that is settled now. done may send. */
void h2_session_deliver(struct h2_session *session);
/* Settled requests wait for deliver. */
bool h2_session_has_settled(const struct h2_session *session);

unsigned h2_session_in_flight(const struct h2_session *session);
/* Requests that may be open at once: the smaller of streams_max and the peer's setting. */
unsigned h2_session_limit(const struct h2_session *session);
/* The peer's first SETTINGS have come. */
bool h2_session_greeted(const struct h2_session *session);
/* The peer said GOAWAY. out_graceful: without an error; out_text: its debug data, borrowed. */
bool h2_session_goaway(const struct h2_session *session, bool *out_graceful, const char **out_text);
/* A request was answered since open. */
bool h2_session_answered(const struct h2_session *session);
void h2_session_ping(struct h2_session *session);

#endif
