/* FCM's access token: minted before it is needed, renewed before it expires, kept through failures
 * for as long as it is good. One request to the OAuth server at a time. */
#ifndef LOA_FCM_CREDENTIALS_H
#define LOA_FCM_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/clock.h"
#include "fcm/account.h"

struct fcm_credentials;

struct fcm_credentials_events {
    /* A token came where none was. */
    void (*on_valid)(void *user);
    /* The OAuth server refused the account, or its certificate is not trusted, and no token is
     * left; reason is borrowed. Tried again every minute. */
    void (*on_refused)(const char *reason, void *user);
    void *user;
};

/* account is taken; ca_file: roots for the OAuth server, "" for the system's. Owned. */
struct fcm_credentials *fcm_credentials_new(struct fcm_account *account, const char *ca_file,
                                            const struct clock *clock,
                                            const struct fcm_credentials_events *events);
void fcm_credentials_free(struct fcm_credentials *credentials);
LOA_AUTO_DEFINE(fcm_credentials, fcm_credentials_free)

/* Mints the first token; later ones follow by themselves. */
void fcm_credentials_start(struct fcm_credentials *credentials);
/* The Authorization header's value, NULL while there is no valid token; borrowed until the loop
 * turns. out_generation (may be NULL) names the token. */
const char *fcm_credentials_header(const struct fcm_credentials *credentials,
                                   uint32_t *out_generation);
/* FCM has taken a request under this token. */
void fcm_credentials_accepted(struct fcm_credentials *credentials, uint32_t generation);
/* FCM has answered 401 to this token: it is given up and another one minted, 60 s after the last at
 * the earliest. Returns false when the token had itself replaced a refused one and never worked:
 * then a further one will not help. */
bool fcm_credentials_rejected(struct fcm_credentials *credentials, uint32_t generation);
/* Why there is no valid token, for people; "" when there is one. Borrowed. */
const char *fcm_credentials_trouble(const struct fcm_credentials *credentials);

#endif
