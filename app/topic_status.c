/* What `loa broadcast status` says of topics: apart from everything that is counted per device. */
#include <inttypes.h>
#include <string.h>

#include "app/text.h"
#include "app/topic_publish.h"

bool topic_status_read(struct db *db, const struct broadcast *b, struct topic_status *out,
                       GError **error)
{
    topic_status_clear(out);
    out->messages = topic_store_messages(db, b->id, error);
    if (out->messages != NULL)
        out->owed = topic_store_owed(db, b->type == MESSAGE_CANCEL ? b->corrects : b->id, error);
    return out->owed != NULL;
}

void topic_status_clear(struct topic_status *status)
{
    g_clear_pointer(&status->messages, g_ptr_array_unref);
    g_clear_pointer(&status->owed, g_ptr_array_unref);
}

static int64_t correction_owed(const struct topic_status *status)
{
    return status->owed->len > 0
               ? ((const struct topic_owed *)status->owed->pdata[0])->correction_id
               : 0;
}

void topic_status_append(const struct topic_status *status, GString *out)
{
    for (guint i = 0; i < status->messages->len; i++) {
        const struct topic_message *m = status->messages->pdata[i];
        g_autofree char *at = text_time(m->requested_utc_us);
        g_string_append_printf(out, "sent to topic %s at %s by %s, ", m->topic, at, m->by_name);
        if (m->state == TOPIC_ACCEPTED)
            g_string_append(out, "accepted by FCM; no per-device outcome\n");
        else if (m->state == TOPIC_SENDING)
            g_string_append(out, "not answered yet\n");
        else
            g_string_append_printf(out, "%s: %s\n",
                                   m->state == TOPIC_REFUSED   ? "REFUSED by FCM"
                                   : m->state == TOPIC_UNKNOWN ? "no answer, it may have been taken"
                                                               : "NOT taken",
                                   m->detail);
    }
    if (correction_owed(status) != 0)
        g_string_append_printf(out,
                               "OWED: the alert went to topics, its correction has not: loa topic "
                               "send %" PRId64 "\n",
                               correction_owed(status));
}

static json_t *message_json(const struct topic_message *m)
{
    g_autofree char *at = text_time(m->requested_utc_us);

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "topic", m->topic, "state",
                     topic_state_name(m->state), "at", at, "by", m->by_name, "reason", m->reason,
                     "message", m->message_name, "detail", m->detail);
}

json_t *topic_status_json(const struct topic_status *status)
{
    json_t *messages = json_array();
    int64_t owed = correction_owed(status);

    for (guint i = 0; i < status->messages->len; i++)
        json_array_append_new(messages, message_json(status->messages->pdata[i]));
    return json_pack("{s:o, s:o}", "messages", messages, "correction_owed",
                     owed != 0 ? json_integer((json_int_t)owed) : json_null());
}
