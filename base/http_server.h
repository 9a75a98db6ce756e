/* The one wrapper around libmicrohttpd. It decides before any route sees a request:
 * - more than one Content-Length, Transfer-Encoding other than exactly "chunked", both together,
 *   missing or repeated Host → 400 and close (request smuggling; RFC 9112 §6.3, §3.2);
 * - header count and size, URL length, body size per route, connections in all and per address,
 *   idle and slow bodies: each has a limit and answers 400, 413, 414, 431, 408 or 429.
 * Errors are RFC 9457 problem documents (application/problem+json); only what libmicrohttpd itself
 * cannot parse (a Content-Length that is no number, a malformed chunk, a head above 26 KiB) gets
 * its plain 400, 413, 414 or 431. A connection above the limits is closed without an answer. */
#ifndef LOA_BASE_HTTP_SERVER_H
#define LOA_BASE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

struct http_request; /* borrowed by the handler for the length of the call */

/* Request readers. All strings are borrowed and NUL-terminated; NULL when absent. */
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request);
const char *http_request_header(const struct http_request *request, const char *name);
const char *http_request_query(const struct http_request *request, const char *name);
/* n-th {placeholder} of the route's pattern, from 0. */
const char *http_request_segment(const struct http_request *request, unsigned n);
const char *http_request_body(const struct http_request *request, size_t *out_len);
/* The peer's address without port; with a trusted proxy, the last X-Forwarded-For entry. */
const char *http_request_address(const struct http_request *request);
/* The calling server thread, 0 … threads-1: index for per-thread resources (a struct db each). */
unsigned http_request_thread(const struct http_request *request);

/* Answering: before it returns, a handler calls exactly one of http_reply, http_reply_problem,
 * http_reply_error and http_request_suspend, once. Data is copied. Every answer gets
 * "X-Content-Type-Options: nosniff", and "Cache-Control: no-store" unless the handler has set
 * another. */
void http_reply(struct http_request *request, unsigned status, const char *content_type,
                const void *body, size_t len);
/* Adds a header to the coming reply. Values with CR or LF are refused (asserted). */
void http_reply_header(struct http_request *request, const char *name, const char *value);
/* One bad field of a problem document. */
struct http_problem_field {
    const char *name;   /* JSON pointer or parameter name */
    const char *detail; /* what is wrong and what to do */
};
/* type is a short token ("invalid-field"), becomes "urn:loa:problem:invalid-field". */
void http_reply_problem(struct http_request *request, unsigned status, const char *type,
                        const char *title, const char *detail,
                        const struct http_problem_field *fields, size_t n_fields);
/* Problem document for a GError: INVALID 422, NOT_FOUND 404, CONFLICT 409, DENIED 403, LIMIT 429,
 * RETRY and UNCERTAIN 503 with Retry-After, INTERNAL 500 without detail. */
void http_reply_error(struct http_request *request, const GError *error);

typedef void (*http_handler)(struct http_request *request, void *user);

/* Answering later, without holding a thread: the request waits until http_request_resume. Then
 * `then` answers it on its server thread as a handler does (it may not suspend again). free_data
 * gets data exactly once: after `then`, or instead of it when the client has gone. Between, the
 * request lives, but nobody may touch it. */
void http_request_suspend(struct http_request *request, http_handler then, void *data,
                          GDestroyNotify free_data);
/* Exactly once after each http_request_suspend, from any thread, at the earliest at once: the
 * handler need not have returned. The server cannot be stopped before. */
void http_request_resume(struct http_request *request);

struct http_route {
    const char *method;  /* "GET", "POST", "PUT", "DELETE"; HEAD follows GET */
    const char *pattern; /* "/api/v1/devices/{id}"; a placeholder is one non-empty segment */
    const char *name;    /* metric label: "device_show" */
    size_t body_max;     /* bytes; 0 = a body is refused */
    http_handler handler;
};

struct http_server_options {
    const char *listen;       /* "127.0.0.1:8080", "[::1]:0", port 0 = any free one */
    unsigned threads;         /* 0 = runs on the default GMainContext, no thread of its own */
    unsigned connections_max; /* in all */
    unsigned connections_per_address;
    unsigned idle_timeout_s;            /* a connection without progress */
    unsigned request_timeout_s;         /* from the first header byte to the last body byte */
    const char *const *trusted_proxies; /* addresses whose X-Forwarded-For is believed; NULL none */
    const struct http_route *routes;
    size_t n_routes;
    void *user; /* given to every handler */
};

struct http_server;
/* INVALID for a bad address, CONFLICT when it is in use. Routes and user must outlive the server;
 * the first route that fits is taken. With threads = 0 it is served by the default GMainContext.
 * Owned. */
struct http_server *http_server_start(const struct http_server_options *options,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* New requests get 503; waits for handlers and for suspended requests however long they take, up to
 * 5 s for answers on their way, then closes everything. Not from a handler. */
void http_server_stop(struct http_server *server);
LOA_AUTO_DEFINE(http_server, http_server_stop)
/* The port really bound. */
unsigned http_server_port(const struct http_server *server);

/* Rate limits: token buckets by key ("device:17", "addr:10.0.0.1") in bounded memory; when the
 * table is full the least recently used key is forgotten. Thread safe. */
struct rate_table;
struct rate_table *rate_table_new(size_t keys_max, double per_second, double burst);
void rate_table_free(struct rate_table *table);
LOA_AUTO_DEFINE(rate_table, rate_table_free)
/* true when one more is allowed now; else *out_wait_s tells when (whole seconds, ≥ 1). */
bool rate_table_take(struct rate_table *table, const char *key, int64_t mono_us,
                     unsigned *out_wait_s);

#endif
