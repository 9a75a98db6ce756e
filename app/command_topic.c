/* loa topic: FCM's topics, for when sending to each device cannot work. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/acting.h"
#include "app/broadcast_command.h"
#include "app/text.h"
#include "app/topic_publish.h"
#include "app/topic_sync.h"
#include "base/error.h"
#include "engine/broadcast_store.h"

#define PLAIN_STEP 50000 /* subscriptions between two progress lines without a terminal */

/* ---- sync ---- */

struct screen {
    bool terminal;
    const struct clock *clock;
    int64_t since_us;
    int64_t told; /* at the last plain line */
};

static void on_step(enum fcm_topic_op op, int64_t done, int64_t total, void *user)
{
    struct screen *screen = user;
    int64_t now_us = screen->clock->mono_us(screen->clock);
    double seconds = (double)MAX(now_us - screen->since_us, 1) / 1e6;
    const char *what = op == FCM_TOPIC_ADD ? "subscribing" : "unsubscribing";

    if (screen->terminal) {
        fprintf(stderr, "\r\033[K%s %3d %%  %" PRId64 " of %" PRId64 "  %.0f/s", what,
                (int)(done * 100 / total), done, total, (double)done / seconds);
    } else if (done == total || done < screen->told || done - screen->told >= PLAIN_STEP) {
        screen->told = done;
        fprintf(stderr, "%.1f s: %s, %" PRId64 " of %" PRId64 "\n", seconds, what, done, total);
    }
    if (screen->terminal && done == total)
        fputc('\n', stderr);
    if (done == total) {
        screen->told = 0;
        screen->since_us = now_us;
    }
}

static json_t *reasons_json(GHashTable *reasons)
{
    json_t *object = json_object();
    GHashTableIter iter;
    gpointer word, n;

    g_hash_table_iter_init(&iter, reasons);
    while (g_hash_table_iter_next(&iter, &word, &n))
        json_object_set_new(object, word, json_integer(GPOINTER_TO_INT(n)));
    return object;
}

static void print_counts(const struct topic_sync_counts *c, bool json)
{
    GHashTableIter iter;
    gpointer word, n;

    if (json) {
        text_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "added",
                                  (json_int_t)c->added, "removed", (json_int_t)c->removed, "dead",
                                  (json_int_t)c->dead, "suspect", (json_int_t)c->suspect, "again",
                                  (json_int_t)c->again, "refused", (json_int_t)c->refused,
                                  "reasons", reasons_json(c->reasons)));
        return;
    }
    printf("%" PRId64 " subscriptions added, %" PRId64 " removed, %" PRId64
           " dead registrations retired\n",
           c->added, c->removed, c->dead);
    g_hash_table_iter_init(&iter, c->reasons);
    while (g_hash_table_iter_next(&iter, &word, &n))
        printf("  %d not made: %s\n", GPOINTER_TO_INT(n), (const char *)word);
    if (c->again > 0)
        printf("%" PRId64 " are to be tried again: run loa topic sync once more\n", c->again);
    if (c->suspect > 0)
        printf("%" PRId64 " look dead, but so many at once that they were NOT retired: is this the "
               "service account of the app's Firebase project?\n",
               c->suspect);
}

static int run_sync(struct command *command, bool json)
{
    struct screen screen = {.terminal = isatty(STDERR_FILENO) == 1,
                            .clock = command->clock,
                            .since_us = command->clock->mono_us(command->clock)};
    const struct topic_sync_progress progress = {.step = on_step, .user = &screen};
    g_autoptr(GHashTable) reasons = g_hash_table_new(g_str_hash, g_str_equal);
    struct topic_sync_counts counts = {.reasons = reasons};
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = NULL;
    int exit_code;
    bool ok;

    db = command_db(command, "topic sync", &exit_code);
    if (db == NULL)
        return exit_code;
    ok = topic_sync_run(command, db, &progress, &counts, &error);
    print_counts(&counts, json);
    if (!ok)
        return command_fail("topic sync", error);
    return counts.again + counts.suspect > 0 ? EX_TEMPFAIL : EX_OK;
}

static int topic_sync(struct command *command, int argc, char **argv)
{
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Prints one JSON object", NULL}, {NULL}};
    int exit_code;

    if (!command_parse(
            "topic sync",
            "Subscribes every FCM device to the topic of the province and to that of its commune; "
            "sends the difference only.\nRun it every night: in a disaster it is too late for it.",
            entries, &argc, &argv, &exit_code))
        return exit_code;
    if (argc > 1) {
        fputs("loa topic sync: takes no arguments\n", stderr);
        return EX_USAGE;
    }
    return run_sync(command, json);
}

/* ---- send ---- */

struct send_options {
    struct acting_options acting;
    char *reason;
    gboolean yes, again, json;
};

static void send_options_clear(struct send_options *o)
{
    acting_options_clear(&o->acting);
    g_free(o->reason);
}

static bool confirm(const struct broadcast *b, bool yes, GError **error)
{
    g_autofree char *question =
        g_strdup_printf("Type its alert id to send this %s %s to topics:",
                        b->realm == BROADCAST_LIVE ? "LIVE" : broadcast_realm_name(b->realm),
                        b->type == MESSAGE_CANCEL ? "correction" : "broadcast");

    if (yes || text_confirm(question, b->alert_id))
        return true;
    g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                        "not confirmed; nothing was sent (without a terminal, say --yes)");
    return false;
}

/* What the person answers for. The communes' topics are many: their number says enough. */
static void read_back(const struct broadcast *b, size_t size)
{
    unsigned areas = g_strv_length(b->communes);
    g_autofree char *some = g_strdup_printf("%u commune topics", areas);
    bool all = areas == 0 || b->type == MESSAGE_CANCEL;

    broadcast_print(b);
    printf("  goes to %s%s%s as one message each, in Vietnamese; the longest of it takes %zu of %d "
           "bytes\n",
           all ? "the topic of the whole province" : "", all && areas > 0 ? " and " : "",
           areas > 0 ? some : "", size, FCM_TOPIC_PAYLOAD_MAX);
    puts("  reaches subscribed FCM phones only; nobody will know which of them got it");
}

static int send_it(struct command *command, struct acting *acting, const char *which,
                   const struct send_options *o, GError **error)
{
    loa_auto(broadcast) b = NULL;
    loa_auto(topic_send) send = NULL;
    size_t size;
    int64_t id;

    if (!broadcast_store_resolve(acting->db, which, &id, error) ||
        (b = topic_send_check(&acting->actor, id, error)) == NULL ||
        !topic_publish_fits(b, b->key_id, &size, error))
        return -1;
    if (!(o->json && o->yes))
        read_back(b, size);
    if (!confirm(b, o->yes, error) ||
        (send = topic_publish(command, &acting->actor, id, o->reason, o->again, error)) == NULL)
        return -1;
    if (!o->json) {
        topic_publish_print(send);
        return topic_publish_exit(send);
    }
    json_t *topics = json_array();
    for (guint i = 0; i < send->items->len; i++) {
        const struct topic_send_item *item = send->items->pdata[i];
        json_array_append_new(topics, json_pack("{s:s, s:s, s:s, s:s}", "topic", item->topic,
                                                "state", topic_state_name(item->state), "message",
                                                item->message_name, "detail", item->detail));
    }
    text_print_json(json_pack("{s:I, s:s, s:i, s:o}", "broadcast", (json_int_t)id, "alert",
                              b->alert_id, "version", b->version, "topics", topics));
    return topic_publish_exit(send);
}

static int topic_send(struct command *command, int argc, char **argv)
{
    struct send_options o = {.yes = FALSE};
    const GOptionEntry entries[] = {
        {"reason", 0, 0, G_OPTION_ARG_STRING, &o.reason, "Why; goes to the audit", "TEXT"},
        {"yes", 0, 0, G_OPTION_ARG_NONE, &o.yes, "Does not ask back", NULL},
        {"again", 0, 0, G_OPTION_ARG_NONE, &o.again, "Also to topics that have taken it", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "Prints one JSON object", NULL},
        ACTING_ENTRIES(&o.acting),
        {NULL}};
    struct acting acting;
    g_autoptr(GError) error = NULL;
    const char *which;
    int exit_code;

    if (!command_parse(
            "topic send ID --reason TEXT --as NAME --key FILE",
            "Publishes a released broadcast, or its correction, to the FCM topics of its "
            "area: one message instead of one per phone.\nFor a disaster in which "
            "sending to each device cannot work. Phones drop what they have already.",
            entries, &argc, &argv, &exit_code)) {
        send_options_clear(&o);
        return exit_code;
    }
    which = broadcast_argument("topic send", argc, argv);
    if (which == NULL || o.reason == NULL || o.reason[0] == '\0' || strlen(o.reason) > 500) {
        if (which != NULL)
            fputs("loa topic send: give a --reason (at most 500 bytes)\n", stderr);
        exit_code = EX_USAGE;
    } else if (acting_open(command, "topic send", &o.acting, ACTING_RELEASE, &acting, &exit_code)) {
        exit_code = send_it(command, &acting, which, &o, &error);
        if (error != NULL)
            exit_code = command_fail("topic send", error);
        acting_close(&acting);
    }
    send_options_clear(&o);
    return exit_code;
}

/* ---- status ---- */

static int print_status(struct db *db, bool json, GError **error)
{
    int64_t completed_utc_us = 0;
    g_autoptr(GPtrArray) rows = topic_store_list(db, &completed_utc_us, error);
    g_autofree char *at = text_time(completed_utc_us);
    json_t *list;

    if (rows == NULL)
        return EX_UNAVAILABLE;
    list = json_array();
    for (guint i = 0; i < rows->len; i++) {
        const struct topic_row *row = rows->pdata[i];
        g_autofree char *name = fcm_topic_name(row->realm, row->commune);
        if (!json)
            printf("%-24s %9" PRId64 " subscribed of %9" PRId64 "\n", name, row->subscribed,
                   row->wanted);
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "topic", name, "subscribed",
                                              (json_int_t)row->subscribed, "wanted",
                                              (json_int_t)row->wanted));
    }
    if (json)
        text_print_json(json_pack("{s:O, s:s}", "topics", list, "completed", at));
    else
        printf("last complete sync: %s\n", completed_utc_us != 0 ? at : "never");
    json_decref(list);
    return EX_OK;
}

static int topic_status(struct command *command, int argc, char **argv)
{
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Prints one JSON object", NULL}, {NULL}};
    g_autoptr(GError) error = NULL;
    loa_auto(db) db = NULL;
    int exit_code;

    if (!command_parse("topic status", "How many registrations are subscribed to each topic.",
                       entries, &argc, &argv, &exit_code))
        return exit_code;
    db = command_db(command, "topic status", &exit_code);
    if (db == NULL)
        return exit_code;
    exit_code = print_status(db, json, &error);
    return error != NULL ? command_fail("topic status", error) : exit_code;
}

int command_topic(struct command *command, int argc, char **argv)
{
    static const struct text_subcommand subcommands[] = {
        {"sync", topic_sync}, {"send", topic_send}, {"status", topic_status}, {NULL, NULL}};

    return text_dispatch(subcommands, command, argc, argv);
}
