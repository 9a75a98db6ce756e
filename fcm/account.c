#include "fcm/account.h"

#include <string.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/json.h"

#define FILE_MAX    16384
#define FIELD_MAX   8192
#define SCOPE       "https://www.googleapis.com/auth/firebase.messaging"
#define ASSERTION_S 3600 /* the most that Google accepts */

/* Project ids stand in the request's path. */
static bool project_is_plain(const char *id)
{
    for (const char *at = id; *at != '\0'; at++)
        if (!g_ascii_isalnum(*at) && strchr("-:._", *at) == NULL)
            return false;
    return strlen(id) <= 100;
}

static char *take_field(const json_t *object, const char *name, GError **error)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);

    if (*error != NULL)
        return NULL;
    if (text != NULL && *text != '\0' && json_string_length(value) <= FIELD_MAX)
        return g_strdup(text);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "field %s is missing or not a text", name);
    return NULL;
}

static bool account_check(const struct fcm_account *account, GError **error)
{
    g_autofree char *assertion = NULL;

    if (!project_is_plain(account->project_id)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "field project_id is not a project id");
        return false;
    }
    if (!g_str_has_prefix(account->token_uri, "https://")) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "field token_uri is not an https address");
        return false;
    }
    assertion = fcm_account_assertion(account, 0, error);
    if (assertion == NULL)
        g_prefix_error(error, "field private_key: ");
    return assertion != NULL;
}

static struct fcm_account *account_parse(const char *text, size_t len, GError **error)
{
    g_autoptr(json_t) object = json_parse_object(text, len, FILE_MAX, error);
    GError *fault = NULL;
    struct fcm_account *account;

    if (object == NULL)
        return NULL;
    account = g_new0(struct fcm_account, 1);
    account->project_id = take_field(object, "project_id", &fault);
    account->client_email = take_field(object, "client_email", &fault);
    account->key_id = take_field(object, "private_key_id", &fault);
    account->private_key = take_field(object, "private_key", &fault);
    account->token_uri = take_field(object, "token_uri", &fault);
    if (fault == NULL && account_check(account, &fault))
        return account;
    g_propagate_error(error, fault);
    fcm_account_free(account);
    return NULL;
}

struct fcm_account *fcm_account_load(const char *path, GError **error)
{
    struct fcm_account *account;
    char *text = NULL;
    size_t len = 0;

    if (!secret_file_read(path, FILE_MAX, &text, &len, error))
        return NULL;
    account = account_parse(text, len, error);
    if (account == NULL)
        g_prefix_error(error, "%s: ", path);
    explicit_bzero(text, len);
    g_free(text);
    return account;
}

void fcm_account_free(struct fcm_account *account)
{
    if (account == NULL)
        return;
    if (account->private_key != NULL)
        explicit_bzero(account->private_key, strlen(account->private_key));
    g_free(account->project_id);
    g_free(account->client_email);
    g_free(account->key_id);
    g_free(account->private_key);
    g_free(account->token_uri);
    g_free(account);
}

char *fcm_account_assertion(const struct fcm_account *account, int64_t now_s, GError **error)
{
    g_autoptr(json_t) claims = json_pack(
        "{s:s, s:s, s:s, s:I, s:I}", "iss", account->client_email, "scope", SCOPE, "aud",
        account->token_uri, "iat", (json_int_t)now_s, "exp", (json_int_t)(now_s + ASSERTION_S));
    char *text = claims != NULL ? json_dumps(claims, JSON_COMPACT) : NULL;
    char *assertion;

    if (text == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "the account's fields are not UTF-8");
        return NULL;
    }
    assertion = jwt_sign("RS256", account->key_id, account->private_key, text, error);
    free(text);
    return assertion;
}
