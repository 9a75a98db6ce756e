/* Reading one receipt; the same for the HTTP body and the MQTT payload. */
#include "engine/receipt.h"

#include <string.h>

static const char *const event_words[] = {
    [RECEIPT_SHOWN] = "shown", [RECEIPT_OPENED] = "opened", NULL};

const char *receipt_event_name(enum receipt_event event)
{
    return event_words[event];
}

static bool alert_id_valid(const char *text)
{
    return text[0] != '\0' &&
           text[strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-")] == '\0';
}

void receipt_read(struct json_reader *reader, struct receipt *out)
{
    const char *alert = json_read_string(reader, "alert", RECEIPT_ALERT_ID_MAX, true);
    const char *event = json_read_word(reader, "event", event_words, true);

    memset(out, 0, sizeof(*out));
    out->version = (int)json_read_int(reader, "v", 1, 1000000, 1, true);
    out->event =
        g_strcmp0(event, event_words[RECEIPT_OPENED]) == 0 ? RECEIPT_OPENED : RECEIPT_SHOWN;
    if (alert == NULL)
        return;
    if (alert_id_valid(alert))
        g_strlcpy(out->alert_id, alert, sizeof(out->alert_id));
    else
        json_reader_complain(reader, "alert", "must be the alert's id as it came in the push");
}

/* "alert: …; event: …" */
static char *complaints_text(const struct json_reader *reader)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        const char *name, *detail;
        json_reader_complaint(reader, i, &name, &detail);
        g_string_append_printf(text, "%s%s: %s", i > 0 ? "; " : "", name, detail);
    }
    return g_string_free(text, FALSE);
}

bool receipt_parse(const char *text, size_t len, int64_t device_id, struct receipt *out,
                   GError **error)
{
    g_autoptr(json_t) object = json_parse_object(text, len, RECEIPT_BODY_MAX, error);
    struct receipt receipt;

    if (object == NULL)
        return false;
    loa_auto(json_reader) reader = json_reader_new(object);
    receipt_read(reader, &receipt);
    json_reader_end(reader);
    if (json_reader_complaints(reader) > 0) {
        g_autofree char *what = complaints_text(reader);
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s", what);
        return false;
    }
    receipt.device_id = device_id;
    *out = receipt;
    return true;
}
