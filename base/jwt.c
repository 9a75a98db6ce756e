/* JWTs through libcjose. OpenSSL reads the PEM; its parts are handed to libcjose as a JWK.
 * Every token is checked for form before libcjose sees it: three segments of plain base64url, a
 * header that names exactly the wanted algorithm and no critical extension (RFC 8725 §3.1, RFC 7515
 * §4.1.11). Stale entries in OpenSSL's error queue would be taken for TLS errors by whoever uses
 * the thread next, so both entries leave it empty. */
#include <cjose/header.h>
#include <cjose/jwk.h>
#include <cjose/jws.h>
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/crypto.h"
#include "base/error.h"

#define JWT_MAX             16384 /* bytes of one token; identity servers' are smaller */
#define PEM_MAX             16384
#define BN_MAX              1024 /* bytes of an 8192-bit number */
#define RSA_BITS_MIN        2048 /* RFC 7518 §3.3 */
#define RSA_BITS_MAX        8192
#define EC_P256_BYTES       32
#define ES256_SIGNATURE_LEN 64

enum jwt_alg {
    JWT_ALG_RS256, /* RSASSA-PKCS1-v1_5 with SHA-256 */
    JWT_ALG_ES256, /* ECDSA on P-256 with SHA-256 */
    JWT_ALG_COUNT  /* no such algorithm */
};
static const char *const alg_names[JWT_ALG_COUNT] = {
    [JWT_ALG_RS256] = "RS256",
    [JWT_ALG_ES256] = "ES256",
};

static enum jwt_alg alg_from_name(const char *name)
{
    enum jwt_alg alg = JWT_ALG_RS256;
    while (alg < JWT_ALG_COUNT && strcmp(alg_names[alg], name) != 0)
        alg++;
    return alg;
}

/* One number of a key; wiped by number_clear. */
struct number {
    uint8_t bytes[BN_MAX];
    size_t len;
};

/* width 0 = as long as the number is. */
static bool number_read(const EVP_PKEY *pkey, const char *param, size_t width, struct number *out)
{
    BIGNUM *bn = NULL;
    if (EVP_PKEY_get_bn_param(pkey, param, &bn) != 1)
        return false;
    size_t len = width != 0 ? width : (size_t)BN_num_bytes(bn);
    bool ok = len <= sizeof out->bytes && BN_bn2binpad(bn, out->bytes, (int)len) == (int)len;
    BN_clear_free(bn);
    if (ok)
        out->len = len;
    return ok;
}

static cjose_jwk_t *rsa_jwk(const EVP_PKEY *pkey, bool private_half)
{
    static const char *const params[] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    };
    int bits = EVP_PKEY_get_bits(pkey);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return NULL;
    struct number n[G_N_ELEMENTS(params)];
    size_t wanted = private_half ? G_N_ELEMENTS(params) : 2;
    cjose_jwk_t *jwk = NULL;
    size_t i = 0;
    memset(n, 0, sizeof n);
    while (i < wanted && number_read(pkey, params[i], 0, &n[i]))
        i++;
    if (i == wanted) {
        cjose_jwk_rsa_keyspec spec = {.n = n[0].bytes, .nlen = n[0].len, .e = n[1].bytes};
        spec.elen = n[1].len;
        if (private_half) {
            spec.d = n[2].bytes, spec.dlen = n[2].len;
            spec.p = n[3].bytes, spec.plen = n[3].len;
            spec.q = n[4].bytes, spec.qlen = n[4].len;
            spec.dp = n[5].bytes, spec.dplen = n[5].len;
            spec.dq = n[6].bytes, spec.dqlen = n[6].len;
            spec.qi = n[7].bytes, spec.qilen = n[7].len;
        }
        jwk = cjose_jwk_create_RSA_spec(&spec, NULL);
    }
    explicit_bzero(n, sizeof n);
    return jwk;
}

static cjose_jwk_t *ec_jwk(const EVP_PKEY *pkey, bool private_half)
{
    char group[32] = "";
    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1 ||
        strcmp(group, SN_X9_62_prime256v1) != 0)
        return NULL;
    struct number x = {.len = 0}, y = {.len = 0}, d = {.len = 0};
    cjose_jwk_t *jwk = NULL;
    if (number_read(pkey, OSSL_PKEY_PARAM_EC_PUB_X, EC_P256_BYTES, &x) &&
        number_read(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, EC_P256_BYTES, &y) &&
        (!private_half || number_read(pkey, OSSL_PKEY_PARAM_PRIV_KEY, EC_P256_BYTES, &d))) {
        cjose_jwk_ec_keyspec spec = {.crv = CJOSE_JWK_EC_P_256};
        spec.x = x.bytes, spec.xlen = x.len;
        spec.y = y.bytes, spec.ylen = y.len;
        if (private_half)
            spec.d = d.bytes, spec.dlen = d.len;
        jwk = cjose_jwk_create_EC_spec(&spec, NULL);
    }
    explicit_bzero(&d, sizeof d);
    return jwk;
}

/* A key file is read by a service: never ask a terminal for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *user)
{
    (void)buf, (void)size, (void)writing, (void)user;
    return -1;
}

/* NULL when the PEM does not hold a key that alg can use. Released with cjose_jwk_release. */
static cjose_jwk_t *jwk_from_pem(enum jwt_alg alg, const char *pem, bool private_half)
{
    size_t len = strnlen(pem, PEM_MAX + 1);
    BIO *bio = len <= PEM_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    if (bio == NULL)
        return NULL;
    EVP_PKEY *pkey = private_half ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
                                  : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    cjose_jwk_t *jwk = NULL;
    if (pkey != NULL && alg == JWT_ALG_RS256 && EVP_PKEY_is_a(pkey, "RSA"))
        jwk = rsa_jwk(pkey, private_half);
    else if (pkey != NULL && alg == JWT_ALG_ES256 && EVP_PKEY_is_a(pkey, "EC"))
        jwk = ec_jwk(pkey, private_half);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    return jwk;
}

static cjose_header_t *header_new(enum jwt_alg alg, const char *kid, cjose_err *why)
{
    cjose_header_t *header = cjose_header_new(why);
    if (header != NULL && cjose_header_set(header, CJOSE_HDR_ALG, alg_names[alg], why) &&
        cjose_header_set(header, "typ", "JWT", why) &&
        (kid == NULL || cjose_header_set(header, CJOSE_HDR_KID, kid, why)))
        return header;
    cjose_header_release(header);
    return NULL;
}

char *jwt_sign(const char *alg_name, const char *kid, const char *pem, const char *claims_json,
               GError **error)
{
    enum jwt_alg alg = alg_from_name(alg_name);
    cjose_jwk_t *jwk = alg != JWT_ALG_COUNT ? jwk_from_pem(alg, pem, true) : NULL;
    if (jwk == NULL) {
        ERR_clear_error();
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "not a private key (PKCS#8 PEM without passphrase) for %s", alg_name);
        return NULL;
    }
    cjose_err why = {.message = NULL};
    const char *compact = NULL; /* borrowed from jws */
    char *token = NULL;
    cjose_header_t *header = header_new(alg, kid, &why);
    cjose_jws_t *jws = header != NULL ? cjose_jws_sign(jwk, header, (const uint8_t *)claims_json,
                                                       strlen(claims_json), &why)
                                      : NULL;
    if (jws != NULL && cjose_jws_export(jws, &compact, &why))
        token = g_strdup(compact);
    else
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "JWT not signed: %s",
                    why.message != NULL ? why.message : "unknown");
    cjose_jws_release(jws);
    cjose_header_release(header);
    cjose_jwk_release(jwk);
    ERR_clear_error();
    return token;
}

/* Three non-empty segments of base64url without padding. libcjose ignores what stands behind an
 * ECDSA signature, so its length is checked here (RFC 7518 §3.4). */
static bool well_formed(enum jwt_alg alg, const char *token)
{
    size_t len = strnlen(token, JWT_MAX + 1);
    if (len > JWT_MAX)
        return false;
    g_auto(GStrv) segments = g_strsplit(token, ".", 4);
    if (g_strv_length(segments) != 3)
        return false;
    g_autofree uint8_t *scratch = g_malloc(len);
    size_t n = 0; /* at last of the signature */
    for (size_t i = 0; i < 3; i++)
        if (!crypto_base64url_decode(segments[i], scratch, len, &n) || n == 0)
            return false;
    return alg != JWT_ALG_ES256 || n == ES256_SIGNATURE_LEN;
}

/* The claims as a string, NULL when the signature does not hold or they are no text. */
static char *verified_claims(cjose_jws_t *jws, const cjose_jwk_t *jwk)
{
    uint8_t *plain = NULL; /* borrowed from jws */
    size_t len = 0;
    if (!cjose_jws_verify(jws, jwk, NULL) || !cjose_jws_get_plaintext(jws, &plain, &len, NULL) ||
        !g_utf8_validate((const char *)plain, (gssize)len, NULL)) /* refuses NUL too */
        return NULL;
    return g_strndup((const char *)plain, len);
}

static const char *header_refusal(cjose_header_t *header, enum jwt_alg alg)
{
    const char *named = cjose_header_get(header, CJOSE_HDR_ALG, NULL);
    if (named == NULL || strcmp(named, alg_names[alg]) != 0)
        return "another algorithm";
    /* Even "crit":null, which cjose_header_get_raw would not show. */
    return json_object_get(header, "crit") != NULL ? "a critical extension" : NULL;
}

char *jwt_verify(const char *alg_name, const char *public_pem, const char *token, char **out_kid,
                 GError **error)
{
    enum jwt_alg alg = alg_from_name(alg_name);
    cjose_jwk_t *jwk = alg != JWT_ALG_COUNT ? jwk_from_pem(alg, public_pem, false) : NULL;
    if (jwk == NULL) {
        ERR_clear_error();
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "not a public key (PEM) for %s", alg_name);
        return NULL;
    }
    cjose_jws_t *jws =
        well_formed(alg, token) ? cjose_jws_import(token, strlen(token), NULL) : NULL;
    cjose_header_t *header = jws != NULL ? cjose_jws_get_protected(jws) : NULL;
    const char *refusal = header == NULL ? "its form" : header_refusal(header, alg);
    char *claims = refusal == NULL ? verified_claims(jws, jwk) : NULL;
    if (claims == NULL)
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED, "JWT refused for %s",
                    refusal != NULL ? refusal : "its signature");
    else if (out_kid != NULL)
        *out_kid = g_strdup(cjose_header_get(header, CJOSE_HDR_KID, NULL));
    cjose_jws_release(jws);
    cjose_jwk_release(jwk);
    ERR_clear_error();
    return claims;
}
