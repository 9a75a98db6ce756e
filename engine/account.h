/* People who act. An act is signed with the account's private key, which never enters the database:
 * who can write rows cannot act in another's name. */
#ifndef LOA_ENGINE_ACCOUNT_H
#define LOA_ENGINE_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/crypto.h"

#define ACCOUNT_NAME_MAX 64

struct account {
    int64_t id;
    char *name;
    uint8_t public_key[ED25519_KEY_LEN];
    int64_t created_utc_us;
    int64_t disabled_utc_us; /* 0 = may act */
};
void account_free(struct account *account);
LOA_AUTO_DEFINE(account, account_free)

/* 1 … 64 bytes of printable UTF-8, no space at either end, not only digits (those are ids).
 * INVALID. */
bool account_name_check(const char *name, GError **error);

/* DENIED unless the account is enabled and the key is its own. */
bool account_may_act(const struct account *account, const struct signing_key *key, GError **error);

#endif
