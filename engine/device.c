/* Rules of a registration: syntax of each field first, then what the fields mean together. The
 * token is spliced into requests to the providers, so its alphabet is closed here, once. */
#include "engine/device.h"

#include <assert.h>
#include <string.h>

static const char *const platform_words[] = {"fcm", "apns", "mqtt", NULL};
static const char *const id_kind_words[] = {"token", "fid", NULL};
static const char *const environment_words[] = {"production", "sandbox", NULL};

static bool all_of(const char *text, const char *extra)
{
    for (; *text != '\0'; text++)
        if (!g_ascii_isalnum(*text) && strchr(extra, *text) == NULL)
            return false;
    return true;
}

/* BCP 47 as the database wants it: "vi", "tyz", "zh-Hant". */
static bool language_valid(const char *text)
{
    size_t primary = 0;
    size_t sub;

    while (g_ascii_islower(text[primary]))
        primary++;
    if (primary < 2 || primary > 3)
        return false;
    if (text[primary] == '\0')
        return true;
    if (text[primary] != '-')
        return false;
    sub = strlen(text + primary + 1);
    return sub >= 2 && sub <= 8 && all_of(text + primary + 1, "");
}

static bool commune_form_valid(const char *text)
{
    return strlen(text) == 5 && strspn(text, "0123456789") == 5;
}

static const char *read_line(struct json_reader *reader, const char *name, size_t max)
{
    const char *text = json_read_string(reader, name, max, false);

    if (text != NULL && strpbrk(text, "\n\t") != NULL) {
        json_reader_complain(reader, name, "must be one line without tabs");
        return NULL;
    }
    return text;
}

static const char *read_checked(struct json_reader *reader, const char *name, size_t max,
                                bool (*valid)(const char *), const char *complaint)
{
    const char *text = read_line(reader, name, max);

    if (text != NULL && !valid(text)) {
        json_reader_complain(reader, name, complaint);
        return NULL;
    }
    return text;
}

static bool commune_valid(const char *text)
{
    return text[0] == '\0' || commune_form_valid(text);
}

static bool token_valid(const char *text)
{
    return text[0] != '\0' && all_of(text, "_-:.~%+/=");
}

/* Two fallbacks tell an absent (or wrong, then complained of) field from a told one. */
static int read_flag(struct json_reader *reader, const char *name)
{
    bool if_false = json_read_bool(reader, name, false);

    return if_false == json_read_bool(reader, name, true) ? (int)if_false : -1;
}

void device_told_read(struct json_reader *reader, bool registering, struct device_told *out)
{
    out->platform = json_read_word(reader, "platform", platform_words, registering);
    out->id_kind = json_read_word(reader, "id_kind", id_kind_words, false);
    out->token =
        read_checked(reader, "token", DEVICE_TOKEN_MAX, token_valid,
                     "must be the provider's token: letters, digits and _ - : . ~ % + / = only");
    out->environment = json_read_word(reader, "environment", environment_words, false);
    out->os = read_line(reader, "os", DEVICE_OS_MAX);
    out->language = read_checked(reader, "language", DEVICE_LANGUAGE_MAX, language_valid,
                                 "must be a language tag such as vi, tyz, hmn or en");
    out->commune = read_checked(reader, "commune", 5, commune_valid,
                                "must be a five-digit commune code, or empty for none");
    out->app_version = read_line(reader, "app_version", DEVICE_APP_VERSION_MAX);
    out->mqtt = read_flag(reader, "mqtt");
    out->silent_information = read_flag(reader, "silent_information");
}

static bool apns_token_valid(const char *token)
{
    size_t len = strlen(token);

    return len >= DEVICE_APNS_TOKEN_MIN && len <= DEVICE_APNS_TOKEN_MAX && len % 2 == 0 &&
           strspn(token, "0123456789abcdef") == len;
}

/* The push half of a state: which provider, which token. out->channel is left NULL without one. */
static void merge_push(const struct device_state *before, const struct device_told *told,
                       struct json_reader *reader, struct device_state *out)
{
    const char *platform = told->platform;
    bool same = before != NULL && before->push_token != NULL &&
                (platform == NULL || strcmp(platform, before->channel) == 0);
    bool fcm, apns;

    if (platform == NULL && same)
        platform = before->channel;
    fcm = g_strcmp0(platform, "fcm") == 0;
    apns = g_strcmp0(platform, "apns") == 0;
    if (told->id_kind != NULL && !fcm)
        json_reader_complain(reader, "id_kind", "belongs to platform fcm only; leave it out");
    if (told->environment != NULL && !apns)
        json_reader_complain(reader, "environment", "belongs to platform apns only; leave it out");
    if (told->token != NULL && !fcm && !apns)
        json_reader_complain(reader, "token",
                             "belongs to a platform fcm or apns; tell the platform with it");
    if (!fcm && !apns)
        return;
    out->channel = platform;
    out->push_token = told->token != NULL ? told->token : same ? before->push_token : NULL;
    out->id_kind = told->id_kind != NULL ? told->id_kind : same ? before->id_kind : "token";
    if (apns)
        out->apns_environment = told->environment != NULL ? told->environment
                                : same                    ? before->apns_environment
                                                          : "production";
    if (out->push_token == NULL)
        json_reader_complain(reader, "token", "is needed with platform fcm or apns");
    else if (told->id_kind != NULL && told->token == NULL && same &&
             strcmp(told->id_kind, before->id_kind) != 0)
        json_reader_complain(reader, "token", "is needed when id_kind changes");
    else if (apns && !apns_token_valid(out->push_token))
        json_reader_complain(reader, "token",
                             "must be the APNs device token: 64 to 200 lower-case hex digits");
}

/* A device without a push token counts on MQTT; one with neither is unregistered by DELETE. */
static void merge_mqtt(const struct device_state *before, const struct device_told *told,
                       struct json_reader *reader, struct device_state *out)
{
    bool only_mqtt = g_strcmp0(told->platform, "mqtt") == 0;

    out->mqtt = told->mqtt >= 0 ? told->mqtt == 1 : only_mqtt || (before != NULL && before->mqtt);
    if (only_mqtt && !out->mqtt)
        json_reader_complain(reader, "mqtt", "cannot be false on platform mqtt; leave it out");
    if (out->channel != NULL)
        return;
    if (!out->mqtt && before != NULL && strcmp(before->channel, "mqtt") == 0)
        json_reader_complain(reader, "mqtt",
                             "is this device's only channel; tell a push token with it, or "
                             "unregister with DELETE");
    out->channel = out->mqtt ? "mqtt" : "none";
}

void device_merge(const struct device_state *before, const struct device_told *told,
                  GHashTable *communes, struct json_reader *reader, struct device_state *out)
{
    *out = before != NULL ? *before
                          : (struct device_state){.os = "", .app_version = "", .language = "vi"};
    out->channel = out->id_kind = out->push_token = out->apns_environment = NULL;
    merge_push(before, told, reader, out);
    merge_mqtt(before, told, reader, out);
    if (told->os != NULL)
        out->os = told->os;
    if (told->app_version != NULL)
        out->app_version = told->app_version;
    if (told->language != NULL)
        out->language = told->language;
    if (told->silent_information >= 0)
        out->silent_information = told->silent_information == 1;
    if (told->commune != NULL) {
        out->commune = told->commune[0] != '\0' ? told->commune : NULL;
        if (out->commune != NULL && !g_hash_table_contains(communes, out->commune))
            json_reader_complain(reader, "commune",
                                 "is not a commune of this province; see the list of codes");
    }
}

bool device_key_valid(const char *key)
{
    size_t len = strlen(key);

    if (len < DEVICE_KEY_MIN || len > DEVICE_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isgraph(key[i]))
            return false;
    return true;
}

const char *device_token_tail(const char *token)
{
    size_t len = strlen(token);

    return len > 6 ? token + len - 6 : token;
}
