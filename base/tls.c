/* The one place where a client's SSL_CTX is made, so that no caller can forget verification.
 * tls_error tells a refused certificate (an operator must act) from a broken connection (try
 * again): OpenSSL reports both as SSL_ERROR_SSL. */
#include "base/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/error.h"

#define ALPN_MAX 32

/* Text of the newest queued OpenSSL error; the queue is empty afterwards. */
static void queue_text(char *out, size_t out_max)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    g_strlcpy(out, reason != NULL ? reason : "connection lost", out_max);
    ERR_clear_error();
}

static bool load_roots(SSL_CTX *ctx, const char *ca_file, GError **error)
{
    char reason[128];
    bool system_roots = ca_file == NULL || *ca_file == '\0';
    if (system_roots ? SSL_CTX_set_default_verify_paths(ctx) == 1
                     : SSL_CTX_load_verify_file(ctx, ca_file) == 1)
        return true;
    queue_text(reason, sizeof reason);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: no trusted roots could be read: %s",
                system_roots ? "system certificate store" : ca_file, reason);
    return false;
}

/* RFC 7301 §3.1: one length byte before each name. */
static bool offer_protocol(SSL_CTX *ctx, const char *alpn)
{
    unsigned char wire[1 + ALPN_MAX];
    size_t len = strlen(alpn);
    if (len == 0 || len > ALPN_MAX)
        return false;
    wire[0] = (unsigned char)len;
    memcpy(wire + 1, alpn, len);
    return SSL_CTX_set_alpn_protos(ctx, wire, (unsigned)len + 1) == 0;
}

struct ssl_ctx_st *tls_client_context(const char *ca_file, const char *alpn, GError **error)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        (alpn != NULL && !offer_protocol(ctx, alpn))) {
        char reason[128];
        queue_text(reason, sizeof reason);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "OpenSSL cannot start: %s", reason);
        SSL_CTX_free(ctx);
        return NULL;
    }
    if (!load_roots(ctx, ca_file, error)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

/* Letters of a DNS name. A leading dot would make OpenSSL accept every subdomain, an empty name any
 * server at all. */
static bool is_dns_name(const char *host)
{
    size_t len = strlen(host);
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(host[i]) && strchr("-._", host[i]) == NULL)
            return false;
    return len > 0 && len <= 253 && host[0] != '.';
}

bool tls_expect_host(struct ssl_st *ssl, const char *host, GError **error)
{
    size_t len = strlen(host);
    g_autofree char *bare = len > 2 && host[0] == '[' && host[len - 1] == ']'
                                ? g_strndup(host + 1, len - 2)
                                : g_strdup(host);
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    bool address = X509_VERIFY_PARAM_set1_ip_asc(param, bare) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    bool ok = address || (is_dns_name(bare) && SSL_set1_host(ssl, bare) == 1 &&
                          SSL_set_tlsext_host_name(ssl, bare) == 1);
    ERR_clear_error(); /* "not an address" is no error here */
    if (!ok)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "not a host name or address: '%s'", host);
    return ok;
}

/* Alerts by which a server says that it does not want this client (RFC 8446 §6.2). */
static bool refused_by_server(unsigned long code)
{
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return false;
    switch (ERR_GET_REASON(code)) {
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        return true;
    default:
        return false;
    }
}

void tls_error(const struct ssl_st *ssl, const char *host, GError **error)
{
    char reason[128];
    bool denied = refused_by_server(ERR_peek_last_error());
    long verdict = SSL_get_verify_result(ssl);
    queue_text(reason, sizeof reason);
    if (verdict != X509_V_OK)
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED,
                    "TLS certificate of %s refused: %s (the request was not sent)", host,
                    X509_verify_cert_error_string(verdict));
    else if (denied)
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED, "%s refused our TLS handshake: %s", host,
                    reason);
    else
        g_set_error(error, LOA_ERROR, LOA_ERROR_RETRY, "TLS with %s: %s", host, reason);
}

bool tls_protocol_is(const struct ssl_st *ssl, const char *alpn)
{
    const unsigned char *chosen = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(ssl, &chosen, &len);
    return len == strlen(alpn) && memcmp(chosen, alpn, len) == 0;
}
