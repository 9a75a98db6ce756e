/* loa account create|list|disable: the people who may act. For operators: whoever reaches the
 * database with this command decides who exists. */
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/command.h"
#include "app/text.h"
#include "engine/account_store.h"

static int account_create(struct command *command, int argc, char **argv)
{
    g_autofree char *key_out = NULL;
    const GOptionEntry entries[] = {{"key-out", 0, 0, G_OPTION_ARG_FILENAME, &key_out,
                                     "Writes the new private key here (0600, must not exist)",
                                     "FILE"},
                                    {NULL}};
    uint8_t public_key[ED25519_KEY_LEN];
    g_autoptr(GError) error = NULL;
    loa_auto(account) account = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    if (!command_parse("account create NAME --key-out FILE", "Creates an account and its key.",
                       entries, &argc, &argv, &exit_code))
        return exit_code;
    if (argc != 2 || key_out == NULL) {
        fputs("loa account create: give a NAME and --key-out FILE\n", stderr);
        return EX_USAGE;
    }
    if (!account_name_check(argv[1], &error))
        return command_fail("account create", error);
    db = command_db(command, "account create", &exit_code);
    if (db == NULL)
        return exit_code;
    if (!signing_key_create(key_out, public_key, &error))
        return command_fail("account create", error);
    account = account_store_create(db, argv[1], public_key, &error);
    if (account == NULL) {
        unlink(key_out); /* a key without an account opens nothing */
        return command_fail("account create", error);
    }
    printf("account %" PRId64
           " \"%s\" created; its private key is %s: hand it to that person only\n",
           account->id, account->name, key_out);
    return EX_OK;
}

static int account_list(struct command *command, int argc, char **argv)
{
    const GOptionEntry entries[] = {{NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    if (!command_parse("account list", "Lists accounts.", entries, &argc, &argv, &exit_code))
        return exit_code;
    db = command_db(command, "account list", &exit_code);
    if (db == NULL)
        return exit_code;
    list = account_store_list(db, &error);
    if (list == NULL)
        return command_fail("account list", error);
    for (guint i = 0; i < list->len; i++) {
        const struct account *account = list->pdata[i];
        g_autofree char *created = text_time(account->created_utc_us);
        printf("%6" PRId64 "  %-32s  created %s%s\n", account->id, account->name, created,
               account->disabled_utc_us != 0 ? "  DISABLED" : "");
    }
    return EX_OK;
}

static int account_disable(struct command *command, int argc, char **argv)
{
    const GOptionEntry entries[] = {{NULL}};
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    if (!command_parse("account disable NAME|ID", "The account may act no more.", entries, &argc,
                       &argv, &exit_code))
        return exit_code;
    if (argc != 2) {
        fputs("loa account disable: give a NAME or ID\n", stderr);
        return EX_USAGE;
    }
    db = command_db(command, "account disable", &exit_code);
    if (db == NULL)
        return exit_code;
    if (!account_store_disable(db, argv[1], &error))
        return command_fail("account disable", error);
    printf("account \"%s\" is disabled\n", argv[1]);
    return EX_OK;
}

int command_account(struct command *command, int argc, char **argv)
{
    static const struct text_subcommand subcommands[] = {{"create", account_create},
                                                         {"list", account_list},
                                                         {"disable", account_disable},
                                                         {NULL, NULL}};

    return text_dispatch(subcommands, command, argc, argv);
}
