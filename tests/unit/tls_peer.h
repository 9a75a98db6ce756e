/* A TLS server on a thread for tests of clients, with the certificates of tests/support/pki.sh. */
#ifndef LOA_TESTS_UNIT_TLS_PEER_H
#define LOA_TESTS_UNIT_TLS_PEER_H

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

struct tls_peer {
    SSL_CTX *ctx;
    int fd;
    unsigned port;
    void (*serve)(SSL *ssl); /* one connection after its handshake; NULL = closes */
    pthread_t thread;
};

/* DIR/NAME, owned. */
static inline char *pki_file(const char *dir, const char *name)
{
    return g_build_filename(dir, name, NULL);
}

/* A new folder with certificates; NULL when openssl is missing. Owned. */
static inline char *pki_make(void)
{
    char *dir = g_dir_make_tmp("loa-pki-XXXXXX", NULL);
    char script[] = LOA_SOURCE_DIR "/tests/support/pki.sh";
    char *argv[] = {(char *)"/bin/sh", script, dir, NULL};
    int status = -1;
    if (dir != NULL &&
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL, &status,
                     NULL) &&
        status == 0)
        return dir;
    g_free(dir);
    return NULL;
}

static inline void pki_remove(char *dir)
{
    GDir *entries = g_dir_open(dir, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(entries)) != NULL) {
        g_autofree char *path = pki_file(dir, name);
        g_unlink(path);
    }
    g_dir_close(entries);
    g_rmdir(dir);
    g_free(dir);
}

static inline void *tls_peer_run(void *user)
{
    struct tls_peer *peer = user;
    int fd;
    while ((fd = accept(peer->fd, NULL, NULL)) >= 0) {
        SSL *ssl = SSL_new(peer->ctx);
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1) {
            if (peer->serve != NULL)
                peer->serve(ssl);
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static inline int tls_peer_choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                                     const unsigned char *in, unsigned in_len, void *user)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    (void)ssl, (void)user;
    return SSL_select_next_proto((unsigned char **)out, out_len, h2, sizeof h2, in, in_len) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

/* Serves with DIR/NAME.pem and .key on 127.0.0.1, protocols up to max_version (0 = newest). */
static inline void tls_peer_start(struct tls_peer *peer, const char *dir, const char *name,
                                  int max_version, bool h2)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    g_autofree char *pem = g_strdup_printf("%s/%s.pem", dir, name);
    g_autofree char *key = g_strdup_printf("%s/%s.key", dir, name);
    peer->ctx = SSL_CTX_new(TLS_server_method());
    if (max_version != 0) { /* old versions need the old algorithms */
        SSL_CTX_set_cipher_list(peer->ctx, "ALL:@SECLEVEL=0");
        SSL_CTX_set_min_proto_version(peer->ctx, max_version);
        SSL_CTX_set_max_proto_version(peer->ctx, max_version);
    }
    if (h2)
        SSL_CTX_set_alpn_select_cb(peer->ctx, tls_peer_choose_h2, NULL);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (SSL_CTX_use_certificate_file(peer->ctx, pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(peer->ctx, key, SSL_FILETYPE_PEM) != 1 ||
        bind(peer->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(peer->fd, 16) != 0 ||
        getsockname(peer->fd, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&peer->thread, NULL, tls_peer_run, peer) != 0)
        g_error("no TLS server for the test");
    peer->port = ntohs(address.sin_port);
}

static inline void tls_peer_stop(struct tls_peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->fd);
    SSL_CTX_free(peer->ctx);
}

#endif
