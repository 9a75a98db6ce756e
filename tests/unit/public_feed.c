/* lib: loa_engine */
/* The feed is well-formed XML and has what RFC 4287 asks of a feed and of an entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/public_feed.h"

/* What stands in the document: "path=text" of every element with text, "path@name=value" of every
 * attribute; a path is like "feed/entry/id". */
struct seen {
    GPtrArray *path; /* open elements */
    GPtrArray *facts;
    GString *text;
};

static char *where(const struct seen *seen)
{
    g_autoptr(GString) path = g_string_new(NULL);

    for (guint i = 0; i < seen->path->len; i++)
        g_string_append_printf(path, "%s%s", i > 0 ? "/" : "", (char *)seen->path->pdata[i]);
    return g_strdup(path->str);
}

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
                     const char **values, void *user, GError **error)
{
    struct seen *seen = user;
    g_autofree char *path = NULL;
    (void)context, (void)error;

    g_ptr_array_add(seen->path, g_strdup(element));
    g_string_truncate(seen->text, 0);
    path = where(seen);
    for (size_t i = 0; names[i] != NULL; i++)
        g_ptr_array_add(seen->facts, g_strdup_printf("%s@%s=%s", path, names[i], values[i]));
}

static void on_end(GMarkupParseContext *context, const char *element, void *user, GError **error)
{
    struct seen *seen = user;
    g_autofree char *path = where(seen);
    (void)context, (void)element, (void)error;

    g_ptr_array_add(seen->facts, g_strdup_printf("%s=%s", path, seen->text->str));
    g_string_truncate(seen->text, 0);
    g_ptr_array_remove_index(seen->path, seen->path->len - 1);
}

static void on_text(GMarkupParseContext *context, const char *text, gsize len, void *user,
                    GError **error)
{
    (void)context, (void)error;
    g_string_append_len(((struct seen *)user)->text, text, (gssize)len);
}

/* The facts of a feed over these alerts; fails when it is no XML. Owned. */
static GPtrArray *read_feed(const char *alerts_text, const char *public_url, const char *author)
{
    static const GMarkupParser parser = {
        .start_element = on_start, .end_element = on_end, .text = on_text};
    struct seen seen = {g_ptr_array_new_with_free_func(g_free),
                        g_ptr_array_new_with_free_func(g_free), g_string_new(NULL)};
    g_autoptr(json_t) alerts = json_loads(alerts_text, 0, NULL);
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;
    GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &seen, NULL);

    assert_non_null(alerts);
    xml = public_feed_text(alerts, public_url, author);
    assert_true(g_utf8_validate(xml, -1, NULL));
    if (!g_markup_parse_context_parse(context, xml, (gssize)strlen(xml), &error) ||
        !g_markup_parse_context_end_parse(context, &error))
        fail_msg("%s\n%s", error->message, xml);
    g_markup_parse_context_free(context);
    g_ptr_array_unref(seen.path);
    g_string_free(seen.text, TRUE);
    return seen.facts;
}

static unsigned count(const GPtrArray *facts, const char *prefix)
{
    unsigned n = 0;

    for (guint i = 0; i < facts->len; i++)
        n += g_str_has_prefix(facts->pdata[i], prefix) ? 1 : 0;
    return n;
}

static void assert_fact(const GPtrArray *facts, const char *fact)
{
    for (guint i = 0; i < facts->len; i++)
        if (strcmp(facts->pdata[i], fact) == 0)
            return;
    fail_msg("no %s", fact);
}

#define WARNING                                                                                          \
    "{\"alert\":\"20261123-K7M2QX\",\"v\":\"1\",\"kind\":\"CANH_BAO\",\"level\":\"khan_cap\","           \
    "\"issued\":\"1795392000\",\"url\":\"https://caobang.gov.vn/?a=1&b=2\",\"state\":\"active\","        \
    "\"texts\":{\"vi\":{\"title\":\"Lũ <khẩn cấp> & \\\"sạt lở\\\"\",\"body\":\"Dòng một\\n" \
    "Dòng hai\",\"instruction\":\"Di dời ngay.\"},\"en\":{\"title\":\"Flood\"}}}"
#define CANCELLED                                                                                  \
    "{\"alert\":\"20261122-AAAAAA\",\"v\":\"2\",\"kind\":\"THONG_TIN\",\"level\":\"thuong\","      \
    "\"issued\":\"1795305600\",\"state\":\"cancelled\","                                           \
    "\"texts\":{\"vi\":{\"title\":\"ĐÍNH CHÍNH\",\"body\":\"Thu hồi\\uFFFE\"}}}"
#define EXPIRED                                                                                    \
    "{\"alert\":\"20261121-BBBBBB\",\"v\":\"1\",\"kind\":\"THONG_TIN\",\"level\":\"thuong\","      \
    "\"issued\":\"1795219200\",\"state\":\"expired\",\"texts\":{\"vi\":{\"title\":\"Cũ\","        \
    "\"body\":\"Cũ\"}}}"

static void test_entries(void **state)
{
    g_autoptr(GPtrArray) facts = read_feed("[" WARNING "," CANCELLED "," EXPIRED "]",
                                           "https://loa.example.vn", "Tỉnh A & B");

    (void)state;
    assert_fact(facts, "feed@xmlns=http://www.w3.org/2005/Atom");
    assert_fact(facts, "feed@xml:lang=vi");
    assert_fact(facts, "feed/id=https://loa.example.vn/api/v1/alerts.atom");
    assert_fact(facts, "feed/title=Cảnh báo và thông tin – Tỉnh A & B");
    assert_fact(facts, "feed/author/name=Tỉnh A & B");
    assert_fact(facts, "feed/updated=2026-11-23T00:00:00Z");
    assert_fact(facts, "feed/link@rel=self");
    assert_fact(facts, "feed/link@href=https://loa.example.vn/api/v1/alerts.atom");

    assert_int_equal(count(facts, "feed/entry="), 2);
    assert_int_equal(count(facts, "feed/entry/id="), 2);
    assert_int_equal(count(facts, "feed/entry/title="), 2);
    assert_int_equal(count(facts, "feed/entry/updated="), 2);
    assert_int_equal(count(facts, "feed/entry/content="), 2);
    assert_fact(facts, "feed/entry/id=urn:loa:alert:20261123-K7M2QX");
    assert_fact(facts, "feed/entry/title=Lũ <khẩn cấp> & \"sạt lở\"");
    assert_fact(facts, "feed/entry/content=Dòng một\nDòng hai\n\nDi dời ngay.");
    assert_fact(facts, "feed/entry/content=Thu hồi\xef\xbf\xbd"); /* what XML forbids */
    assert_fact(facts, "feed/entry/link@href=https://loa.example.vn/api/v1/alerts/20261123-K7M2QX");
    assert_fact(facts, "feed/entry/link@href=https://caobang.gov.vn/?a=1&b=2");
    assert_fact(facts, "feed/entry/category@label=Khẩn cấp");
    assert_fact(facts, "feed/entry/category@label=Đã thu hồi");
    assert_fact(facts, "feed/entry/updated=2026-11-22T00:00:00Z");
}

static void test_empty(void **state)
{
    g_autoptr(GPtrArray) facts = read_feed("[]", "", "Tỉnh Cao Bằng");

    (void)state;
    assert_fact(facts, "feed/id=urn:loa:alerts");
    assert_fact(facts, "feed/updated=1970-01-01T00:00:00Z");
    assert_fact(facts, "feed/link@href=/api/v1/alerts.atom");
    assert_int_equal(count(facts, "feed/entry"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
