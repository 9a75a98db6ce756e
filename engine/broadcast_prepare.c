/* What a new broadcast must be before it may be stored. Every fault is found in one go, so that the
 * person who types does not play ping-pong. */
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/broadcast.h"

/* The phrase that made the Hawaii drill of 2018 a real alarm. */
#define NOT_A_DRILL "không phải diễn tập"

struct checker {
    struct broadcast *b;
    GString *faults; /* one per line */
    GPtrArray *notes;
    int64_t now_utc_us;
};

static void fault(struct checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void fault(struct checker *c, const char *format, ...)
{
    va_list args;

    if (c->faults->len > 0)
        g_string_append_c(c->faults, '\n');
    va_start(args, format);
    g_string_append_vprintf(c->faults, format, args);
    va_end(args);
}

static void note(struct checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note(struct checker *c, const char *format, ...)
{
    va_list args;

    if (c->notes == NULL)
        return;
    va_start(args, format);
    g_ptr_array_add(c->notes, g_strdup_vprintf(format, args));
    va_end(args);
}

/* Control characters, and those that make text read backwards, could show people something else
 * than what was approved. */
static bool character_is_allowed(gunichar ch, bool lines)
{
    if (ch == '\n')
        return lines;
    return !g_unichar_iscntrl(ch) && !(ch >= 0x202A && ch <= 0x202E) &&
           !(ch >= 0x2066 && ch <= 0x2069) && ch != 0x2028 && ch != 0x2029 && ch != 0xFEFF;
}

/* Trims, normalises to NFC and checks one text field in place. */
static void clean(struct checker *c, char **field, size_t max, bool lines, bool required,
                  const char *name)
{
    g_autofree char *nfc = NULL;

    if (!g_utf8_validate(*field, -1, NULL)) {
        fault(c, "%s: not valid UTF-8", name);
        broadcast_set(field, "");
        return;
    }
    nfc = g_utf8_normalize(*field, -1, G_NORMALIZE_NFC);
    broadcast_set(field, g_strstrip(nfc));
    for (const char *p = *field; *p != '\0'; p = g_utf8_next_char(p)) {
        if (!character_is_allowed(g_utf8_get_char(p), lines)) {
            fault(c, "%s: character U+%04X is not allowed", name, g_utf8_get_char(p));
            break;
        }
    }
    if (required && (*field)[0] == '\0')
        fault(c, "%s: must not be empty", name);
    if (strlen(*field) > max)
        fault(c, "%s: %zu bytes, at most %zu are allowed", name, strlen(*field), max);
}

static void clean_text_field(struct checker *c, struct broadcast_text *text, char **field,
                             const char *field_name, size_t max, bool lines, bool required)
{
    g_autofree char *name = g_strdup_printf("%s.%s", field_name, text->language);

    clean(c, field, max, lines, required, name);
}

/* [DIỄN TẬP] … [DIỄN TẬP] */
static void mark(struct checker *c, const struct broadcast_text *text, char **field,
                 const char *field_name, bool first, bool last)
{
    bool has_first = g_str_has_prefix(*field, BROADCAST_EXERCISE_MARK);
    bool has_last = g_str_has_suffix(*field, BROADCAST_EXERCISE_MARK);
    g_autofree char *marked = NULL;

    if ((*field)[0] == '\0' || ((has_first || !first) && (has_last || !last)))
        return;
    marked = g_strconcat(first && !has_first ? BROADCAST_EXERCISE_MARK " " : "", *field,
                         last && !has_last ? " " BROADCAST_EXERCISE_MARK : "", NULL);
    broadcast_set(field, marked);
    note(c, "%s.%s: marked as an exercise: %s", field_name, text->language, *field);
}

/* A drill's text begins and ends with the mark, however much of it the phone shows. */
static void mark_exercise(struct checker *c, struct broadcast_text *text)
{
    mark(c, text, &text->title, "title", true, false);
    mark(c, text, &text->body, "body", false, true);
    mark(c, text, &text->instruction, "instruction", false, true);
    mark(c, text, &text->correction_title, "correction-title", true, false);
    mark(c, text, &text->correction_body, "correction-body", false, true);
}

static bool contains_folded(const char *text, const char *phrase)
{
    g_autofree char *folded_text = g_utf8_casefold(text, -1);
    g_autofree char *folded_phrase = g_utf8_casefold(phrase, -1);

    return strstr(folded_text, folded_phrase) != NULL;
}

static void check_realm_wording(struct checker *c, const struct broadcast_text *text)
{
    g_autofree char *all = g_strjoin("\n", text->title, text->body, text->instruction, NULL);

    if (c->b->realm == BROADCAST_EXERCISE && contains_folded(all, NOT_A_DRILL))
        fault(c, "body.%s: an exercise must not say \"" NOT_A_DRILL "\"", text->language);
    else if (c->b->realm == BROADCAST_LIVE && contains_folded(all, "diễn tập"))
        note(c, "body.%s: a live text speaks of \"diễn tập\" (exercise): is the realm right?",
             text->language);
}

/* Cuts at a character so that the default title fits. */
static char *cut_utf8(const char *text, size_t max)
{
    const char *end;

    if (strlen(text) <= max)
        return g_strdup(text);
    end = g_utf8_find_prev_char(text, text + max + 1);
    return g_strndup(text, (gsize)(end - text));
}

/* The correction is written before the release: when it is needed nobody has time to argue wording.
 * Without a translation the Vietnamese one is used: everybody in the province has seen it. */
static void prepare_correction(struct checker *c, struct broadcast_text *text)
{
    static const char prefix[] = "ĐÍNH CHÍNH: ";
    const struct broadcast_text *vi = broadcast_text_find(c->b, "vi");

    if (text->correction_title[0] == '\0') {
        /* "…" takes three bytes, the exercise mark and its space get room of their own. */
        size_t room = MESSAGE_TITLE_MAX - strlen(prefix) - strlen(BROADCAST_EXERCISE_MARK) - 1 - 3;
        g_autofree char *cut = cut_utf8(text->title, room);
        g_free(text->correction_title);
        text->correction_title =
            g_strconcat(prefix, cut, strlen(cut) < strlen(text->title) ? "…" : "", NULL);
        note(c, "correction-title.%s: %s", text->language, text->correction_title);
    }
    if (text->correction_body[0] == '\0') {
        if (text != vi && vi != NULL && vi->correction_body[0] != '\0')
            broadcast_set(&text->correction_body, vi->correction_body);
        else
            broadcast_set(&text->correction_body,
                          "Nội dung đã gửi trước đó không còn đúng và được thu hồi. Đề nghị người "
                          "dân không làm theo nội dung đó và theo dõi thông báo tiếp theo.");
        note(c, "correction-body.%s: %s", text->language, text->correction_body);
    }
}

static bool language_is_valid(const char *language)
{
    return g_regex_match_simple("^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", language,
                                G_REGEX_DOLLAR_ENDONLY, 0);
}

static void check_text(struct checker *c, struct broadcast_text *text)
{
    bool warning = c->b->kind == BROADCAST_CANH_BAO;

    if (!language_is_valid(text->language))
        fault(c, "language: \"%s\" is not a language tag such as \"vi\" or \"tyz\"",
              text->language);
    clean_text_field(c, text, &text->title, "title", MESSAGE_TITLE_MAX, false, true);
    clean_text_field(c, text, &text->body, "body", MESSAGE_BODY_MAX, true, true);
    clean_text_field(c, text, &text->instruction, "instruction", MESSAGE_INSTRUCTION_MAX, true,
                     false);
    clean_text_field(c, text, &text->correction_title, "correction-title", MESSAGE_TITLE_MAX, false,
                     false);
    clean_text_field(c, text, &text->correction_body, "correction-body", MESSAGE_BODY_MAX, true,
                     false);
    if (warning && text->instruction[0] == '\0')
        fault(c, "instruction.%s: a warning must tell people what to do", text->language);
    check_realm_wording(c, text);
}

static void check_marked_length(struct checker *c, const struct broadcast_text *text)
{
    const struct {
        const char *name, *value;
        size_t max;
    } fields[] = {{"title", text->title, MESSAGE_TITLE_MAX},
                  {"body", text->body, MESSAGE_BODY_MAX},
                  {"instruction", text->instruction, MESSAGE_INSTRUCTION_MAX},
                  {"correction-title", text->correction_title, MESSAGE_TITLE_MAX},
                  {"correction-body", text->correction_body, MESSAGE_BODY_MAX}};

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
        if (strlen(fields[i].value) > fields[i].max)
            fault(c, "%s.%s: %zu bytes with the exercise mark, at most %zu are allowed",
                  fields[i].name, text->language, strlen(fields[i].value), fields[i].max);
}

static void check_texts(struct checker *c)
{
    const struct broadcast_text *vi = broadcast_text_find(c->b, "vi");

    if (vi == NULL)
        fault(c, "text: the Vietnamese text (vi) is missing");
    for (guint i = 0; i < c->b->texts->len; i++)
        check_text(c, c->b->texts->pdata[i]);
    if (c->faults->len > 0)
        return; /* do not build corrections on broken texts */
    for (guint i = 0; i < c->b->texts->len; i++) {
        struct broadcast_text *text = c->b->texts->pdata[i];
        if (text != vi && strcmp(text->body, vi->body) == 0)
            note(c, "body.%s: the same words as in Vietnamese", text->language);
        prepare_correction(c, text);
        if (c->b->realm == BROADCAST_EXERCISE) {
            mark_exercise(c, text);
            check_marked_length(c, text);
        }
    }
}

static void check_url(struct checker *c)
{
    g_autoptr(GUri) uri = NULL;

    clean(c, &c->b->url, MESSAGE_URL_MAX, false, false, "url");
    if (c->b->url[0] == '\0')
        return;
    uri = g_uri_parse(c->b->url, G_URI_FLAGS_NONE, NULL);
    if (uri == NULL || strcmp(g_uri_get_scheme(uri), "https") != 0 || g_uri_get_host(uri) == NULL ||
        g_uri_get_host(uri)[0] == '\0' || g_uri_get_userinfo(uri) != NULL)
        fault(c, "url: must be an https:// address");
}

static void check_expiry(struct checker *c)
{
    bool warning = c->b->kind == BROADCAST_CANH_BAO;
    int64_t life_s = warning ? BROADCAST_WARNING_LIFE_S : BROADCAST_INFORMATION_LIFE_S;

    c->b->expires_utc_us -= c->b->expires_utc_us % USEC_PER_SEC;
    if (c->b->expires_utc_us <= c->now_utc_us)
        fault(c, "expires: must be in the future");
    else if (c->b->expires_utc_us > c->now_utc_us + life_s * USEC_PER_SEC)
        fault(c, "expires: %s ends at most %d days from now", warning ? "a warning" : "information",
              (int)(life_s / 86400));
}

static int compare_texts(const void *a, const void *b)
{
    const struct broadcast_text *const *x = a, *const *y = b;

    return strcmp((*x)->language, (*y)->language);
}

bool broadcast_prepare(struct broadcast *b, int64_t now_utc_us, GPtrArray *notes, GError **error)
{
    g_autoptr(GString) faults = g_string_new(NULL);
    struct checker c = {b, faults, notes, now_utc_us};

    if (b->areas[0] == '\0')
        fault(&c, "area: choose the whole province or list communes; it is never assumed");
    if (b->kind == BROADCAST_THONG_TIN && b->level == BROADCAST_KHAN_CAP)
        fault(&c, "level: khan_cap is for warnings (CANH_BAO) only");
    b->cls = broadcast_class_of(b->realm, b->kind, b->level);
    g_ptr_array_sort(b->texts, compare_texts);
    check_texts(&c);
    check_url(&c);
    clean(&c, &b->source_document, MESSAGE_SOURCE_MAX, false, false, "source-document");
    if (b->source_document[0] == '\0')
        note(&c, "source-document: none given (Đ12.3)");
    check_expiry(&c);
    if (faults->len > 0) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, faults->str);
        return false;
    }
    return true;
}

static int compare_codes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Five digits each, as in the commune table; sorted, without repeats. */
static char **parse_codes(const char *codes, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(codes, ",", BROADCAST_COMMUNES_MAX + 1);
    g_autoptr(GPtrArray) sorted = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; parts[i] != NULL; i++) {
        const char *code = g_strstrip(parts[i]);
        if (strlen(code) != 5 || strspn(code, "0123456789") != 5) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                        "communes: \"%s\" is not a five-digit commune code", code);
            return NULL;
        }
        g_ptr_array_add(sorted, g_strdup(code));
    }
    if (sorted->len == 0 || sorted->len > BROADCAST_COMMUNES_MAX) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "communes: list 1 to %d codes",
                    BROADCAST_COMMUNES_MAX);
        return NULL;
    }
    g_ptr_array_sort(sorted, compare_codes);
    for (guint i = sorted->len - 1; i > 0; i--)
        if (strcmp(sorted->pdata[i], sorted->pdata[i - 1]) == 0)
            g_ptr_array_remove_index(sorted, i);
    g_ptr_array_add(sorted, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&sorted), FALSE);
}

bool broadcast_set_area(struct broadcast *b, bool province, const char *codes, GError **error)
{
    char **communes;

    if (province == (codes != NULL)) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID,
                            province ? "area: choose --province or --communes, not both"
                                     : "area: choose --province for the whole province, or list "
                                       "--communes; a missing area never means all");
        return false;
    }
    communes = province ? g_new0(char *, 1) : parse_codes(codes, error);
    if (communes == NULL)
        return false;
    g_strfreev(b->communes);
    b->communes = communes;
    b->scope = province ? BROADCAST_TOAN_TINH : BROADCAST_COMMUNES;
    g_free(b->areas);
    b->areas = province ? g_strdup("toan_tinh") : g_strjoinv(",", communes);
    return true;
}

/* "90s", "30m", "6h", "3d": seconds, or 0 when it is no such thing. */
static int64_t parse_duration_s(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end = NULL;
    gint64 n = g_ascii_strtoll(text, &end, 10);

    if (end == text || n <= 0 || n > 1000000 || end[0] == '\0' || end[1] != '\0')
        return 0;
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (end[0] == units[i].unit)
            return n * units[i].seconds;
    return 0;
}

bool broadcast_parse_expiry(const char *text, int64_t now_utc_us, int64_t *out_utc_us,
                            GError **error)
{
    g_autoptr(GTimeZone) vietnam = g_time_zone_new_offset(BROADCAST_UTC_OFFSET_S);
    g_autoptr(GDateTime) when = NULL;
    int64_t duration_s = parse_duration_s(text);

    if (duration_s > 0) {
        *out_utc_us = now_utc_us + duration_s * USEC_PER_SEC;
        return true;
    }
    when = g_date_time_new_from_iso8601(text, vietnam);
    if (when == NULL) { /* GLib wants seconds, people do not */
        g_autofree char *with_seconds = g_strconcat(text, ":00", NULL);
        when = g_date_time_new_from_iso8601(with_seconds, vietnam);
    }
    if (when == NULL) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "expires: \"%s\" is neither a duration (30m, 6h, 3d) nor a time "
                    "(2026-11-23T15:00)",
                    text);
        return false;
    }
    *out_utc_us = g_date_time_to_unix(when) * USEC_PER_SEC;
    return true;
}
