/* The fields of a push (engine/message.h), sorted into those that all languages share and those of
 * one text. */
#include "engine/public_json.h"

#include <inttypes.h>

#include "base/clock.h"

json_t *public_alert_json(const struct broadcast *broadcast, bool expired)
{
    static const char *const text_fields[] = {"title", "body", "instruction", "lang", "sig", NULL};
    static const char *const shared_fields[] = {"type",  "alert",  "v",      "kind",    "level",
                                                "class", "realm",  "issued", "expires", "areas",
                                                "url",   "source", "window", "key",     NULL};
    struct message message;
    json_t *object, *texts = json_object();

    broadcast_message(broadcast, "vi", &message);
    object = message_to_json(&message, text_fields);
    for (guint i = 0; i < broadcast->texts->len; i++) {
        const struct broadcast_text *text = g_ptr_array_index(broadcast->texts, i);
        json_t *one;
        broadcast_message(broadcast, text->language, &message);
        one = message_to_json(&message, shared_fields);
        json_object_del(one, "lang");
        json_object_set_new(texts, text->language, one);
    }
    json_object_set_new(object, "texts", texts);
    json_object_set_new(object, "state",
                        json_string(broadcast->type == MESSAGE_CANCEL ? "cancelled"
                                    : expired                         ? "expired"
                                                                      : "active"));
    return object;
}

json_t *public_list_json(json_t *alerts, int64_t next)
{
    json_t *list = json_object();
    char text[24];

    json_object_set_new(list, "alerts", alerts);
    g_snprintf(text, sizeof(text), "%" PRId64, next);
    json_object_set_new(list, "next", next != 0 ? json_string(text) : json_null());
    return list;
}

char *public_json_text(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    return text;
}

int64_t public_changed_s(const struct broadcast *broadcast, bool expired)
{
    int64_t at_us = broadcast->released_utc_us;

    if (expired && broadcast->type != MESSAGE_CANCEL)
        at_us = MAX(at_us, broadcast->expires_utc_us);
    return at_us / USEC_PER_SEC + broadcast->version - 1;
}
