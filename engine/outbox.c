/* Rules of targeted notifications; SQL in outbox_store.c, sending in outbox_worker.c. */
#include "engine/outbox.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "engine/broadcast.h"

static bool wrong(GError **error, const char *message)
{
    g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, message);
    return false;
}

static bool is_text(const char *text, size_t max)
{
    return text != NULL && text[0] != '\0' && strlen(text) <= max &&
           g_utf8_validate(text, -1, NULL);
}

bool outbox_check(const struct notification *n, GError **error)
{
    int cls =
        n->cls != NULL ? broadcast_word(broadcast_class_words, n->cls) : BROADCAST_CLASS_PHAN_ANH;

    if (!is_text(n->key, OUTBOX_KEY_MAX))
        return wrong(error, "key: 1 to 200 bytes that name the event");
    if ((n->account_id != 0) == (n->device_id != 0))
        return wrong(error, "to: an account or a device");
    if (cls < 0 || cls == BROADCAST_CLASS_KHAN_CAP)
        return wrong(error, "class: uu_tien, thuong, phan_anh or dien_tap");
    if (n->priority < 0 || n->priority > 9)
        return wrong(error, "priority: 1 to 9");
    if (!is_text(n->title, MESSAGE_TITLE_MAX))
        return wrong(error, "title: 1 to 200 bytes");
    if (!is_text(n->body, MESSAGE_BODY_MAX))
        return wrong(error, "body: 1 to 2400 bytes");
    if (n->url != NULL && n->url[0] != '\0' &&
        (!is_text(n->url, MESSAGE_URL_MAX) || !g_str_has_prefix(n->url, "https://")))
        return wrong(error, "url: an https:// address of at most 300 bytes");
    if (n->expires_utc_us <= n->not_before_utc_us)
        return wrong(error, "expires: later than not-before");
    return true;
}

void outbox_message(const char *title, const char *body, const char *url, const char *cls,
                    int64_t id, int64_t created_utc_us, int64_t expires_utc_us,
                    char alert_id_buffer[32], struct message *out)
{
    g_snprintf(alert_id_buffer, 32, "n%" PRId64, id);
    *out = (struct message){
        .type = MESSAGE_NOTICE,
        .alert_id = alert_id_buffer,
        .version = 1,
        .kind = "",
        .level = strcmp(cls, "uu_tien") == 0 ? "uu_tien" : "thuong",
        .cls = cls,
        .realm = strcmp(cls, "dien_tap") == 0 ? "exercise" : "live",
        .issued_s = created_utc_us / USEC_PER_SEC,
        .expires_s = expires_utc_us / USEC_PER_SEC,
        .title = title,
        .body = body,
        .instruction = "",
        .areas = "",
        .language = "vi",
        .url = url,
        .source_document = "",
        .receipt_window_s = OUTBOX_RECEIPT_WINDOW_S,
        .key_id = "",
        .store = true,
    };
}
