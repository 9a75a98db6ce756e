/* Written as text: the document is small and its form fixed. Everything foreign goes through
 * append_text, which leaves only what XML 1.0 allows. */
#include "engine/public_feed.h"

#include <string.h>

#define FEED_PATH  "/api/v1/alerts.atom"
#define ALERT_PATH "/api/v1/alerts/"

static const char *field(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* XML 1.0 §2.2. The broadcast's own rules forbid most of the others already. */
static bool is_xml_character(gunichar ch)
{
    return ch == '\t' || ch == '\n' || (ch >= 0x20 && ch != 0xFFFE && ch != 0xFFFF);
}

static void append_text(GString *xml, const char *text)
{
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar ch = g_utf8_get_char(p);
        if (ch == '&')
            g_string_append(xml, "&amp;");
        else if (ch == '<')
            g_string_append(xml, "&lt;");
        else if (ch == '>')
            g_string_append(xml, "&gt;");
        else if (ch == '"')
            g_string_append(xml, "&quot;");
        else
            g_string_append_unichar(xml, is_xml_character(ch) ? ch : 0xFFFD);
    }
}

/* Pieces of markup and foreign texts in turn, from a piece of markup on, up to NULL. */
static void append(GString *xml, ...) G_GNUC_NULL_TERMINATED;
static void append(GString *xml, ...)
{
    bool markup = true;
    const char *piece;
    va_list args;

    va_start(args, xml);
    while ((piece = va_arg(args, const char *)) != NULL) {
        if (markup)
            g_string_append(xml, piece);
        else
            append_text(xml, piece);
        markup = !markup;
    }
    va_end(args);
}

/* RFC 3339. */
static char *time_text(int64_t unix_s)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(unix_s);

    return g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ");
}

static int64_t issued_s(const json_t *alert)
{
    return g_ascii_strtoll(field(alert, "issued"), NULL, 10);
}

/* The words that people know for kind, level and state; the term itself for an unknown one. */
static const char *label(const char *term)
{
    static const char *const labels[][2] = {
        {"THONG_TIN", "Thông tin"}, {"CANH_BAO", "Cảnh báo"}, {"thuong", "Thường"},
        {"uu_tien", "Ưu tiên"},     {"khan_cap", "Khẩn cấp"}, {"active", "Đang có hiệu lực"},
        {"cancelled", "Đã thu hồi"}};

    for (size_t i = 0; i < G_N_ELEMENTS(labels); i++)
        if (strcmp(labels[i][0], term) == 0)
            return labels[i][1];
    return term;
}

static void append_category(GString *xml, const char *scheme, const char *term)
{
    append(xml, "<category scheme=\"urn:loa:", scheme, "\" term=\"", term, "\" label=\"",
           label(term), "\"/>\n", NULL);
}

static void append_entry(GString *xml, const json_t *alert, const char *public_url)
{
    const char *id = field(alert, "alert"), *url = field(alert, "url");
    const json_t *text = json_object_get(json_object_get(alert, "texts"), "vi");
    const char *instruction = field(text, "instruction");
    g_autofree char *updated = time_text(issued_s(alert));

    append(xml, "<entry>\n<id>urn:loa:alert:", id, "</id>\n<title>", field(text, "title"),
           "</title>\n<updated>", updated, "</updated>\n", NULL);
    append(xml, "<link rel=\"alternate\" type=\"application/json\" href=\"", public_url, ALERT_PATH,
           id, "\"/>\n", NULL);
    if (url[0] != '\0')
        append(xml, "<link rel=\"related\" href=\"", url, "\"/>\n", NULL);
    append_category(xml, "kind", field(alert, "kind"));
    append_category(xml, "level", field(alert, "level"));
    append_category(xml, "state", field(alert, "state"));
    append(xml, "<content type=\"text\">", field(text, "body"),
           instruction[0] != '\0' ? "\n\n" : "", instruction, "</content>\n</entry>\n", NULL);
}

/* The feed has changed when its newest entry has; without any, in 1970. */
static int64_t newest_s(const json_t *alerts)
{
    int64_t newest = 0;

    for (size_t i = 0; i < json_array_size(alerts); i++)
        newest = MAX(newest, issued_s(json_array_get(alerts, i)));
    return newest;
}

char *public_feed_text(const json_t *alerts, const char *public_url, const char *author)
{
    GString *xml = g_string_new("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
    g_autofree char *id = public_url[0] != '\0' ? g_strconcat(public_url, FEED_PATH, NULL)
                                                : g_strdup("urn:loa:alerts");
    g_autofree char *updated = time_text(newest_s(alerts));

    append(xml, "<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"vi\">\n<id>", id,
           "</id>\n<title>Cảnh báo và thông tin – ", author, "</title>\n<updated>", updated,
           "</updated>\n<author><name>", author, "</name></author>\n", NULL);
    append(xml, "<link rel=\"self\" type=\"application/atom+xml\" href=\"", public_url,
           FEED_PATH "\"/>\n", NULL);
    for (size_t i = 0; i < json_array_size(alerts); i++)
        if (strcmp(field(json_array_get(alerts, i), "state"), "expired") != 0)
            append_entry(xml, json_array_get(alerts, i), public_url);
    g_string_append(xml, "</feed>\n");
    return g_string_free(xml, FALSE);
}
