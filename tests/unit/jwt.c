/* lib: loa_base */
/* JWTs: what we sign is checked with OpenSSL directly, what others sign is made with it. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/error.h"

#define CLAIMS "{\"iss\":\"loa\",\"iat\":1795392000}"

enum { RSA_2048, EC_256, RSA_SMALL, EC_384, RSA_OTHER, KEYS };
static struct {
    EVP_PKEY *pkey;
    char *private_pem, *public_pem;
} keys[KEYS];

static char *bio_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = g_strndup(data, (gsize)len);
    BIO_free(bio);
    return text;
}

static int make_keys(void **state)
{
    (void)state;
    crypto_init();
    keys[RSA_2048].pkey = EVP_RSA_gen(2048);
    keys[RSA_OTHER].pkey = EVP_RSA_gen(2048);
    keys[RSA_SMALL].pkey = EVP_RSA_gen(1024);
    keys[EC_256].pkey = EVP_EC_gen("P-256");
    keys[EC_384].pkey = EVP_EC_gen("P-384");
    for (size_t i = 0; i < KEYS; i++) {
        BIO *private_bio = BIO_new(BIO_s_mem()), *public_bio = BIO_new(BIO_s_mem());
        PEM_write_bio_PKCS8PrivateKey(private_bio, keys[i].pkey, NULL, NULL, 0, NULL, NULL);
        PEM_write_bio_PUBKEY(public_bio, keys[i].pkey);
        keys[i].private_pem = bio_text(private_bio);
        keys[i].public_pem = bio_text(public_bio);
    }
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++) {
        EVP_PKEY_free(keys[i].pkey);
        g_free(keys[i].private_pem);
        g_free(keys[i].public_pem);
    }
    return 0;
}

/* A token of any header and claims, signed RS256 by OpenSSL. */
static char *forge(const char *header, const char *claims, size_t claims_len, int key)
{
    uint8_t signature[512];
    size_t len = sizeof signature;
    g_autofree char *h = crypto_base64url(header, strlen(header));
    g_autofree char *c = crypto_base64url(claims, claims_len);
    g_autofree char *input = g_strdup_printf("%s.%s", h, c);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, keys[key].pkey);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, (uint8_t *)input, strlen(input)), 1);
    EVP_MD_CTX_free(ctx);
    g_autofree char *s = crypto_base64url(signature, len);
    return g_strdup_printf("%s.%s", input, s);
}

/* What OpenSSL says of an RS256 token. */
static bool openssl_verifies(const char *token, int key)
{
    const char *dot = strrchr(token, '.');
    uint8_t signature[512];
    size_t len;
    assert_true(crypto_base64url_decode(dot + 1, signature, sizeof signature, &len));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, keys[key].pkey);
    bool ok =
        EVP_DigestVerify(ctx, signature, len, (const uint8_t *)token, (size_t)(dot - token)) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static void test_round_trip(void **state)
{
    static const struct {
        const char *alg;
        int key;
        const char *kid;
        const char *header[3];
    } cases[] = {
        {"RS256", RSA_2048, NULL, {"\"alg\":\"RS256\"", "\"typ\":\"JWT\""}},
        {"ES256",
         EC_256,
         "LOASIMKEY1",
         {"\"alg\":\"ES256\"", "\"typ\":\"JWT\"", "\"kid\":\"LOASIMKEY1\""}},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *kid = NULL;
        g_autofree char *token =
            jwt_sign(cases[i].alg, cases[i].kid, keys[cases[i].key].private_pem, CLAIMS, &error);
        if (token == NULL)
            fail_msg("%s", error->message);
        uint8_t header[256] = {0};
        size_t len;
        g_auto(GStrv) parts = g_strsplit(token, ".", -1);
        assert_true(crypto_base64url_decode(parts[0], header, sizeof header - 1, &len));
        for (size_t n = 0; n < 3 && cases[i].header[n] != NULL; n++)
            assert_non_null(strstr((char *)header, cases[i].header[n]));
        if (cases[i].key == RSA_2048)
            assert_true(openssl_verifies(token, RSA_2048));
        g_autofree char *claims =
            jwt_verify(cases[i].alg, keys[cases[i].key].public_pem, token, &kid, &error);
        assert_non_null(claims);
        assert_string_equal(claims, CLAIMS);
        assert_true(g_strcmp0(kid, cases[i].kid) == 0);
    }
}

static bool refused(const char *alg, int key, const char *token)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *claims = jwt_verify(alg, keys[key].public_pem, token, NULL, &error);
    return claims == NULL && g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED);
}

/* Every truncation, and every other letter at every place. */
static void test_damaged(void **state)
{
    static const struct {
        const char *alg;
        int key;
    } cases[] = {{"RS256", RSA_2048}, {"ES256", EC_256}};
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *token =
            jwt_sign(cases[i].alg, "k", keys[cases[i].key].private_pem, CLAIMS, NULL);
        size_t len = strlen(token);
        for (size_t at = 0; at < len; at++) {
            g_autofree char *cut = g_strndup(token, at);
            g_autofree char *changed = g_strdup(token);
            changed[at] = changed[at] == 'A' ? 'B' : 'A';
            if (!refused(cases[i].alg, cases[i].key, cut) ||
                !refused(cases[i].alg, cases[i].key, changed))
                fail_msg("%s at %zu of %zu", cases[i].alg, at, len);
        }
        static const char *const tails[] = {"=", " ", "\n", ".", ".A", "A"};
        for (size_t n = 0; n < G_N_ELEMENTS(tails); n++) {
            g_autofree char *longer = g_strconcat(token, tails[n], NULL);
            if (!refused(cases[i].alg, cases[i].key, longer))
                fail_msg("%s with '%s' behind", cases[i].alg, tails[n]);
        }
    }
}

static void test_other_headers(void **state)
{
    static const struct {
        const char *header;
        bool ok;
    } cases[] = {
        {"{\"alg\":\"RS256\"}", true},
        {"{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"x\":{\"y\":[1]}}", true},
        {"{\"alg\":\"none\"}", false},
        {"{\"alg\":\"None\"}", false},
        {"{\"alg\":\"rs256\"}", false},
        {"{\"alg\":\"RS384\"}", false},
        {"{\"alg\":\"PS256\"}", false},
        {"{\"alg\":\"HS256\"}", false},
        {"{\"alg\":\"ES256\"}", false},
        {"{\"alg\":256}", false},
        {"{\"alg\":null}", false},
        {"{}", false},
        {"[]", false},
        {"\"RS256\"", false},
        {"{\"alg\":\"RS256\"", false},
        {"{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", false},
        {"{\"alg\":\"RS256\",\"crit\":[]}", false},
        {"{\"alg\":\"RS256\",\"crit\":null}", false},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *token = forge(cases[i].header, CLAIMS, strlen(CLAIMS), RSA_2048);
        if (refused("RS256", RSA_2048, token) == cases[i].ok)
            fail_msg("%s", cases[i].header);
    }
    g_autofree char *good = forge("{\"alg\":\"RS256\"}", CLAIMS, strlen(CLAIMS), RSA_2048);
    assert_true(refused("RS256", RSA_OTHER, good));
    assert_true(refused("ES256", EC_256, good));
    /* No signature at all. */
    g_autofree char *none = crypto_base64url("{\"alg\":\"none\"}", 14);
    g_autofree char *claims = crypto_base64url(CLAIMS, strlen(CLAIMS));
    g_autofree char *unsigned_token = g_strdup_printf("%s.%s.", none, claims);
    assert_true(refused("RS256", RSA_2048, unsigned_token));
}

/* The public key as an HMAC secret: the classic confusion of algorithms. */
static void test_hmac_with_public_key(void **state)
{
    const char *pem = keys[RSA_2048].public_pem;
    uint8_t mac[SHA256_LEN];
    g_autofree char *header = crypto_base64url("{\"alg\":\"HS256\"}", 15);
    g_autofree char *claims = crypto_base64url(CLAIMS, strlen(CLAIMS));
    g_autofree char *input = g_strdup_printf("%s.%s", header, claims);
    (void)state;
    crypto_hmac_sha256(pem, strlen(pem), input, strlen(input), mac);
    g_autofree char *signature = crypto_base64url(mac, sizeof mac);
    g_autofree char *token = g_strdup_printf("%s.%s", input, signature);
    assert_true(refused("RS256", RSA_2048, token));
}

static void test_claims_and_size(void **state)
{
    static const char header[] = "{\"alg\":\"RS256\"}";
    g_autofree char *fits = g_strnfill(11500, 'x'), *large = g_strnfill(12200, 'x');
    g_autofree char *fitting = forge(header, fits, strlen(fits), RSA_2048);
    g_autofree char *too_large = forge(header, large, strlen(large), RSA_2048);
    g_autofree char *nul = forge(header, "{}\0x", 4, RSA_2048);
    g_autofree char *no_text = forge(header, "\xff\xfe", 2, RSA_2048);
    (void)state;
    assert_in_range(strlen(fitting), 15000, 16384);
    assert_in_range(strlen(too_large), 16385, 17000);
    assert_false(refused("RS256", RSA_2048, fitting));
    assert_true(refused("RS256", RSA_2048, too_large));
    assert_true(refused("RS256", RSA_2048, nul));
    assert_true(refused("RS256", RSA_2048, no_text));
}

static void test_wrong_keys(void **state)
{
    const struct {
        const char *alg, *pem;
    } cases[] = {
        {"RS256", keys[EC_256].private_pem},
        {"RS256", keys[RSA_SMALL].private_pem},
        {"RS256", keys[RSA_2048].public_pem},
        {"RS256", ""},
        {"RS256", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
        {"ES256", keys[RSA_2048].private_pem},
        {"ES256", keys[EC_384].private_pem},
        {"ES256", keys[EC_256].public_pem},
        {"HS256", keys[RSA_2048].private_pem},
        {"none", keys[RSA_2048].private_pem},
        {"", keys[RSA_2048].private_pem},
    };
    g_autofree char *token = forge("{\"alg\":\"RS256\"}", CLAIMS, strlen(CLAIMS), RSA_SMALL);
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *made = jwt_sign(cases[i].alg, NULL, cases[i].pem, CLAIMS, &error);
        if (made != NULL || !g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID))
            fail_msg("case %zu", i);
    }
    g_autoptr(GError) error = NULL;
    assert_null(jwt_verify("RS256", keys[RSA_SMALL].public_pem, token, NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_other_headers),   cmocka_unit_test(test_hmac_with_public_key),
        cmocka_unit_test(test_claims_and_size), cmocka_unit_test(test_wrong_keys),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
