/* A service account of the tests' own. */
#ifndef LOA_TESTS_UNIT_FCM_RIG_H
#define LOA_TESTS_UNIT_FCM_RIG_H

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "tests/unit/channel_rig.h"

static inline char *rig_bio_text(BIO *bio)
{
    char *data;
    gsize len = (gsize)BIO_get_mem_data(bio, &data);
    char *text = g_strndup(data, len);

    BIO_free(bio);
    return text;
}

/* Both owned. */
static inline void rig_rsa_key(char **out_private, char **out_public)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *private_half = BIO_new(BIO_s_mem()), *public_half = BIO_new(BIO_s_mem());

    PEM_write_bio_PKCS8PrivateKey(private_half, key, NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_PUBKEY(public_half, key);
    EVP_PKEY_free(key);
    *out_private = rig_bio_text(private_half);
    *out_public = rig_bio_text(public_half);
}

static inline char *rig_account_text(const char *private_pem, const char *token_uri)
{
    g_autoptr(json_t) account =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", "service_account", "project_id",
                  "loa-test", "private_key_id", "kid-1", "private_key", private_pem, "client_email",
                  "loa@loa-test.iam.gserviceaccount.com", "token_uri", token_uri);
    char *dumped = json_dumps(account, 0), *text = g_strdup(dumped);

    free(dumped);
    return text;
}

#endif
