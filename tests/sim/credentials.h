/* Proofs of identity: the bearer tokens that the OAuth endpoint has issued and the provider tokens
 * that Loa has signed. A signature is verified once; after that the header's bytes are compared. */
#ifndef LOA_SIM_CREDENTIALS_H
#define LOA_SIM_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "tests/sim/text.h"

#define CREDENTIALS_MAX       100000 /* of a kind, remembered until the process ends */
#define CREDENTIAL_BYTES_MAX  1800
#define BEARER_LIFETIME_S     3600
#define APNS_TOKEN_LIFETIME_S 3600

/* A token whose signature is right. Lives as long as the table. */
struct credential {
    char *bytes; /* the token without its scheme */
    size_t len;
    int64_t not_after_s; /* Unix seconds */
};

struct credentials;
/* Reads DIR/fcm-public.pem, apns-public.pem and apns-key.p8. */
struct credentials *credentials_new(const char *dir, GError **error);
void credentials_free(struct credentials *credentials);
LOA_AUTO_DEFINE(credentials, credentials_free)

/* A new bearer token, valid from now. Borrowed; NULL when CREDENTIALS_MAX is reached. */
struct credential *credentials_issue_bearer(struct credentials *credentials, int64_t now_s);
/* The issued bearer with these bytes; NULL = unknown. */
struct credential *credentials_find_bearer(struct credentials *credentials, struct text token);
/* The provider token with these bytes when alg, kid, iss and signature are right and iat is not in
 * the future; it may have expired. NULL = invalid. */
struct credential *credentials_find_apns(struct credentials *credentials, struct text token,
                                         int64_t now_s);
/* Signs a provider token as Loa would: for rehearsals with curl or h2load. Owned. */
char *credentials_sign_apns(const struct credentials *credentials, int64_t now_s, GError **error);
/* Judges an assertion of RFC 7523. False with DENIED and the provider's words. */
bool credentials_check_assertion(const struct credentials *credentials, const char *assertion,
                                 const char *token_uri, int64_t now_s, GError **error);

#endif
