/* Deadlines of the server's connections. libmicrohttpd forgives a client that sends one byte now
 * and then for ever; the watch does not: it answers 408 on the socket and shuts it down, and the
 * library finds the connection closed. Also counts requests being answered. Thread safe. */
#ifndef LOA_BASE_HTTP_WATCH_H
#define LOA_BASE_HTTP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/http_guard.h"

struct http_watch;
struct http_watched; /* one connection */

/* idle_s: without a request line (plus request_s); request_s: from the request line to the last
 * byte of the body. Owned. */
struct http_watch *http_watch_new(unsigned idle_s, unsigned request_s);
/* Every connection must have been removed. */
void http_watch_free(struct http_watch *watch);
LOA_AUTO_DEFINE(http_watch, http_watch_free)

/* A new connection on fd, which must stay open until http_watch_remove. */
struct http_watched *http_watch_add(struct http_watch *watch, int fd);
void http_watch_remove(struct http_watched *watched);

/* A request line has arrived / the request is complete and may be answered (false: too late, a 408
 * has been sent) / the request is over, however it ended. */
void http_watch_begin(struct http_watched *watched);
bool http_watch_received(struct http_watched *watched) G_GNUC_WARN_UNUSED_RESULT;
void http_watch_end(struct http_watched *watched);

/* Answers on the socket while the library still reads the body, then lets the client two seconds to
 * take the answer: closing at once would reset the connection under it. */
void http_watch_refuse(struct http_watched *watched, enum http_verdict verdict);

/* Cuts what is overdue at now; returns when to come again (INT64_MAX: when told). */
int64_t http_watch_scan(struct http_watch *watch, int64_t mono_us);
/* When http_watch_scan has something to do next, as known now. */
int64_t http_watch_due(struct http_watch *watch);
/* Scans from a thread of its own until http_watch_free. */
bool http_watch_thread_start(struct http_watch *watch, GError **error);

/* Requests that are complete and have not yet got their whole answer. */
unsigned http_watch_active(struct http_watch *watch);
/* Blocks until there is none, at most until that monotonic time. */
void http_watch_wait_idle(struct http_watch *watch, int64_t until_us);

#endif
