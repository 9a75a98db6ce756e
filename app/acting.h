/* Acting in an account's name from the command line: --as NAME and --key FILE, the release key, and
 * where payloads must fit. */
#ifndef LOA_APP_ACTING_H
#define LOA_APP_ACTING_H

#include "app/command.h"
#include "engine/broadcast_acts.h"

/* --as and --key as parsed; owned. */
struct acting_options {
    char *as;
    char *key;
};
void acting_options_clear(struct acting_options *options);
/* Two rows for a command's GOption table. */
#define ACTING_ENTRIES(options)                                                                    \
    {"as", 0, 0, G_OPTION_ARG_STRING, &(options)->as, "Account that acts", "NAME|ID"},             \
    {                                                                                              \
        "key", 0, 0, G_OPTION_ARG_FILENAME, &(options)->key,                                       \
            "Its private key (default: $LOA_KEY)", "FILE"                                          \
    }

/* Who acts, ready. */
struct acting {
    struct db *db; /* owned */
    struct account *account;
    struct signing_key *account_key;
    struct signing_key *release_key; /* when asked for */
    struct release_keys *release_keys;
    struct broadcast_actor actor; /* borrows all of the above */
};

enum acting_need {
    ACTING_ACCOUNT, /* account and its key */
    ACTING_RELEASE, /* and the keys that release */
};
/* Opens the database and loads keys, or prints what is wrong and sets the exit code. */
bool acting_open(struct command *command, const char *name, const struct acting_options *options,
                 enum acting_need need, struct acting *out, int *out_exit);
void acting_close(struct acting *acting);

#endif
