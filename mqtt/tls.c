/* OpenSSL contexts for libmosquitto. The context holds a pointer back to struct mqtt_tls only for
 * the verify callback, so mqtt_tls_free must come after the clients that use it are destroyed. */
#include "mqtt/tls.h"

#include <stdbool.h>

#include <arpa/inet.h>
#include <mosquitto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "base/tls.h"

struct mqtt_tls {
    SSL_CTX *context;
    char *host;
    bool host_is_address;
    const char *refusal; /* static string of OpenSSL */
};

/* Keeps OpenSSL's own decision and notes why it was no. */
static int verify_note(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct mqtt_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (!ok)
        tls->refusal = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    return ok;
}

static bool require_host(struct mqtt_tls *tls)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(tls->context);

    if (tls->host_is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(param, tls->host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, tls->host, 0) == 1;
}

static bool is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* The engine's identity. */
static bool load_certificate(SSL_CTX *context, const char *cert_file, const char *key_file,
                             GError **error)
{
    if (cert_file[0] == '\0')
        return true;
    ERR_clear_error();
    bool cert_ok = SSL_CTX_use_certificate_chain_file(context, cert_file) == 1;
    if (cert_ok && SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_check_private_key(context) == 1)
        return true;
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "cannot use %s: %s",
                cert_ok ? key_file : cert_file, why != NULL ? why : "unknown reason");
    ERR_clear_error();
    return false;
}

struct mqtt_tls *mqtt_tls_new(const char *host, const char *ca_file, const char *cert_file,
                              const char *key_file, GError **error)
{
    struct mqtt_tls *tls = g_new0(struct mqtt_tls, 1);

    tls->host = g_strdup(host);
    tls->host_is_address = is_address(host);
    tls->context = tls_client_context(ca_file, NULL, error);
    if (tls->context == NULL || !load_certificate(tls->context, cert_file, key_file, error)) {
        mqtt_tls_free(tls);
        return NULL;
    }
    if (!require_host(tls)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "'%s' is no name of a server", host);
        mqtt_tls_free(tls);
        return NULL;
    }
    SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, verify_note);
    SSL_CTX_set_mode(tls->context, SSL_MODE_RELEASE_BUFFERS);
    return tls;
}

void mqtt_tls_free(struct mqtt_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    g_free(tls->host);
    g_free(tls);
}

void mqtt_tls_use(struct mqtt_tls *tls, struct mosquitto *client)
{
    mosquitto_int_option(client, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    mosquitto_void_option(client, MOSQ_OPT_SSL_CTX, tls->context);
}

void mqtt_tls_set_sni(struct mqtt_tls *tls, struct mosquitto *client)
{
    SSL *ssl = mosquitto_ssl_get(client);

    if (ssl != NULL && !tls->host_is_address && SSL_in_before(ssl))
        SSL_set_tlsext_host_name(ssl, tls->host);
}

const char *mqtt_tls_refusal(const struct mqtt_tls *tls)
{
    return tls->refusal;
}
