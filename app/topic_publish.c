/* One message at a time: FCM is fastest when a project has one fan-out under way. */
#include "app/topic_publish.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/text.h"
#include "base/error.h"
#include "fcm/topic_client.h"

/* Together with the time of one message less than TOPIC_SEND_LIMIT_S. */
#define NO_MORE_AFTER_US (110 * USEC_PER_SEC)
#define DRY_RUN_LIMIT_MS 20000
#define NOBODY           "loa-dry-run" /* a registration that no phone has */

/* ---- size ---- */

/* As it will be signed: zeros have the length of any signature. */
static bool fits(const struct broadcast *b, const char *key_id, int64_t issued_s, size_t *out_size,
                 GError **error)
{
    struct message message;
    size_t size;

    broadcast_message(b, "vi", &message);
    message.is_signed = true;
    message.issued_s = issued_s;
    message.key_id = key_id;
    size = fcm_topic_size(&message);
    if (out_size != NULL)
        *out_size = MAX(*out_size, size);
    return fcm_topic_fits(&message, error);
}

bool topic_publish_fits(const struct broadcast *b, const char *key_id, size_t *out_size,
                        GError **error)
{
    loa_auto(broadcast) correction = NULL;
    int64_t issued_s = b->expires_utc_us / USEC_PER_SEC; /* as many digits */

    if (out_size != NULL)
        *out_size = 0;
    if (b->type == MESSAGE_ALERT)
        correction = broadcast_correction(b);
    if (!fits(b, key_id, issued_s, out_size, error))
        return false;
    if (correction == NULL || fits(correction, key_id, issued_s, out_size, error))
        return true;
    g_prefix_error(error, "its prepared correction could not follow it: ");
    return false;
}

/* ---- publishing ---- */

/* What is being sent now. */
struct publishing {
    const struct broadcast_actor *actor;
    struct topic_send_item *item;
    GMainLoop *loop;
    GError *error; /* the database's: it could not be recorded */
};

static enum topic_message_state state_of(enum fcm_topic_sent_state state)
{
    static const enum topic_message_state states[] = {[FCM_TOPIC_ACCEPTED] = TOPIC_ACCEPTED,
                                                      [FCM_TOPIC_REJECTED] = TOPIC_REFUSED,
                                                      [FCM_TOPIC_UNKNOWN] = TOPIC_UNKNOWN,
                                                      [FCM_TOPIC_FAILED] = TOPIC_FAILED};

    return states[state];
}

static void settle(struct publishing *p, enum topic_message_state state, const char *name,
                   const char *detail)
{
    g_autoptr(GError) error = NULL;

    if (!topic_send_settle(p->actor, p->item, state, name, detail, &error) && p->error == NULL)
        p->error = g_steal_pointer(&error);
}

static void sent(const struct fcm_topic_sent *answer, void *user)
{
    struct publishing *p = user;

    settle(p, state_of(answer->state), answer->name,
           answer->state == FCM_TOPIC_ACCEPTED ? "" : answer->reason);
    g_main_loop_quit(p->loop);
}

static void publish_item(struct publishing *p, struct fcm_topics *topics,
                         const struct message *message, int64_t now_s)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *body = fcm_topic_body(message, p->item->topic, now_s, false, &error);

    if (body == NULL) {
        settle(p, TOPIC_FAILED, "", error->message);
        return;
    }
    fcm_topics_send(topics, body, sent, p);
    g_main_loop_run(p->loop);
}

static void publish_items(struct command *command, struct publishing *p, struct fcm_topics *topics,
                          const struct topic_send *send)
{
    const struct clock *clock = command->clock;
    int64_t since_us = clock->mono_us(clock);
    struct message message;

    broadcast_message(send->broadcast, "vi", &message);
    for (guint i = 0; i < send->items->len; i++) {
        p->item = send->items->pdata[i];
        if (clock->mono_us(clock) - since_us > NO_MORE_AFTER_US)
            settle(p, TOPIC_FAILED, "", "not tried: the others took too long");
        else
            publish_item(p, topics, &message, clock->utc_us(clock) / USEC_PER_SEC);
    }
}

struct topic_send *topic_publish(struct command *command, const struct broadcast_actor *actor,
                                 int64_t id, const char *reason, bool again, GError **error)
{
    const struct topic_send_options options = {
        .name = fcm_topic_name, .reason = reason, .again = again};
    struct publishing p = {.actor = actor};
    loa_auto(fcm_topics) topics = fcm_topics_new(command->settings, command->clock, error);
    loa_auto(topic_send) send = NULL;

    if (topics == NULL || (send = topic_send_begin(actor, id, &options, error)) == NULL)
        return NULL;
    p.loop = g_main_loop_new(NULL, FALSE);
    publish_items(command, &p, topics, send);
    g_main_loop_unref(p.loop);
    if (p.error == NULL)
        (void)!topic_send_end(actor, send, &p.error);
    if (p.error != NULL) { /* it has left: tell what came of it all the same */
        fprintf(stderr, "not recorded: %s\n", p.error->message);
        g_clear_error(&p.error);
    }
    return g_steal_pointer(&send);
}

int topic_publish_exit(const struct topic_send *send)
{
    int code = EX_OK;

    for (guint i = 0; i < send->items->len; i++) {
        const struct topic_send_item *item = send->items->pdata[i];
        if (item->state == TOPIC_REFUSED)
            return EX_UNAVAILABLE;
        if (item->state != TOPIC_ACCEPTED)
            code = EX_TEMPFAIL;
    }
    return code;
}

void topic_publish_print(const struct topic_send *send)
{
    for (guint i = 0; i < send->items->len; i++) {
        const struct topic_send_item *item = send->items->pdata[i];
        printf("topic %s: %s%s%s\n", item->topic,
               item->state == TOPIC_ACCEPTED ? "accepted by FCM as "
                                             : topic_state_name(item->state),
               item->state == TOPIC_ACCEPTED ? item->message_name : ": ", item->detail);
    }
}

/* ---- dry run ---- */

struct dry_run {
    GMainLoop *loop;
    unsigned open; /* answers that are still to come */
    GError *error;
};

static void dry_run_step(struct dry_run *run, GError *error)
{
    if (error != NULL && run->error == NULL)
        run->error = error;
    else
        g_clear_error(&error);
    if (--run->open == 0 || run->error != NULL)
        g_main_loop_quit(run->loop);
}

static void dry_run_sent(const struct fcm_topic_sent *answer, void *user)
{
    dry_run_step(user, answer->state == FCM_TOPIC_ACCEPTED
                           ? NULL
                           : g_error_new(LOA_ERROR, LOA_ERROR_DENIED, "a message to a topic: %s",
                                         answer->reason));
}

static void dry_run_changed(struct fcm_topic_change *change, const GError *error, void *user)
{
    GError *failure = NULL;

    if (error != NULL)
        failure = g_error_copy(error);
    else if (change->answers[0].result == FCM_TOPIC_REFUSED ||
             change->answers[0].result == FCM_TOPIC_AGAIN)
        failure = g_error_new(LOA_ERROR, LOA_ERROR_DENIED, "subscription management: %s",
                              change->answers[0].reason);
    dry_run_step(user, failure);
}

static gboolean dry_run_late(gpointer user)
{
    struct dry_run *run = user;

    if (run->error == NULL)
        run->error = g_error_new(LOA_ERROR, LOA_ERROR_RETRY, "no answer");
    g_main_loop_quit(run->loop);
    return G_SOURCE_CONTINUE;
}

bool topic_publish_dry_run(const struct settings *settings, const struct clock *clock,
                           GError **error)
{
    static const struct message probe = {.type = MESSAGE_NOTICE,
                                         .alert_id = "dry-run",
                                         .version = 1,
                                         .kind = "",
                                         .level = "thuong",
                                         .cls = "thuong",
                                         .realm = "test",
                                         .title = "",
                                         .body = "",
                                         .instruction = "",
                                         .areas = "",
                                         .language = "vi",
                                         .url = "",
                                         .source_document = "",
                                         .key_id = ""};
    static const char *const registrations[] = {NOBODY};
    struct fcm_topic_answer answer;
    struct dry_run run = {.loop = g_main_loop_new(NULL, FALSE), .open = 2};
    g_autofree char *topic = fcm_topic_name("test", "");
    g_autofree char *body = fcm_topic_body(&probe, topic, 0, true, NULL);
    struct fcm_topic_change change = {.op = FCM_TOPIC_REMOVE,
                                      .topic = topic,
                                      .n = 1,
                                      .registrations = registrations,
                                      .answers = &answer,
                                      .done = dry_run_changed,
                                      .user = &run};
    struct fcm_topics *topics = fcm_topics_new(settings, clock, error);
    guint limit;

    if (topics == NULL) {
        g_main_loop_unref(run.loop);
        return false;
    }
    limit = g_timeout_add(DRY_RUN_LIMIT_MS, dry_run_late, &run);
    fcm_topics_send(topics, body, dry_run_sent, &run);
    fcm_topics_change(topics, &change);
    g_main_loop_run(run.loop);
    g_source_remove(limit);
    fcm_topics_free(topics);
    g_main_loop_unref(run.loop);
    if (run.error != NULL)
        g_propagate_error(error, run.error);
    return run.error == NULL;
}
