/* Rules of accounts; SQL in account_store.c. */
#include "engine/account.h"

#include <string.h>

#include "base/error.h"

void account_free(struct account *account)
{
    if (account == NULL)
        return;
    g_free(account->name);
    g_free(account);
}

bool account_name_check(const char *name, GError **error)
{
    size_t len = strlen(name);
    bool printable = g_utf8_validate(name, -1, NULL);

    for (const char *p = name; printable && *p != '\0'; p = g_utf8_next_char(p))
        printable = g_unichar_isprint(g_utf8_get_char(p));
    if (!printable || len == 0 || len > ACCOUNT_NAME_MAX || name[0] == ' ' ||
        name[len - 1] == ' ' || strspn(name, "0123456789") == len) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "account name: 1 to %d bytes of printable text, not only digits",
                    ACCOUNT_NAME_MAX);
        return false;
    }
    return true;
}

bool account_may_act(const struct account *account, const struct signing_key *key, GError **error)
{
    uint8_t public_key[ED25519_KEY_LEN];

    if (account->disabled_utc_us != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED,
                    "account \"%s\" is disabled: another account must act", account->name);
        return false;
    }
    signing_key_public(key, public_key);
    if (!crypto_equal(public_key, account->public_key, sizeof(public_key))) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_DENIED,
                    "this key is not the key of account \"%s\": give --key with the file that was "
                    "written when the account was created",
                    account->name);
        return false;
    }
    return true;
}
