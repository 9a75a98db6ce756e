/* The broadcast struct, its words and states, and the messages made from it. The checks of a new
 * draft stand in broadcast_prepare.c, the signatures in release.c, SQL in broadcast_store.c. */
#include "engine/broadcast.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/channel.h"

#define BROADCAST_WORD(id, word) word,
const char *const broadcast_realm_words[] = {BROADCAST_REALMS(BROADCAST_WORD) NULL};
const char *const broadcast_kind_words[] = {BROADCAST_KINDS(BROADCAST_WORD) NULL};
const char *const broadcast_level_words[] = {BROADCAST_LEVELS(BROADCAST_WORD) NULL};
const char *const broadcast_class_words[] = {BROADCAST_CLASSES(BROADCAST_WORD) NULL};
const char *const broadcast_state_words[] = {BROADCAST_STATES(BROADCAST_WORD) NULL};
const char *const broadcast_scope_words[] = {BROADCAST_SCOPES(BROADCAST_WORD) NULL};

const char *broadcast_realm_name(enum broadcast_realm realm)
{
    assert(realm < BROADCAST_REALM_COUNT);
    return broadcast_realm_words[realm];
}

const char *broadcast_kind_name(enum broadcast_kind kind)
{
    assert(kind < BROADCAST_KIND_COUNT);
    return broadcast_kind_words[kind];
}

const char *broadcast_level_name(enum broadcast_level level)
{
    assert(level < BROADCAST_LEVEL_COUNT);
    return broadcast_level_words[level];
}

const char *broadcast_class_name(enum broadcast_class cls)
{
    assert(cls < BROADCAST_CLASS_COUNT);
    return broadcast_class_words[cls];
}

const char *broadcast_state_name(enum broadcast_state state)
{
    assert(state < BROADCAST_STATE_COUNT);
    return broadcast_state_words[state];
}

const char *broadcast_scope_name(enum broadcast_scope scope)
{
    assert(scope < BROADCAST_SCOPE_COUNT);
    return broadcast_scope_words[scope];
}

int broadcast_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

void broadcast_set(char **field, const char *value)
{
    char *copy = g_strdup(value != NULL ? value : "");

    g_free(*field);
    *field = copy;
}

static void text_free(void *item)
{
    struct broadcast_text *text = item;

    g_free(text->language);
    g_free(text->title);
    g_free(text->body);
    g_free(text->instruction);
    g_free(text->correction_title);
    g_free(text->correction_body);
    g_free(text);
}

struct broadcast *broadcast_new(void)
{
    struct broadcast *b = g_new0(struct broadcast, 1);

    b->version = 1;
    b->type = MESSAGE_ALERT;
    b->alert_id = g_strdup("");
    b->communes = g_new0(char *, 1);
    b->areas = g_strdup("");
    b->url = g_strdup("");
    b->source_document = g_strdup("");
    b->creator_name = g_strdup("");
    b->approver_name = g_strdup("");
    b->key_id = g_strdup("");
    b->texts = g_ptr_array_new_with_free_func(text_free);
    return b;
}

void broadcast_free(struct broadcast *b)
{
    if (b == NULL)
        return;
    g_free(b->alert_id);
    g_strfreev(b->communes);
    g_free(b->areas);
    g_free(b->url);
    g_free(b->source_document);
    g_free(b->creator_name);
    g_free(b->approver_name);
    g_free(b->key_id);
    g_ptr_array_unref(b->texts);
    g_free(b);
}

struct broadcast_text *broadcast_text_add(struct broadcast *b, const char *language)
{
    struct broadcast_text *text;

    for (guint i = 0; i < b->texts->len; i++) {
        text = b->texts->pdata[i];
        if (strcmp(text->language, language) == 0)
            return text;
    }
    if (b->texts->len == BROADCAST_LANGUAGES_MAX)
        return NULL;
    text = g_new0(struct broadcast_text, 1);
    text->language = g_strdup(language);
    text->title = g_strdup("");
    text->body = g_strdup("");
    text->instruction = g_strdup("");
    text->correction_title = g_strdup("");
    text->correction_body = g_strdup("");
    g_ptr_array_add(b->texts, text);
    return text;
}

const struct broadcast_text *broadcast_text_find(const struct broadcast *b, const char *language)
{
    for (guint i = 0; i < b->texts->len; i++) {
        const struct broadcast_text *text = b->texts->pdata[i];
        if (strcmp(text->language, language) == 0)
            return text;
    }
    return NULL;
}

enum broadcast_class broadcast_class_of(enum broadcast_realm realm, enum broadcast_kind kind,
                                        enum broadcast_level level)
{
    if (realm != BROADCAST_LIVE)
        return BROADCAST_CLASS_DIEN_TAP;
    if (kind == BROADCAST_CANH_BAO && level == BROADCAST_KHAN_CAP)
        return BROADCAST_CLASS_KHAN_CAP;
    return level == BROADCAST_THUONG ? BROADCAST_CLASS_THUONG : BROADCAST_CLASS_UU_TIEN;
}

bool broadcast_is_emergency(const struct broadcast *b)
{
    return broadcast_class_of(b->realm, b->kind, b->level) == BROADCAST_CLASS_KHAN_CAP;
}

bool broadcast_next_state(enum broadcast_state state, enum broadcast_event event,
                          enum broadcast_state *out, GError **error)
{
    static const struct {
        bool allowed;
        enum broadcast_state next;
    } table[BROADCAST_STATE_COUNT][BROADCAST_EVENT_COUNT] = {
        [BROADCAST_DRAFT] = {[BROADCAST_EVENT_RELEASE] = {true, BROADCAST_RELEASED},
                             [BROADCAST_EVENT_CANCEL] = {true, BROADCAST_WITHDRAWN}},
        [BROADCAST_RELEASED] = {[BROADCAST_EVENT_CANCEL] = {true, BROADCAST_CANCELLED}},
    };
    static const char *const events[] = {"released", "cancelled"};

    assert(state < BROADCAST_STATE_COUNT && event < BROADCAST_EVENT_COUNT);
    if (!table[state][event].allowed) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT,
                    "a broadcast in state \"%s\" cannot be %s", broadcast_state_name(state),
                    events[event]);
        return false;
    }
    *out = table[state][event].next;
    return true;
}

bool broadcast_check_approver(const struct broadcast *b, int64_t approver_id, GError **error)
{
    if (b->type == MESSAGE_ALERT && approver_id == b->creator_id) {
        g_set_error_literal(
            error, LOA_ERROR, LOA_ERROR_DENIED,
            "creator and approver must be two people: the account that created this "
            "broadcast cannot release it");
        return false;
    }
    return true;
}

struct broadcast *broadcast_correction(const struct broadcast *original)
{
    struct broadcast *b = broadcast_new();

    broadcast_set(&b->alert_id, original->alert_id);
    b->version = original->version + 1;
    b->type = MESSAGE_CANCEL;
    b->corrects = original->id;
    b->realm = original->realm;
    b->kind = original->kind;
    b->level = original->level;
    b->cls = original->cls;
    b->scope = original->scope;
    g_strfreev(b->communes);
    b->communes = g_strdupv(original->communes);
    broadcast_set(&b->areas, original->areas);
    broadcast_set(&b->url, original->url);
    broadcast_set(&b->source_document, original->source_document);
    b->expires_utc_us = original->expires_utc_us;
    b->receipt_window_s = original->receipt_window_s;
    for (guint i = 0; i < original->texts->len; i++) {
        const struct broadcast_text *from = original->texts->pdata[i];
        struct broadcast_text *to = broadcast_text_add(b, from->language);
        broadcast_set(&to->title, from->correction_title);
        broadcast_set(&to->body, from->correction_body);
    }
    return b;
}

void broadcast_message(const struct broadcast *b, const char *language, struct message *out)
{
    const struct broadcast_text *text = broadcast_text_find(b, language);

    if (text == NULL)
        text = broadcast_text_find(b, "vi");
    assert(text != NULL); /* decode and prepare refuse a broadcast without Vietnamese */
    *out = (struct message){
        .type = b->type,
        .alert_id = b->alert_id,
        .version = b->version,
        .kind = broadcast_kind_name(b->kind),
        .level = broadcast_level_name(b->level),
        .cls = broadcast_class_name(b->cls),
        .realm = broadcast_realm_name(b->realm),
        .issued_s = b->released_utc_us / USEC_PER_SEC,
        .expires_s = b->expires_utc_us / USEC_PER_SEC,
        .title = text->title,
        .body = text->body,
        .instruction = text->instruction,
        .areas = b->areas,
        .language = text->language,
        .url = b->url,
        .source_document = b->source_document,
        .receipt_window_s = b->receipt_window_s,
        .key_id = b->key_id,
        .is_signed = text->is_signed,
        .store = true,
    };
    memcpy(out->signature, text->signature, sizeof(out->signature));
}

char *broadcast_make_alert_id(int64_t now_utc_us, const uint8_t random[4])
{
    static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(now_utc_us / USEC_PER_SEC);
    g_autoptr(GDateTime) local = g_date_time_add_seconds(utc, BROADCAST_UTC_OFFSET_S);
    uint32_t bits = ((uint32_t)random[0] << 24) | ((uint32_t)random[1] << 16) |
                    ((uint32_t)random[2] << 8) | random[3];
    char tail[7] = "";

    for (int i = 0; i < 6; i++, bits >>= 5)
        tail[i] = crockford[bits & 31];
    return g_strdup_printf("%04d%02d%02d-%s", g_date_time_get_year(local),
                           g_date_time_get_month(local), g_date_time_get_day_of_month(local), tail);
}

static const char *measured_what(const struct broadcast *b)
{
    return b->type == MESSAGE_CANCEL ? "correction" : "text";
}

static bool fits_channel(const struct broadcast *b, struct channel *channel,
                         const struct message *messages, GError **error)
{
    for (guint i = 0; i < b->texts->len; i++) {
        struct channel_payload *payload = channel->ops->render(channel, &messages[i], error);
        if (payload == NULL) {
            g_prefix_error(error, "%s, language %s, channel %s: ", measured_what(b),
                           messages[i].language, channel->name);
            return false;
        }
        channel->ops->payload_free(payload);
    }
    return true;
}

static bool measure_one(const struct broadcast *b, const struct broadcast_meter *meter,
                        const char *key_id, int64_t now_utc_us, GError **error)
{
    struct message messages[BROADCAST_LANGUAGES_MAX];

    for (guint i = 0; i < b->texts->len; i++) {
        const struct broadcast_text *text = b->texts->pdata[i];
        broadcast_message(b, text->language, &messages[i]);
        messages[i].issued_s = now_utc_us / USEC_PER_SEC;
        messages[i].key_id = key_id;
        messages[i].is_signed = true; /* zeros: base64 of a signature is always 86 characters */
    }
    for (size_t i = 0; i < meter->n_channels; i++)
        if (!fits_channel(b, meter->channels[i], messages, error))
            return false;
    if (meter->fits_together != NULL && !meter->fits_together(messages, b->texts->len, error)) {
        g_prefix_error(error, "%s, all languages together: ", measured_what(b));
        return false;
    }
    return true;
}

bool broadcast_measure(const struct broadcast *b, const struct broadcast_meter *meter,
                       const char *key_id, int64_t now_utc_us, GError **error)
{
    loa_auto(broadcast) correction = NULL;

    if (b->type == MESSAGE_ALERT)
        correction = broadcast_correction(b);
    return measure_one(b, meter, key_id, now_utc_us, error) &&
           (correction == NULL || measure_one(correction, meter, key_id, now_utc_us, error));
}
