/* The service account that Firebase's console hands out as a JSON file. */
#ifndef LOA_FCM_ACCOUNT_H
#define LOA_FCM_ACCOUNT_H

#include <glib.h>

#include "base/auto.h"

struct fcm_account {
    char *project_id;
    char *client_email;
    char *key_id;
    char *private_key; /* PEM; wiped by free */
    char *token_uri;   /* https only */
};

/* Reads and checks the file, and tries the key once. INVALID names the field; NOT_FOUND and DENIED
 * the file. Owned. */
struct fcm_account *fcm_account_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void fcm_account_free(struct fcm_account *account);
LOA_AUTO_DEFINE(fcm_account, fcm_account_free)

/* The signed assertion of RFC 7523 §2.1 for a token that may send messages; valid from now for an
 * hour. Owned. */
char *fcm_account_assertion(const struct fcm_account *account, int64_t now_s, GError **error);

#endif
