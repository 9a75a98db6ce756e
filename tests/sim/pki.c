/* loa-sim pki: everything that has to be signed or trusted in a rehearsal. ca.pem is written last
 * and marks a complete directory; a second run leaves it as it is. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "base/crypto.h"
#include "base/error.h"
#include "tests/sim/commands.h"

#define VALID_S      (INT64_C(10) * 366 * 86400)
#define BACKDATED_S  (2 * 86400) /* rehearsals with a wrong clock must still trust it */
#define SERVER_NAMES "DNS:localhost,IP:127.0.0.1,IP:::1"
#define SERVER_USE   "serverAuth"
#define CLIENT_USE   "clientAuth"
#define RSA_BITS     2048

struct authority {
    EVP_PKEY *key;
    X509 *cert;
};

static bool fail_openssl(GError **error, const char *what)
{
    g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "cannot make %s: %s", what,
                ERR_reason_error_string(ERR_peek_last_error()));
    ERR_clear_error();
    return false;
}

/* ---- files ---- */

static bool write_pem(const char *dir, const char *name, BIO *bio, int mode, GError **error)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    const char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);

    return g_file_set_contents_full(path, text, len, G_FILE_SET_CONTENTS_CONSISTENT, mode, error);
}

enum pem_kind {
    PEM_PRIVATE, /* PKCS#8, 0600 */
    PEM_PUBLIC,  /* SubjectPublicKeyInfo, 0644 */
};

static bool write_key(const char *dir, const char *name, EVP_PKEY *key, enum pem_kind kind,
                      GError **error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool made = kind == PEM_PRIVATE
                    ? PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1
                    : PEM_write_bio_PUBKEY(bio, key) == 1;
    bool written = made ? write_pem(dir, name, bio, kind == PEM_PRIVATE ? 0600 : 0644, error)
                        : fail_openssl(error, name);

    BIO_free(bio);
    return written;
}

static bool write_cert(const char *dir, const char *name, X509 *cert, GError **error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool written = PEM_write_bio_X509(bio, cert) == 1 ? write_pem(dir, name, bio, 0644, error)
                                                      : fail_openssl(error, name);

    BIO_free(bio);
    return written;
}

/* ---- certificates ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    bool added;

    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    added = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    BIGNUM *number;
    bool set;

    crypto_random(bytes, sizeof(bytes));
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return set;
}

static bool fill_cert(X509 *cert, EVP_PKEY *key, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(cert);

    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATED_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), VALID_S) != NULL &&
           X509_set_pubkey(cert, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                      (const unsigned char *)"Loa rehearsal", -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1;
}

static bool make_authority(struct authority *authority, const char *common_name, GError **error)
{
    X509 *cert = authority->cert = X509_new();

    authority->key = EVP_EC_gen("P-256");
    if (authority->key == NULL || !fill_cert(cert, authority->key, common_name) ||
        X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1 ||
        !add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") ||
        !add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(cert, cert, NID_subject_key_identifier, "hash") ||
        X509_sign(cert, authority->key, EVP_sha256()) == 0)
        return fail_openssl(error, common_name);
    return true;
}

static void authority_clear(struct authority *authority)
{
    EVP_PKEY_free(authority->key);
    X509_free(authority->cert);
}

/* Writes NAME.key and NAME.pem. */
static bool make_leaf(const struct authority *authority, const char *dir, const char *file,
                      const char *common_name, const char *use, GError **error)
{
    g_autofree char *key_name = g_strconcat(file, ".key", NULL);
    g_autofree char *pem_name = g_strconcat(file, ".pem", NULL);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    bool made = key != NULL && fill_cert(cert, key, common_name) &&
                X509_set_issuer_name(cert, X509_get_subject_name(authority->cert)) == 1 &&
                add_extension(cert, authority->cert, NID_basic_constraints, "critical,CA:FALSE") &&
                add_extension(cert, authority->cert, NID_key_usage, "critical,digitalSignature") &&
                add_extension(cert, authority->cert, NID_ext_key_usage, use) &&
                add_extension(cert, authority->cert, NID_subject_key_identifier, "hash") &&
                add_extension(cert, authority->cert, NID_authority_key_identifier, "keyid") &&
                (strcmp(use, SERVER_USE) != 0 ||
                 add_extension(cert, authority->cert, NID_subject_alt_name, SERVER_NAMES)) &&
                X509_sign(cert, authority->key, EVP_sha256()) != 0;

    made = made ? write_key(dir, key_name, key, PEM_PRIVATE, error) &&
                      write_cert(dir, pem_name, cert, error)
                : fail_openssl(error, file);
    EVP_PKEY_free(key);
    X509_free(cert);
    return made;
}

static bool make_pair(const char *dir, EVP_PKEY *key, const char *private_name,
                      const char *public_name, GError **error)
{
    bool made = key != NULL ? write_key(dir, private_name, key, PEM_PRIVATE, error) &&
                                  write_key(dir, public_name, key, PEM_PUBLIC, error)
                            : fail_openssl(error, private_name);

    EVP_PKEY_free(key);
    return made;
}

/* ---- the directory ---- */

static bool make_all(const char *dir, GError **error)
{
    struct authority trusted = {0}, stranger = {0};
    bool made = make_authority(&trusted, "Loa rehearsal CA", error) &&
                make_authority(&stranger, "A CA that nobody trusts", error) &&
                make_leaf(&trusted, dir, "server", "localhost", SERVER_USE, error) &&
                make_leaf(&stranger, dir, "untrusted", "localhost", SERVER_USE, error) &&
                make_leaf(&trusted, dir, "broker", "localhost", SERVER_USE, error) &&
                make_leaf(&trusted, dir, "engine", "loa-engine", CLIENT_USE, error) &&
                make_pair(dir, EVP_RSA_gen(RSA_BITS), "fcm-key.pem", "fcm-public.pem", error) &&
                make_pair(dir, EVP_EC_gen("P-256"), "apns-key.p8", "apns-public.pem", error) &&
                write_key(dir, "ca.key", trusted.key, PEM_PRIVATE, error) &&
                write_cert(dir, "ca.pem", trusted.cert, error);

    authority_clear(&trusted);
    authority_clear(&stranger);
    return made;
}

/* The broker runs as another user and must read its own key. */
static bool hand_to_broker(const char *dir, const char *owner, GError **error)
{
    static const char *const names[] = {"broker.pem", "broker.key"};
    const struct passwd *user = getpwnam(owner);

    if (user == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "--owner: no user '%s'", owner);
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);
        if (chown(path, user->pw_uid, user->pw_gid) != 0) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED, "cannot give %s to %s: %s", path, owner,
                        g_strerror(errno));
            return false;
        }
    }
    return true;
}

static bool is_complete(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "ca.pem", NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

int pki_main(int argc, char **argv)
{
    g_autofree char *owner = NULL;
    const GOptionEntry entries[] = {{"owner", 0, 0, G_OPTION_ARG_STRING, &owner,
                                     "give the broker's files to this user", "USER"},
                                    G_OPTION_ENTRY_NULL};
    g_autoptr(GError) error = NULL;
    int status = sim_parse_options("DIR - make certificates and keys; a complete DIR is kept",
                                   entries, &argc, &argv);

    if (status >= 0)
        return status;
    if (argc != 2) {
        fprintf(stderr, "loa-sim pki: expected one directory\n");
        return EX_USAGE;
    }
    if (mkdir(argv[1], 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "loa-sim pki: cannot make %s: %s\n", argv[1], g_strerror(errno));
        return EX_CANTCREAT;
    }
    if ((!is_complete(argv[1]) && !make_all(argv[1], &error)) ||
        (owner != NULL && !hand_to_broker(argv[1], owner, &error)))
        return sim_fail("pki", error);
    return EX_OK;
}
