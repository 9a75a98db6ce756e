/* Only valid tokens are remembered: an invalid one is verified each time, which costs 0.1 ms and
 * keeps the table free of rubbish. */
#include "tests/sim/credentials.h"

#include "base/crypto.h"
#include "base/error.h"
#include "base/json.h"
#include "tests/sim/sim.h"

#define CLAIMS_MAX 4096

struct credentials {
    GHashTable *bearers; /* struct credential, keyed by itself */
    GHashTable *apns;
    char *fcm_public, *apns_public, *apns_key; /* PEM */
};

static guint credential_hash(gconstpointer key)
{
    const struct credential *credential = key;
    guint hash = 5381;

    for (size_t i = 0; i < credential->len; i++)
        hash = hash * 33 + (unsigned char)credential->bytes[i];
    return hash;
}

static gboolean credential_equal(gconstpointer a, gconstpointer b)
{
    const struct credential *x = a, *y = b;

    return x->len == y->len && memcmp(x->bytes, y->bytes, x->len) == 0;
}

static void credential_free(void *user)
{
    struct credential *credential = user;

    g_free(credential->bytes);
    g_free(credential);
}

static GHashTable *table_new(void)
{
    return g_hash_table_new_full(credential_hash, credential_equal, NULL, credential_free);
}

static bool read_pem(const char *dir, const char *name, char **out, GError **error)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autoptr(GError) why = NULL;

    if (g_file_get_contents(path, out, NULL, &why))
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "%s (make it with: loa-sim pki %s)",
                why->message, dir);
    return false;
}

struct credentials *credentials_new(const char *dir, GError **error)
{
    loa_auto(credentials) credentials = g_new0(struct credentials, 1);

    credentials->bearers = table_new();
    credentials->apns = table_new();
    if (!read_pem(dir, "fcm-public.pem", &credentials->fcm_public, error) ||
        !read_pem(dir, "apns-public.pem", &credentials->apns_public, error) ||
        !read_pem(dir, "apns-key.p8", &credentials->apns_key, error))
        return NULL;
    return g_steal_pointer(&credentials);
}

void credentials_free(struct credentials *credentials)
{
    g_hash_table_destroy(credentials->bearers);
    g_hash_table_destroy(credentials->apns);
    g_free(credentials->fcm_public);
    g_free(credentials->apns_public);
    g_free(credentials->apns_key);
    g_free(credentials);
}

static struct credential *find(GHashTable *table, struct text token)
{
    const struct credential key = {.bytes = (char *)token.at, .len = token.len};

    return g_hash_table_lookup(table, &key);
}

/* Takes bytes. */
static struct credential *add(GHashTable *table, char *bytes, int64_t not_after_s)
{
    struct credential *credential = g_new(struct credential, 1);

    *credential = (struct credential){bytes, strlen(bytes), not_after_s};
    g_hash_table_add(table, credential);
    return credential;
}

struct credential *credentials_issue_bearer(struct credentials *credentials, int64_t now_s)
{
    uint8_t random[24];
    g_autofree char *text = NULL;

    if (g_hash_table_size(credentials->bearers) >= CREDENTIALS_MAX)
        return NULL;
    crypto_random(random, sizeof(random));
    text = crypto_base64url(random, sizeof(random));
    return add(credentials->bearers, g_strconcat("ya29.loa-sim-", text, NULL),
               now_s + BEARER_LIFETIME_S);
}

struct credential *credentials_find_bearer(struct credentials *credentials, struct text token)
{
    return find(credentials->bearers, token);
}

static json_t *verified_claims(const char *alg, const char *pem, const char *token, char **out_kid,
                               GError **error)
{
    g_autofree char *claims = jwt_verify(alg, pem, token, out_kid, error);

    return claims != NULL ? json_parse_object(claims, strlen(claims), CLAIMS_MAX, error) : NULL;
}

struct credential *credentials_find_apns(struct credentials *credentials, struct text token,
                                         int64_t now_s)
{
    struct credential *known = find(credentials->apns, token);
    g_autofree char *text = NULL, *kid = NULL;
    g_autoptr(json_t) claims = NULL;
    const char *iss;
    const json_t *iat;

    if (known != NULL || token.len == 0 || token.len > CREDENTIAL_BYTES_MAX ||
        memchr(token.at, '\0', token.len) != NULL)
        return known;
    text = g_strndup(token.at, token.len);
    claims = verified_claims("ES256", credentials->apns_public, text, &kid, NULL);
    iss = json_string_value(json_object_get(claims, "iss"));
    iat = json_object_get(claims, "iat");
    if (g_strcmp0(kid, SIM_APNS_KEY_ID) != 0 || g_strcmp0(iss, SIM_APNS_TEAM_ID) != 0 ||
        !json_is_integer(iat) || json_integer_value(iat) > now_s + SIM_CLOCK_SKEW_S ||
        g_hash_table_size(credentials->apns) >= CREDENTIALS_MAX)
        return NULL;
    return add(credentials->apns, g_steal_pointer(&text),
               json_integer_value(iat) + APNS_TOKEN_LIFETIME_S);
}

char *credentials_sign_apns(const struct credentials *credentials, int64_t now_s, GError **error)
{
    g_autofree char *claims = g_strdup_printf("{\"iss\":\"%s\",\"iat\":%" G_GINT64_FORMAT "}",
                                              SIM_APNS_TEAM_ID, (gint64)now_s);

    return jwt_sign("ES256", SIM_APNS_KEY_ID, credentials->apns_key, claims, error);
}

static bool deny(GError **error, const char *why)
{
    g_set_error_literal(error, LOA_ERROR, LOA_ERROR_DENIED, why);
    return false;
}

/* RFC 7523 §3; lifetime as in "Using OAuth 2.0 for server to server applications". */
bool credentials_check_assertion(const struct credentials *credentials, const char *assertion,
                                 const char *token_uri, int64_t now_s, GError **error)
{
    static const char *const scopes[] = {"https://www.googleapis.com/auth/firebase.messaging",
                                         "https://www.googleapis.com/auth/cloud-platform", NULL};
    g_autoptr(json_t) claims =
        verified_claims("RS256", credentials->fcm_public, assertion, NULL, NULL);
    const json_t *iat = json_object_get(claims, "iat"), *exp = json_object_get(claims, "exp");
    const char *scope = json_string_value(json_object_get(claims, "scope"));
    g_auto(GStrv) words = scope != NULL ? g_strsplit(scope, " ", 10) : NULL;
    bool scope_known = false;

    if (claims == NULL)
        return deny(error, "Invalid JWT Signature.");
    if (g_strcmp0(json_string_value(json_object_get(claims, "iss")), SIM_CLIENT_EMAIL) != 0)
        return deny(error, "Invalid grant: account not found");
    if (g_strcmp0(json_string_value(json_object_get(claims, "aud")), token_uri) != 0)
        return deny(error, "Invalid JWT: Failed audience check.");
    if (!json_is_integer(iat) || !json_is_integer(exp) ||
        json_integer_value(iat) > now_s + SIM_CLOCK_SKEW_S ||
        json_integer_value(exp) < now_s - SIM_CLOCK_SKEW_S ||
        json_integer_value(exp) <= json_integer_value(iat) ||
        json_integer_value(exp) - json_integer_value(iat) > BEARER_LIFETIME_S)
        return deny(error, "Invalid JWT: Token must be a short-lived token (60 minutes) and in a "
                           "reasonable timeframe. Check your iat and exp values in the JWT claim.");
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        scope_known = scope_known || g_strv_contains(scopes, words[i]);
    return scope_known || deny(error, "Invalid OAuth scope or ID token audience provided.");
}
