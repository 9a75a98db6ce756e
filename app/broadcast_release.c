/* loa broadcast approve and cancel: one releases after a read-back, the other takes back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/acting.h"
#include "app/broadcast_command.h"
#include "app/meter.h"
#include "app/text.h"
#include "app/topic_publish.h"
#include "base/json.h"
#include "engine/broadcast_store.h"

struct release_options {
    struct acting_options acting;
    char *reason;
    gboolean yes, again, json;
};

static void options_clear(struct release_options *o)
{
    acting_options_clear(&o->acting);
    g_free(o->reason);
}

static bool read_back(struct command *command, struct db *db, const struct broadcast *b,
                      GError **error)
{
    struct broadcast_audience a;

    if (!broadcast_store_audience(db, b, command->settings->device_stale_days, &a, error))
        return false;
    broadcast_print(b);
    printf("  reaches %" PRId64 " devices: fcm %" PRId64 ", apns %" PRId64 ", mqtt %" PRId64
           " (%" PRId64 " not seen for %" PRId64 " days%s)\n",
           a.fcm + a.apns + a.mqtt, a.fcm, a.apns, a.mqtt, a.stale,
           command->settings->device_stale_days,
           broadcast_is_emergency(b) ? ", tried all the same" : ", left out");
    if (!topic_publish_fits(b, command->settings->broadcast_key_id, NULL, NULL))
        puts("  too long for topics: loa topic send would refuse it in a disaster");
    return true;
}

/* Live and drill are released with different words: the false alarm of Hawaii was one click beside
 * the drill. */
static bool confirm(const struct broadcast *b, bool yes, GError **error)
{
    const char *word = b->realm == BROADCAST_LIVE ? broadcast_level_name(b->level)
                                                  : broadcast_realm_name(b->realm);
    g_autofree char *question =
        g_strdup_printf("Type \"%s\" to release this %s broadcast:", word,
                        b->realm == BROADCAST_LIVE ? "LIVE" : broadcast_realm_name(b->realm));

    if (yes || text_confirm(question, word))
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                "not confirmed; nothing was released (without a terminal, say --yes)");
    return false;
}

static bool approve(struct command *command, struct acting *acting, const char *which,
                    const struct release_options *o, GError **error)
{
    loa_auto(broadcast) b = NULL;
    loa_auto(meter) meter = NULL;
    bool already = false;
    int64_t id;

    if (!broadcast_store_resolve(acting->db, which, &id, error))
        return false;
    b = broadcast_load(acting->db, id, error);
    meter = meter_open(command->settings, command->clock);
    if (b == NULL)
        return false;
    acting->actor.meter = meter_get(meter);
    if (b->state == BROADCAST_DRAFT) {
        if (!broadcast_check_approver(b, acting->account->id, error) ||
            (!(o->json && o->yes) && !read_back(command, acting->db, b, error)) ||
            !confirm(b, o->yes, error))
            return false;
    }
    if (!broadcast_approve(&acting->actor, id, b->content_hash, o->again, &already, error))
        return false;
    if (o->json)
        text_print_json(json_pack("{s:I, s:s, s:b}", "broadcast", (json_int_t)id, "alert",
                                  b->alert_id, "already", already));
    else
        printf("%s %s\n", b->alert_id, already ? "was already released by you" : "RELEASED");
    return true;
}

/* An alert that went to topics is taken back there, too, at once where that can be done. What is
 * still owed then stays on the screen, in status and in doctor. */
static void correct_topics(struct command *command, struct acting *acting, int64_t id,
                           const struct release_options *o)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) owed = topic_store_owed(acting->db, id, &error);
    g_autoptr(GPtrArray) left = NULL;
    loa_auto(topic_send) send = NULL;

    if (owed != NULL && owed->len > 0)
        send = topic_publish(command, &acting->actor,
                             ((const struct topic_owed *)owed->pdata[0])->correction_id, o->reason,
                             false, &error);
    if (send != NULL && !o->json)
        topic_publish_print(send);
    if (owed != NULL && error == NULL)
        left = topic_store_owed(acting->db, id, &error);
    if (error != NULL)
        fprintf(stderr, "loa broadcast cancel: topics: %s\n", error->message);
    if (left != NULL ? left->len > 0 : owed == NULL || owed->len > 0)
        fprintf(
            stderr,
            "loa broadcast cancel: the alert went to topics, its correction is still OWED there: "
            "loa topic send (loa broadcast status says which)\n");
}

static bool cancel(struct command *command, struct acting *acting, const char *which,
                   const struct release_options *o, GError **error)
{
    struct broadcast_cancel_result result;
    int64_t id;

    if (!broadcast_store_resolve(acting->db, which, &id, error) ||
        !broadcast_cancel(&acting->actor, id, o->reason, &result, error))
        return false;
    if (o->json)
        text_print_json(json_pack("{s:I, s:b, s:b, s:I}", "broadcast", (json_int_t)id, "already",
                                  result.already, "withdrawn", result.withdrawn, "correction",
                                  (json_int_t)result.correction_id));
    else if (result.already)
        printf("%s was taken back before\n", which);
    else if (result.withdrawn)
        printf("%s is withdrawn; nobody had got it\n", which);
    else
        printf("%s is cancelled; its correction is broadcast %" PRId64 "\n", which,
               result.correction_id);
    if (!result.withdrawn)
        correct_topics(command, acting, id, o);
    return true;
}

int broadcast_command_approve(struct command *command, int argc, char **argv)
{
    struct release_options o = {.yes = FALSE};
    const GOptionEntry entries[] = {
        {"yes", 0, 0, G_OPTION_ARG_NONE, &o.yes, "Does not ask back", NULL},
        {"again", 0, 0, G_OPTION_ARG_NONE, &o.again, "The same title again is meant so", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "Prints one JSON object", NULL},
        ACTING_ENTRIES(&o.acting),
        {NULL}};
    struct acting acting;
    g_autoptr(GError) error = NULL;
    const char *which;
    int exit_code;

    if (!command_parse("broadcast approve ID --as NAME --key FILE",
                       "Releases a draft that another account created.", entries, &argc, &argv,
                       &exit_code)) {
        options_clear(&o);
        return exit_code;
    }
    which = broadcast_argument("broadcast approve", argc, argv);
    if (which == NULL) {
        exit_code = EX_USAGE;
    } else if (acting_open(command, "broadcast approve", &o.acting, ACTING_RELEASE, &acting,
                           &exit_code)) {
        exit_code = approve(command, &acting, which, &o, &error)
                        ? EX_OK
                        : command_fail("broadcast approve", error);
        acting_close(&acting);
    }
    options_clear(&o);
    return exit_code;
}

int broadcast_command_cancel(struct command *command, int argc, char **argv)
{
    struct release_options o = {.yes = FALSE};
    const GOptionEntry entries[] = {
        {"reason", 0, 0, G_OPTION_ARG_STRING, &o.reason, "Why; goes to the audit", "TEXT"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "Prints one JSON object", NULL},
        ACTING_ENTRIES(&o.acting),
        {NULL}};
    struct acting acting;
    g_autoptr(GError) error = NULL;
    const char *which;
    int exit_code;

    if (!command_parse("broadcast cancel ID --reason TEXT --as NAME --key FILE",
                       "Takes back: the prepared correction goes to exactly the same devices.",
                       entries, &argc, &argv, &exit_code)) {
        options_clear(&o);
        return exit_code;
    }
    which = broadcast_argument("broadcast cancel", argc, argv);
    if (which == NULL || o.reason == NULL || o.reason[0] == '\0' || strlen(o.reason) > 500) {
        if (which != NULL)
            fputs("loa broadcast cancel: give a --reason (at most 500 bytes)\n", stderr);
        exit_code = EX_USAGE;
    } else if (acting_open(command, "broadcast cancel", &o.acting, ACTING_RELEASE, &acting,
                           &exit_code)) {
        exit_code = cancel(command, &acting, which, &o, &error)
                        ? EX_OK
                        : command_fail("broadcast cancel", error);
        acting_close(&acting);
    }
    options_clear(&o);
    return exit_code;
}
