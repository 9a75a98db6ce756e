/* loa broadcast create: reads texts and options, stores a signed draft, prints the read-back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "app/acting.h"
#include "app/broadcast_command.h"
#include "app/meter.h"
#include "app/text.h"
#include "base/json.h"
#include "engine/broadcast_store.h"

#define TEXT_FILE_MAX 65536

struct create_options {
    struct acting_options acting;
    char *realm, *kind, *level, *communes, *expires, *url, *source, *idempotency_key;
    char *language, *title, *body, *instruction, *correction_title, *correction_body;
    char **texts; /* "vi=FILE" */
    gboolean province, again, json;
};

static void options_clear(struct create_options *o)
{
    acting_options_clear(&o->acting);
    g_free(o->realm);
    g_free(o->kind);
    g_free(o->level);
    g_free(o->communes);
    g_free(o->expires);
    g_free(o->url);
    g_free(o->source);
    g_free(o->idempotency_key);
    g_free(o->language);
    g_free(o->title);
    g_free(o->body);
    g_free(o->instruction);
    g_free(o->correction_title);
    g_free(o->correction_body);
    g_strfreev(o->texts);
}

static struct broadcast_text *add_text(struct broadcast *b, const char *language, GError **error)
{
    struct broadcast_text *text;

    if (broadcast_text_find(b, language) != NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "text: language %s is given twice",
                    language);
        return NULL;
    }
    text = broadcast_text_add(b, language);
    if (text == NULL)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "text: at most %d languages",
                    BROADCAST_LANGUAGES_MAX);
    return text;
}

/* Joins the reader's complaints into one error. */
static bool reader_is_content(struct json_reader *reader, const char *path, GError **error)
{
    g_autoptr(GString) all = g_string_new(NULL);

    json_reader_end(reader);
    for (size_t i = 0; i < json_reader_complaints(reader); i++) {
        const char *name, *detail;
        json_reader_complaint(reader, i, &name, &detail);
        g_string_append_printf(all, "%s%s: %s: %s", i > 0 ? "\n" : "", path, name, detail);
    }
    if (all->len > 0)
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, all->str);
    return all->len == 0;
}

/* {"title","body","instruction","correction_title","correction_body"} */
static bool read_text_file(struct broadcast_text *text, const char *path, GError **error)
{
    g_autofree char *data = NULL;
    g_autoptr(GError) cause = NULL;
    g_autoptr(json_t) object = NULL;
    loa_auto(json_reader) reader = NULL;
    gsize len;

    if (!g_file_get_contents(path, &data, &len, &cause)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "text: %s", cause->message);
        return false;
    }
    object = json_parse_object(data, len, TEXT_FILE_MAX, error);
    if (object == NULL) {
        g_prefix_error(error, "%s: ", path);
        return false;
    }
    reader = json_reader_new(object);
    broadcast_set(&text->title, json_read_string(reader, "title", MESSAGE_TITLE_MAX, true));
    broadcast_set(&text->body, json_read_string(reader, "body", MESSAGE_BODY_MAX, true));
    broadcast_set(&text->instruction,
                  json_read_string(reader, "instruction", MESSAGE_INSTRUCTION_MAX, false));
    broadcast_set(&text->correction_title,
                  json_read_string(reader, "correction_title", MESSAGE_TITLE_MAX, false));
    broadcast_set(&text->correction_body,
                  json_read_string(reader, "correction_body", MESSAGE_BODY_MAX, false));
    return reader_is_content(reader, path, error);
}

static bool read_texts(const struct create_options *o, struct broadcast *b, GError **error)
{
    for (size_t i = 0; o->texts != NULL && o->texts[i] != NULL; i++) {
        g_auto(GStrv) parts = g_strsplit(o->texts[i], "=", 2);
        struct broadcast_text *text;
        if (g_strv_length(parts) != 2) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "text: \"%s\" is not LANGUAGE=FILE",
                        o->texts[i]);
            return false;
        }
        text = add_text(b, parts[0], error);
        if (text == NULL || !read_text_file(text, parts[1], error))
            return false;
    }
    if (o->title != NULL || o->body != NULL || o->instruction != NULL) {
        struct broadcast_text *text = add_text(b, o->language != NULL ? o->language : "vi", error);
        if (text == NULL)
            return false;
        broadcast_set(&text->title, o->title);
        broadcast_set(&text->body, o->body);
        broadcast_set(&text->instruction, o->instruction);
    }
    return true;
}

/* --correction-title and --correction-body belong to --lang (Vietnamese unless told). */
static bool set_correction(const struct create_options *o, struct broadcast *b, GError **error)
{
    const char *language = o->language != NULL ? o->language : "vi";
    struct broadcast_text *text;

    if (o->correction_title == NULL && o->correction_body == NULL)
        return true;
    if (broadcast_text_find(b, language) == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "correction: there is no text in %s",
                    language);
        return false;
    }
    text = broadcast_text_add(b, language);
    if (o->correction_title != NULL)
        broadcast_set(&text->correction_title, o->correction_title);
    if (o->correction_body != NULL)
        broadcast_set(&text->correction_body, o->correction_body);
    return true;
}

/* A required word of a list. */
static bool read_word(const char *name, const char *value, const char *const *words, int *out,
                      GError **error)
{
    g_autofree char *choices = g_strjoinv(", ", (char **)words);

    *out = value != NULL ? broadcast_word(words, value) : -1;
    if (*out < 0)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: one of %s", name, choices);
    return *out >= 0;
}

static bool fill(const struct create_options *o, const struct settings *settings,
                 int64_t now_utc_us, struct broadcast *b, GError **error)
{
    int realm, kind, level;

    if (!read_word("realm", o->realm != NULL ? o->realm : "live", broadcast_realm_words, &realm,
                   error) ||
        !read_word("kind", o->kind, broadcast_kind_words, &kind, error) ||
        !read_word("level", o->level, broadcast_level_words, &level, error) ||
        !broadcast_set_area(b, o->province, o->communes, error) || !read_texts(o, b, error) ||
        !set_correction(o, b, error))
        return false;
    if (o->expires == NULL) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            "expires: say until when it holds, such as --expires 6h");
        return false;
    }
    b->realm = (enum broadcast_realm)realm;
    b->kind = (enum broadcast_kind)kind;
    b->level = (enum broadcast_level)level;
    b->receipt_window_s = settings->broadcast_receipt_window_s;
    broadcast_set(&b->url, o->url);
    broadcast_set(&b->source_document, o->source);
    return broadcast_parse_expiry(o->expires, now_utc_us, &b->expires_utc_us, error);
}

static void report(const struct create_options *o, struct acting *acting, struct broadcast *b,
                   const GPtrArray *notes, int64_t existing)
{
    for (guint i = 0; i < notes->len; i++)
        fprintf(stderr, "note: %s\n", (const char *)notes->pdata[i]);
    if (existing != 0)
        b->id = existing;
    if (o->json) {
        text_print_json(json_pack("{s:I, s:s, s:b}", "broadcast", (json_int_t)b->id, "alert",
                                  b->alert_id, "created", existing == 0));
        return;
    }
    broadcast_set(&b->creator_name, acting->account->name);
    if (existing != 0)
        printf("already created under this idempotency key:\n");
    broadcast_print(b);
    printf("Another account releases it: loa broadcast approve %" PRId64 " --as NAME\n", b->id);
}

static bool create(struct command *command, const struct create_options *o, struct acting *acting,
                   GError **error)
{
    const struct broadcast_create_options options = {.idempotency_key = o->idempotency_key,
                                                     .again = o->again};
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
    loa_auto(broadcast) b = broadcast_new();
    loa_auto(meter) meter = meter_open(command->settings, command->clock);
    int64_t now_utc_us, existing;

    if (!broadcast_store_now(acting->db, &now_utc_us, error) ||
        !fill(o, command->settings, now_utc_us, b, error))
        return false;
    acting->actor.meter = meter_get(meter);
    if (!broadcast_create(&acting->actor, b, &options, notes, &existing, error))
        return false;
    report(o, acting, b, notes, existing);
    return true;
}

static int run(struct command *command, const struct create_options *o)
{
    struct acting acting;
    g_autoptr(GError) error = NULL;
    int exit_code = EX_OK;

    if (!acting_open(command, "broadcast create", &o->acting, ACTING_ACCOUNT, &acting, &exit_code))
        return exit_code;
    if (!create(command, o, &acting, &error))
        exit_code = command_fail("broadcast create", error);
    acting_close(&acting);
    return exit_code;
}

int broadcast_command_create(struct command *command, int argc, char **argv)
{
    struct create_options o = {.province = FALSE};
    const GOptionEntry entries[] = {
        {"kind", 0, 0, G_OPTION_ARG_STRING, &o.kind, "Information or warning",
         "THONG_TIN|CANH_BAO"},
        {"level", 0, 0, G_OPTION_ARG_STRING, &o.level, "How loud", "thuong|uu_tien|khan_cap"},
        {"realm", 0, 0, G_OPTION_ARG_STRING, &o.realm, "live unless told", "live|exercise|test"},
        {"province", 0, 0, G_OPTION_ARG_NONE, &o.province, "To the whole province", NULL},
        {"communes", 0, 0, G_OPTION_ARG_STRING, &o.communes, "To these communes", "01234,01237"},
        {"expires", 0, 0, G_OPTION_ARG_STRING, &o.expires, "Until when", "6h|3d|TIME"},
        {"text", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o.texts,
         "A language's texts as JSON; may be repeated", "vi=FILE"},
        {"title", 0, 0, G_OPTION_ARG_STRING, &o.title, "Title, instead of --text", "TEXT"},
        {"body", 0, 0, G_OPTION_ARG_STRING, &o.body, "Body", "TEXT"},
        {"instruction", 0, 0, G_OPTION_ARG_STRING, &o.instruction, "What people should do", "TEXT"},
        {"lang", 0, 0, G_OPTION_ARG_STRING, &o.language, "Language of --title … (vi)", "TAG"},
        {"correction-title", 0, 0, G_OPTION_ARG_STRING, &o.correction_title,
         "Title of the prepared correction", "TEXT"},
        {"correction-body", 0, 0, G_OPTION_ARG_STRING, &o.correction_body, "Its body", "TEXT"},
        {"url", 0, 0, G_OPTION_ARG_STRING, &o.url, "More to read", "https://…"},
        {"source-document", 0, 0, G_OPTION_ARG_STRING, &o.source, "The agency's document", "TEXT"},
        {"idempotency-key", 0, 0, G_OPTION_ARG_STRING, &o.idempotency_key,
         "A repeat with this key creates nothing new", "KEY"},
        {"again", 0, 0, G_OPTION_ARG_NONE, &o.again, "The same title again is meant so", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "Prints one JSON object", NULL},
        ACTING_ENTRIES(&o.acting),
        {NULL}};
    int exit_code;

    if (command_parse("broadcast create --kind K --level L --province|--communes C --expires E "
                      "--text vi=FILE --as NAME --key FILE",
                      "Stores a draft; nobody gets it before another account approves.", entries,
                      &argc, &argv, &exit_code)) {
        if (argc > 1) {
            fprintf(stderr, "loa broadcast create: what is \"%s\"?\n", argv[1]);
            exit_code = EX_USAGE;
        } else {
            exit_code = run(command, &o);
        }
    }
    options_clear(&o);
    return exit_code;
}
