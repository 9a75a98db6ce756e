/* loa outbox list|retry: targeted notifications that are owed or dead. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "app/acting.h"
#include "app/text.h"
#include "engine/audit_store.h"
#include "engine/outbox.h"

#define LIST_MAX 10000

static json_t *row_json(const struct outbox_row *row)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "notification",
                     (json_int_t)row->id, "key", row->key, "state", row->state, "reason",
                     row->reason, "account", (json_int_t)row->account_id, "device",
                     (json_int_t)row->device_id, "pushes", (json_int_t)row->pushes, "accepted",
                     (json_int_t)row->accepted, "owed", (json_int_t)row->owed, "attempts",
                     (json_int_t)row->attempts, "shown", (json_int_t)row->shown, "opened",
                     (json_int_t)row->opened);
}

static void row_line(const struct outbox_row *row)
{
    g_autofree char *created = text_time(row->created_utc_us);
    g_autofree char *expires = text_time(row->expires_utc_us);
    bool account = row->account_id != 0;

    printf("%8" PRId64 "  %-7s  to %s %" PRId64 "  %" PRId64 "/%" PRId64 " accepted, %" PRId64
           " shown, %" PRId64 " owed, tried %" PRId64 "×  %s … %s  %s%s%s\n",
           row->id, row->state, account ? "account" : "device",
           account ? row->account_id : row->device_id, row->accepted, row->pushes, row->shown,
           row->owed, row->attempts, created, expires, row->key, row->reason[0] != '\0' ? ": " : "",
           row->reason);
}

static int list_rows(struct command *command, const char *state, int limit, bool json)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) rows = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    db = command_db(command, "outbox list", &exit_code);
    if (db == NULL)
        return exit_code;
    rows = outbox_list(db, state, CLAMP(limit, 1, LIST_MAX), &error);
    if (rows == NULL)
        return command_fail("outbox list", error);
    for (guint i = 0; i < rows->len; i++) {
        if (json)
            text_print_json(row_json(rows->pdata[i]));
        else
            row_line(rows->pdata[i]);
    }
    if (rows->len == 0 && !json)
        puts("nothing");
    return EX_OK;
}

static int outbox_command_list(struct command *command, int argc, char **argv)
{
    static const char *const states[] = {"pending", "sending", "done", "dead", NULL};
    g_autofree char *state = NULL;
    gint limit = 100;
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"state", 0, 0, G_OPTION_ARG_STRING, &state, "Only these (default: all but done)",
         "pending|sending|done|dead"},
        {"limit", 0, 0, G_OPTION_ARG_INT, &limit, "At most so many (default 100)", "N"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "One JSON object per line", NULL},
        {NULL}};
    int exit_code;

    if (!command_parse("outbox list", "Lists targeted notifications, newest first.", entries, &argc,
                       &argv, &exit_code))
        return exit_code;
    if (argc > 1 || (state != NULL && !g_strv_contains(states, state))) {
        fputs("loa outbox list: --state is one of pending, sending, done, dead\n", stderr);
        return EX_USAGE;
    }
    return list_rows(command, state, limit, json);
}

static bool retry_audited(struct acting *acting, int64_t id, int64_t life_s, GError **error)
{
    g_autofree char *object = g_strdup_printf("notification:%" PRId64, id);

    if (!db_begin(acting->db, error))
        return false;
    if (!outbox_retry(acting->db, id, life_s, error) ||
        !audit_store_add(acting->db, acting->account, "notification_retried", object, "", error) ||
        !db_commit(acting->db, error)) {
        db_rollback(acting->db);
        return false;
    }
    return true;
}

static int outbox_command_retry(struct command *command, int argc, char **argv)
{
    struct acting_options options = {NULL, NULL};
    gint hours = 24;
    const GOptionEntry entries[] = {
        {"hours", 0, 0, G_OPTION_ARG_INT, &hours, "Tried for so long (default 24)", "N"},
        ACTING_ENTRIES(&options),
        {NULL}};
    struct acting acting;
    g_autoptr(GError) error = NULL;
    char *end = NULL;
    int64_t id;
    int exit_code;

    if (!command_parse("outbox retry ID --as NAME --key FILE", "Tries a dead notification again.",
                       entries, &argc, &argv, &exit_code)) {
        acting_options_clear(&options);
        return exit_code;
    }
    id = argc == 2 ? g_ascii_strtoll(argv[1], &end, 10) : 0;
    if (id <= 0 || *end != '\0' || hours < 1 || hours > 720) {
        fputs("loa outbox retry: give the number of a notification, and 1 to 720 hours\n", stderr);
        exit_code = EX_USAGE;
    } else if (acting_open(command, "outbox retry", &options, ACTING_ACCOUNT, &acting,
                           &exit_code)) {
        exit_code = EX_OK;
        if (retry_audited(&acting, id, (int64_t)hours * 3600, &error))
            printf("notification %" PRId64 " is tried again for %d hours\n", id, hours);
        else
            exit_code = command_fail("outbox retry", error);
        acting_close(&acting);
    }
    acting_options_clear(&options);
    return exit_code;
}

int command_outbox(struct command *command, int argc, char **argv)
{
    static const struct text_subcommand subcommands[] = {
        {"list", outbox_command_list}, {"retry", outbox_command_retry}, {NULL, NULL}};

    return text_dispatch(subcommands, command, argc, argv);
}
