/* Small HTTPS calls (OAuth tokens, dry runs) through libcurl multi on the thread's default
 * GMainContext. TLS is always verified, redirects are never followed, proxies of the environment
 * are not used. Push traffic is h2/'s. */
#ifndef LOA_BASE_HTTP_CLIENT_H
#define LOA_BASE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

struct http_client;

struct http_client_response {
    long status;      /* 0 when no answer came */
    const char *body; /* borrowed until the callback returns; NUL-terminated, at most 64 KiB */
    size_t body_len;
    int64_t retry_after_s; /* header Retry-After, at most an hour; 0 when absent */
    const GError *error; /* no complete answer: RETRY (not sent), UNCERTAIN (sent, or the answer was
                            cut or above 64 KiB), DENIED (TLS), INVALID (the request; https only) */
};
typedef void (*http_client_cb)(const struct http_client_response *response, void *user);

/* ca_file: PEM of trusted roots, NULL for the system's. Owned. */
struct http_client *http_client_new(const char *ca_file);
void http_client_free(struct http_client *client); /* pending callbacks are not called */
LOA_AUTO_DEFINE(http_client, http_client_free)

/* Starts one request; headers: NULL-terminated "Name: value" strings (copied); body copied.
 * timeout_ms covers the whole call. The callback runs once, never from inside this call. */
void http_client_send(struct http_client *client, const char *method, const char *url,
                      const char *const *headers, const void *body, size_t body_len,
                      unsigned timeout_ms, http_client_cb cb, void *user);

#endif
