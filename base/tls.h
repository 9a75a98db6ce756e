/* TLS for clients that drive OpenSSL themselves (h2/): TLS 1.2 or later, the server's certificate
 * and name always verified. There is no switch to turn that off. */
#ifndef LOA_BASE_TLS_H
#define LOA_BASE_TLS_H

#include <stdbool.h>

#include <glib.h>

struct ssl_st;     /* SSL */
struct ssl_ctx_st; /* SSL_CTX */

/* ca_file: PEM of trusted roots, NULL or "" for the system's. alpn: the one protocol offered
 * ("h2"), NULL for none. INVALID names a file that cannot be used. Owned: SSL_CTX_free. Thread
 * safe. */
struct ssl_ctx_st *tls_client_context(const char *ca_file, const char *alpn,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Before the handshake: the certificate must carry host (a DNS name or an IP address, brackets of
 * an IPv6 address allowed); a DNS name is also sent as SNI. INVALID when host is neither. */
bool tls_expect_host(struct ssl_st *ssl, const char *host,
                     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* After SSL_connect, SSL_read or SSL_write failed with SSL_ERROR_SSL or _SYSCALL: sets error to
 * DENIED when the server's certificate was refused or the server refused ours (repeating does not
 * help; the text says why and names host), else to RETRY. Empties OpenSSL's error queue. */
void tls_error(const struct ssl_st *ssl, const char *host, GError **error);

/* After the handshake: true when the server chose this protocol (RFC 7301). */
bool tls_protocol_is(const struct ssl_st *ssl, const char *alpn);

#endif
