/* Opens what an act needs. A private key is read from its file, compared with the account's row,
 * and wiped when the act is done. */
#include "app/acting.h"

#include <string.h>

#include "engine/account_store.h"

void acting_options_clear(struct acting_options *options)
{
    g_clear_pointer(&options->as, g_free);
    g_clear_pointer(&options->key, g_free);
}

static bool open_account(struct acting *a, const struct acting_options *options, GError **error)
{
    const char *key = options->key != NULL ? options->key : g_getenv("LOA_KEY");

    if (options->as == NULL || key == NULL) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            "say who acts: --as NAME --key FILE (or LOA_KEY in the environment)");
        return false;
    }
    a->account = account_store_find(a->db, options->as, error);
    if (a->account == NULL)
        return false;
    a->account_key = signing_key_load(key, error);
    return a->account_key != NULL && account_may_act(a->account, a->account_key, error);
}

static bool open_release(struct acting *a, const struct settings *settings, GError **error)
{
    if (settings->broadcast_signing_key_file[0] == '\0') {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            "[broadcast] signing_key_file is not set: this machine cannot release");
        return false;
    }
    a->release_key = signing_key_load(settings->broadcast_signing_key_file, error);
    if (a->release_key == NULL)
        return false;
    a->release_keys =
        release_keys_load((const char *const *)settings->broadcast_public_key_files, error);
    return a->release_keys != NULL;
}

bool acting_open(struct command *command, const char *name, const struct acting_options *options,
                 enum acting_need need, struct acting *out, int *out_exit)
{
    g_autoptr(GError) error = NULL;

    memset(out, 0, sizeof(*out));
    out->db = command_db(command, name, out_exit);
    if (out->db == NULL)
        return false;
    if (!open_account(out, options, &error) ||
        (need == ACTING_RELEASE && !open_release(out, command->settings, &error))) {
        *out_exit = command_fail(name, error);
        acting_close(out);
        return false;
    }
    out->actor = (struct broadcast_actor){
        .db = out->db,
        .account = out->account,
        .account_key = out->account_key,
        .release_key = out->release_key,
        .release_key_id = command->settings->broadcast_key_id,
        .release_keys = out->release_keys,
    };
    return true;
}

void acting_close(struct acting *acting)
{
    signing_key_free(acting->account_key);
    signing_key_free(acting->release_key);
    release_keys_free(acting->release_keys);
    account_free(acting->account);
    db_close(acting->db);
    memset(acting, 0, sizeof(*acting));
}
