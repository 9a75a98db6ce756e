/* loa stop, loa resume: nothing leaves under a stop, nothing is lost. One person suffices. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/acting.h"
#include "app/text.h"
#include "engine/broadcast_store.h"
#include "engine/stop_store.h"

struct stop_options {
    struct acting_options acting;
    gboolean all;
    char *channel;
    char *broadcast;
    char *reason;
};

static void options_clear(struct stop_options *o)
{
    acting_options_clear(&o->acting);
    g_free(o->channel);
    g_free(o->broadcast);
    g_free(o->reason);
}

/* "all", "channel:fcm" or "broadcast:7" of exactly one choice. Owned. */
static char *scope_of(struct db *db, const struct stop_options *o, GError **error)
{
    int64_t id;

    if ((o->all ? 1 : 0) + (o->channel != NULL) + (o->broadcast != NULL) != 1) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            "say what: --all, --channel fcm|apns|mqtt or --broadcast ID");
        return NULL;
    }
    if (o->all)
        return g_strdup("all");
    if (o->channel != NULL) {
        static const char *const channels[] = {"fcm", "apns", "mqtt", NULL};
        if (g_strv_contains(channels, o->channel))
            return g_strdup_printf("channel:%s", o->channel);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "no channel \"%s\": fcm, apns or mqtt",
                    o->channel);
        return NULL;
    }
    if (!broadcast_store_resolve(db, o->broadcast, &id, error))
        return NULL;
    return g_strdup_printf("broadcast:%" G_GINT64_FORMAT, id);
}

static int act(struct command *command, const struct stop_options *o, bool stop)
{
    const char *name = stop ? "stop" : "resume";
    struct acting acting;
    g_autofree char *scope = NULL;
    g_autoptr(GError) error = NULL;
    bool changed = false;
    int exit_code = EX_OK;

    if (!acting_open(command, name, &o->acting, ACTING_ACCOUNT, &acting, &exit_code))
        return exit_code;
    scope = scope_of(acting.db, o, &error);
    if (scope == NULL ||
        !(stop ? stop_store_stop(acting.db, acting.account, scope, o->reason, &changed, &error)
               : stop_store_resume(acting.db, acting.account, scope, o->reason, &changed, &error)))
        exit_code = command_fail(name, error);
    else if (stop)
        printf("%s: %s\n", scope, changed ? "stopped; nothing leaves" : "was stopped already");
    else
        printf("%s: %s\n", scope, changed ? "resumed" : "was not stopped");
    acting_close(&acting);
    return exit_code;
}

static int list(struct command *command)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) stops = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    db = command_db(command, "stop", &exit_code);
    if (db == NULL)
        return exit_code;
    stops = stop_store_list(db, &error);
    if (stops == NULL)
        return command_fail("stop", error);
    for (guint i = 0; i < stops->len; i++) {
        const struct stop *stop = stops->pdata[i];
        g_autofree char *at = text_time(stop->at_utc_us);
        printf("%-20s since %s by %s: %s\n", stop->scope, at, stop->by_name, stop->reason);
    }
    if (stops->len == 0)
        puts("nothing is stopped");
    return EX_OK;
}

static int run(struct command *command, int argc, char **argv, bool stop)
{
    struct stop_options o = {.all = FALSE};
    gboolean list_only = FALSE;
    const GOptionEntry entries[] = {
        {"all", 0, 0, G_OPTION_ARG_NONE, &o.all, "Every channel", NULL},
        {"channel", 0, 0, G_OPTION_ARG_STRING, &o.channel, "One channel", "fcm|apns|mqtt"},
        {"broadcast", 0, 0, G_OPTION_ARG_STRING, &o.broadcast, "One broadcast", "ID"},
        {"reason", 0, 0, G_OPTION_ARG_STRING, &o.reason, "Why; goes to the audit", "TEXT"},
        {"list", 0, 0, G_OPTION_ARG_NONE, &list_only, "Only tells what is stopped now", NULL},
        ACTING_ENTRIES(&o.acting),
        {NULL}};
    int exit_code;

    if (command_parse(stop ? "stop --all|--channel C|--broadcast ID --as NAME --reason TEXT"
                           : "resume --all|--channel C|--broadcast ID --as NAME --reason TEXT",
                      stop ? "Stops sending at once; nothing is lost." : "Sends on after a stop.",
                      entries, &argc, &argv, &exit_code)) {
        if (list_only) {
            exit_code = list(command);
        } else if (o.reason == NULL || o.reason[0] == '\0' || strlen(o.reason) > 500) {
            fprintf(stderr, "loa %s: give a --reason (at most 500 bytes)\n",
                    stop ? "stop" : "resume");
            exit_code = EX_USAGE;
        } else {
            exit_code = act(command, &o, stop);
        }
    }
    options_clear(&o);
    return exit_code;
}

int command_stop(struct command *command, int argc, char **argv)
{
    return run(command, argc, argv, true);
}

int command_resume(struct command *command, int argc, char **argv)
{
    return run(command, argc, argv, false);
}
