/* lib: loa_base */
/* Clients' TLS against a real server: who is trusted, under which name, with which protocol. */
#include <openssl/err.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/tls.h"
#include "tests/unit/tls_peer.h"

static char *pki;

static int make_pki(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    pki = pki_make();
    return pki == NULL;
}

static int remove_pki(void **state)
{
    (void)state;
    pki_remove(pki);
    return 0;
}

/* Connects and shakes hands; NULL and *error when that fails. */
static SSL *dial(SSL_CTX *ctx, unsigned port, const char *host, GError **error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *ssl = SSL_new(ctx);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    SSL_set_fd(ssl, fd);
    if (!tls_expect_host(ssl, host, error))
        goto failed;
    if (SSL_connect(ssl) == 1)
        return ssl;
    tls_error(ssl, host, error);
    assert_int_equal(ERR_peek_error(), 0);
failed:
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

static void test_who_is_trusted(void **state)
{
    static const struct {
        const char *ca;   /* "" = the system's */
        const char *cert; /* of the server */
        int max_version;
        const char *host;
        int code; /* -1 = connects */
        const char *says;
    } cases[] = {
        {"ca.pem", "broker", 0, "localhost", -1, NULL},
        {"ca.pem", "broker", 0, "LOCALHOST", -1, NULL},
        {"ca.pem", "broker", 0, "127.0.0.1", -1, NULL},
        {"ca.pem", "broker", TLS1_2_VERSION, "localhost", -1, NULL},
        {"ca.pem", "broker", 0, "fcm.googleapis.com", LOA_ERROR_DENIED, "ostname mismatch"},
        {"ca.pem", "broker", 0, "local", LOA_ERROR_DENIED, "ostname mismatch"},
        {"ca.pem", "broker", 0, "127.0.0.2", LOA_ERROR_DENIED, "IP address mismatch"},
        {"ca.pem", "broker", 0, "[::1]", LOA_ERROR_DENIED, "IP address mismatch"},
        {"ca.pem", "untrusted", 0, "localhost", LOA_ERROR_DENIED, "issuer certificate"},
        {"untrusted-ca.pem", "broker", 0, "localhost", LOA_ERROR_DENIED, "issuer certificate"},
        {"", "broker", 0, "localhost", LOA_ERROR_DENIED, "issuer certificate"},
        {"ca.pem", "broker", TLS1_1_VERSION, "localhost", LOA_ERROR_DENIED, "protocol"},
        {"ca.pem", "broker", 0, "", LOA_ERROR_INVALID, "not a host"},
        {"ca.pem", "broker", 0, ".", LOA_ERROR_INVALID, "not a host"},
        {"ca.pem", "broker", 0, ".localhost", LOA_ERROR_INVALID, "not a host"},
        {"ca.pem", "broker", 0, "local host", LOA_ERROR_INVALID, "not a host"},
        {"ca.pem", "broker", 0, "[]", LOA_ERROR_INVALID, "not a host"},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct tls_peer peer = {.fd = -1};
        g_autofree char *ca = pki_file(pki, cases[i].ca);
        g_autoptr(GError) error = NULL;
        SSL_CTX *ctx = tls_client_context(*cases[i].ca != '\0' ? ca : NULL, NULL, &error);
        assert_non_null(ctx);
        tls_peer_start(&peer, pki, cases[i].cert, cases[i].max_version, false);
        SSL *ssl = dial(ctx, peer.port, cases[i].host, &error);
        if (cases[i].code < 0 ? ssl == NULL
                              : !g_error_matches(error, LOA_ERROR, cases[i].code) ||
                                    strstr(error->message, cases[i].says) == NULL)
            fail_msg("%s with %s as '%s': %s", cases[i].cert, cases[i].ca, cases[i].host,
                     error != NULL ? error->message : "connected");
        if (ssl != NULL)
            hang_up(ssl);
        SSL_CTX_free(ctx);
        tls_peer_stop(&peer);
    }
}

static void test_protocol(void **state)
{
    g_autofree char *ca = pki_file(pki, "ca.pem");
    (void)state;
    for (int speaks = 0; speaks < 2; speaks++) {
        struct tls_peer peer = {.fd = -1};
        g_autoptr(GError) error = NULL;
        SSL_CTX *ctx = tls_client_context(ca, "h2", &error);
        tls_peer_start(&peer, pki, "broker", 0, speaks == 1);
        SSL *ssl = dial(ctx, peer.port, "localhost", &error);
        assert_non_null(ssl);
        assert_int_equal(tls_protocol_is(ssl, "h2"), speaks);
        assert_false(tls_protocol_is(ssl, "h"));
        hang_up(ssl);
        SSL_CTX_free(ctx);
        tls_peer_stop(&peer);
    }
}

/* A server that hangs up is no refusal: the caller tries again. */
static void test_lost_connection(void **state)
{
    int pair[2];
    g_autofree char *ca = pki_file(pki, "ca.pem");
    g_autoptr(GError) error = NULL;
    SSL_CTX *ctx = tls_client_context(ca, NULL, &error);
    SSL *ssl = SSL_new(ctx);
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    SSL_set_fd(ssl, pair[0]);
    assert_true(tls_expect_host(ssl, "localhost", &error));
    assert_int_not_equal(SSL_connect(ssl), 1);
    tls_error(ssl, "localhost", &error);
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_RETRY));
    hang_up(ssl);
    SSL_CTX_free(ctx);
}

static void test_bad_roots(void **state)
{
    g_autofree char *key = pki_file(pki, "ca.key");
    const char *const files[] = {"/nowhere/ca.pem", key, "/dev/null"};
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(tls_client_context(files[i], "h2", &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
        assert_non_null(strstr(error->message, files[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_trusted),
        cmocka_unit_test(test_protocol),
        cmocka_unit_test(test_lost_connection),
        cmocka_unit_test(test_bad_roots),
    };
    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
