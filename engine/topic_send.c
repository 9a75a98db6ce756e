/* The order of things: check, lock, check again, record, commit; only then does anything leave. */
#include "engine/topic_send.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/account_store.h"
#include "engine/audit_store.h"
#include "engine/broadcast_store.h"
#include "engine/stop_store.h"

static void item_free(void *data)
{
    struct topic_send_item *item = data;

    g_free(item->topic);
    g_free(item->message_name);
    g_free(item->detail);
    g_free(item);
}

void topic_send_free(struct topic_send *send)
{
    if (send == NULL)
        return;
    broadcast_free(send->broadcast);
    g_ptr_array_unref(send->items);
    g_free(send);
}

/* ---- may it be sent? ---- */

static bool check_stops(struct db *db, int64_t id, GError **error)
{
    g_autofree char *own = g_strdup_printf("broadcast:%" PRId64, id);
    const char *const scopes[] = {"all", "channel:fcm", own, NULL};
    g_autoptr(GPtrArray) stops = stop_store_list(db, error);

    if (stops == NULL)
        return false;
    for (guint i = 0; i < stops->len; i++) {
        const struct stop *stop = stops->pdata[i];
        if (!g_strv_contains(scopes, stop->scope))
            continue;
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "nothing leaves: %s is stopped by %s (%s); loa resume first", stop->scope,
                    stop->by_name, stop->reason);
        return false;
    }
    return true;
}

/* Who has taken it back gets told what to send instead. */
static bool check_state(struct db *db, const struct broadcast *b, GError **error)
{
    g_autoptr(GPtrArray) owed = NULL;

    if (b->state == BROADCAST_RELEASED)
        return true;
    if (b->state != BROADCAST_CANCELLED) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "%s is %s: only what two people have released is sent", b->alert_id,
                    broadcast_state_name(b->state));
        return false;
    }
    owed = topic_store_owed(db, b->id, error);
    if (owed == NULL)
        return false;
    if (owed->len > 0)
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "%s was taken back; its correction is owed: loa topic send %" PRId64,
                    b->alert_id, ((const struct topic_owed *)owed->pdata[0])->correction_id);
    else
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "%s was taken back; loa broadcast list shows its correction", b->alert_id);
    return false;
}

static bool check(const struct broadcast_actor *actor, const struct broadcast *b, GError **error)
{
    int64_t now_utc_us;

    if (!check_state(actor->db, b, error) || !broadcast_store_now(actor->db, &now_utc_us, error))
        return false;
    if (b->expires_utc_us <= now_utc_us) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "%s has expired", b->alert_id);
        return false;
    }
    return release_verify(b, actor->release_keys, error) && check_stops(actor->db, b->id, error);
}

/* A row that cannot be decoded is none that Loa wrote: the same as a wrong signature. */
static struct broadcast *verified(struct broadcast *b, GError *failure, GError **error)
{
    if (b != NULL)
        return b;
    if (g_error_matches(failure, LOA_ERROR, LOA_ERROR_INTERNAL))
        failure->code = LOA_ERROR_DENIED;
    g_propagate_error(error, failure);
    return NULL;
}

struct broadcast *topic_send_check(const struct broadcast_actor *actor, int64_t id, GError **error)
{
    GError *failure = NULL;
    loa_auto(broadcast) b = broadcast_load(actor->db, id, &failure);

    b = verified(b, failure, error);
    return b != NULL && check(actor, b, error) ? g_steal_pointer(&b) : NULL;
}

/* ---- the act ---- */

/* Communes, "" for the whole province. Owned vector. */
static char **targets_of(const struct broadcast *b)
{
    GPtrArray *communes = g_ptr_array_new();

    if (b->scope == BROADCAST_TOAN_TINH || b->type == MESSAGE_CANCEL)
        g_ptr_array_add(communes, g_strdup(""));
    for (char **code = b->communes; *code != NULL; code++)
        g_ptr_array_add(communes, g_strdup(*code));
    g_ptr_array_add(communes, NULL);
    return (char **)g_ptr_array_free(communes, FALSE);
}

static const struct topic_message *find_state(const GPtrArray *messages, const char *commune,
                                              enum topic_message_state state)
{
    for (guint i = 0; i < messages->len; i++) {
        const struct topic_message *m = messages->pdata[i];
        if (m->state == state && (commune == NULL || strcmp(m->commune, commune) == 0))
            return m;
    }
    return NULL;
}

static bool add_item(const struct broadcast_actor *actor, struct topic_send *send,
                     const char *commune, const struct topic_send_options *options, GError **error)
{
    struct topic_send_item *item = g_new0(struct topic_send_item, 1);

    g_ptr_array_add(send->items, item);
    item->topic = options->name(broadcast_realm_name(send->broadcast->realm), commune);
    item->state = TOPIC_SENDING;
    item->message_name = g_strdup("");
    item->detail = g_strdup("");
    return topic_store_add_message(actor->db, send->broadcast->id, actor->account, commune,
                                   item->topic, options->reason, &item->id, error);
}

static bool already(const struct broadcast *b, const struct topic_message *m, GError **error)
{
    g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                "%s v%d was sent to topic %s already, by %s; phones drop a repeat: say --again to "
                "send it once more",
                b->alert_id, b->version, m->topic, m->by_name);
    return false;
}

static bool add_items(const struct broadcast_actor *actor, struct topic_send *send,
                      const struct topic_send_options *options, GError **error)
{
    const struct broadcast *b = send->broadcast;
    g_auto(GStrv) targets = targets_of(b);
    g_autoptr(GPtrArray) messages = NULL;
    const struct topic_message *done = NULL;

    if (!topic_store_settle_lost(actor->db, b->id, TOPIC_SEND_LIMIT_S, error) ||
        (messages = topic_store_messages(actor->db, b->id, error)) == NULL)
        return false;
    if (find_state(messages, NULL, TOPIC_SENDING) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "somebody is sending %s right now",
                    b->alert_id);
        return false;
    }
    for (char **commune = targets; *commune != NULL; commune++) {
        const struct topic_message *m = find_state(messages, *commune, TOPIC_ACCEPTED);
        if (m != NULL && !options->again)
            done = m;
        else if (!add_item(actor, send, *commune, options, error))
            return false;
    }
    return send->items->len > 0 || already(b, done, error);
}

static bool audit(const struct broadcast_actor *actor, const char *act, int64_t id,
                  const char *detail, GError **error)
{
    g_autofree char *object = g_strdup_printf("broadcast:%" PRId64, id);

    return audit_store_add(actor->db, actor->account, act, object, detail, error);
}

/* The account as it is now: it may have been disabled since the caller looked. */
static bool actor_may_act(const struct broadcast_actor *actor, GError **error)
{
    g_autofree char *id = g_strdup_printf("%" PRId64, actor->account->id);
    loa_auto(account) now = account_store_find(actor->db, id, error);

    return now != NULL && account_may_act(now, actor->account_key, error);
}

static bool begin_in_transaction(const struct broadcast_actor *actor, int64_t id,
                                 const struct topic_send_options *options, struct topic_send *send,
                                 GError **error)
{
    GError *failure = NULL;
    struct broadcast *b;
    g_autoptr(GString) detail = g_string_new(NULL);

    if (!actor_may_act(actor, error))
        return false;
    b = broadcast_load_locked(actor->db, id, &failure);
    send->broadcast = verified(b, failure, error);
    if (send->broadcast == NULL || !check(actor, send->broadcast, error) ||
        !add_items(actor, send, options, error))
        return false;
    for (guint i = 0; i < send->items->len; i++)
        g_string_append_printf(detail, "%s%s", i > 0 ? ", " : "",
                               ((const struct topic_send_item *)send->items->pdata[i])->topic);
    g_string_append_printf(detail, ": %s", options->reason);
    return audit(actor, "topic_requested", id, detail->str, error);
}

struct topic_send *topic_send_begin(const struct broadcast_actor *actor, int64_t id,
                                    const struct topic_send_options *options, GError **error)
{
    loa_auto(topic_send) send = g_new0(struct topic_send, 1);

    send->items = g_ptr_array_new_with_free_func(item_free);
    if (!db_begin(actor->db, error))
        return NULL;
    if (!begin_in_transaction(actor, id, options, send, error) || !db_commit(actor->db, error)) {
        db_rollback(actor->db);
        return NULL;
    }
    return g_steal_pointer(&send);
}

bool topic_send_settle(const struct broadcast_actor *actor, struct topic_send_item *item,
                       enum topic_message_state state, const char *message_name, const char *detail,
                       GError **error)
{
    item->state = state;
    g_free(item->message_name);
    item->message_name = g_strdup(message_name);
    g_free(item->detail);
    item->detail = g_strdup(detail);
    return topic_store_settle_message(actor->db, item->id, state, message_name, detail, error);
}

bool topic_send_end(const struct broadcast_actor *actor, const struct topic_send *send,
                    GError **error)
{
    g_autofree char *detail = NULL;
    unsigned accepted = 0;

    for (guint i = 0; i < send->items->len; i++)
        accepted +=
            ((const struct topic_send_item *)send->items->pdata[i])->state == TOPIC_ACCEPTED;
    detail = g_strdup_printf("accepted by %u of %u topics", accepted, send->items->len);
    return audit(actor, "topic_sent", send->broadcast->id, detail, error);
}
