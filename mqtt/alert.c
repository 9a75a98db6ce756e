/* One message per language becomes one object: what they share stands once, the rest in "texts". */
#include "mqtt/alert.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

/* The fields of one language, in message_to_json's names. */
static json_t *language_texts(const struct message *message)
{
    static const char *const shared[] = {"alert",  "v",      "type",    "kind",  "level", "class",
                                         "realm",  "issued", "expires", "areas", "lang",  "url",
                                         "source", "window", "key",     NULL};
    return message_to_json(message, shared);
}

GBytes *mqtt_alert_render(const struct message *messages, size_t n, GError **error)
{
    static const char *const per_language[] = {"title", "body", "instruction", "lang", "sig", NULL};
    g_autoptr(json_t) object = NULL;
    json_t *texts = json_object();

    assert(n > 0);
    object = message_to_json(&messages[0], per_language);
    json_object_set_new(object, "texts", texts);
    for (size_t i = 0; i < n; i++)
        json_object_set_new(texts, messages[i].language, language_texts(&messages[i]));

    char *text = json_dumps(object, JSON_COMPACT);
    if (text == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "alert %s: a text is not valid UTF-8",
                    messages[0].alert_id);
        return NULL;
    }
    size_t len = strlen(text);
    GBytes *bytes = g_bytes_new_with_free_func(text, len, free, text);
    if (len > MQTT_PAYLOAD_MAX) {
        g_bytes_unref(bytes);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "alert %s: %zu bytes over MQTT in all languages, at most %d",
                    messages[0].alert_id, len, MQTT_PAYLOAD_MAX);
        return NULL;
    }
    return bytes;
}
