/* lib: loa_engine */
/* One line of an import: CSV splitting, columns, and that the rules are those of a registration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device_csv.h"
#include "engine/device_import.h"

#define HEAD "platform,token,environment,mqtt,commune,language,key,os"
#define KEY  "install-0123456789"

static GHashTable *communes;

struct csv_case {
    const char *line;
    size_t n; /* 0 = refused */
    const char *fields[4];
};

static const struct csv_case csv_cases[] = {
    {"", 1, {""}},
    {"a", 1, {"a"}},
    {"a,b", 2, {"a", "b"}},
    {",", 2, {"", ""}},
    {"a,,c", 3, {"a", "", "c"}},
    {"\"a\",\"b\"", 2, {"a", "b"}},
    {"\"a,b\",c", 2, {"a,b", "c"}},
    {"\"say \"\"ah\"\"\",x", 2, {"say \"ah\"", "x"}},
    {"\"\",x", 2, {"", "x"}},
    {"\"\"\"\"", 1, {"\""}},
    {"a,b,c,d", 4, {"a", "b", "c", "d"}},
    {"a,b,c,d,e", 0, {NULL}},
    {"\"a", 0, {NULL}},
    {"\"a\"b", 0, {NULL}},
    {"a\"b\"", 0, {NULL}},
    {"\"a\"\"", 0, {NULL}},
};

static void test_csv(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(csv_cases); i++) {
        const struct csv_case *c = &csv_cases[i];
        g_autofree char *line = g_strdup(c->line);
        const char *why = NULL;
        char *fields[4];
        size_t n = device_csv_split(line, fields, 4, &why);

        if (n != c->n)
            fail_msg("%s: %zu fields", c->line, n);
        assert_int_equal(n == 0, why != NULL);
        for (size_t k = 0; k < n; k++)
            assert_string_equal(fields[k], c->fields[k]);
    }
}

static void test_columns(void **state)
{
    static const char *const wrong[] = {
        "platform,colour", "platform,platform", "",
        "\"platform",      "platform,",         "a,b,c,d,e,f,g,h,i,j,k,l,m"};
    g_autofree char *line = g_strdup(HEAD);
    g_auto(GStrv) columns = device_import_columns(line, NULL);

    (void)state;
    assert_non_null(columns);
    assert_int_equal(g_strv_length(columns), 8);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *bad = g_strdup(wrong[i]);
        g_autoptr(GError) error = NULL;
        if (device_import_columns(bad, &error) != NULL || error == NULL)
            fail_msg("accepted: %s", wrong[i]);
    }
}

struct line_case {
    const char *line;
    const char *why; /* begins so; NULL = accepted */
};

static const struct line_case csv_lines[] = {
    {"fcm,tok1,,,01273,vi,,", NULL},
    {"fcm,tok1,,true,01273,tyz," KEY ",android", NULL},
    {"mqtt,,,,,," KEY ",", NULL},
    {"mqtt,,,1,,," KEY ",", NULL},
    {"mqtt,,,,,,,", "key: is needed"},
    {"mqtt,,,,,,short,", "key: must be"},
    {"fcm,tok1,,maybe,,,,", "mqtt: must be true or false"},
    {"fcm,tok1,,,99999,,,", "commune: is not a commune"},
    {"fcm,,,,,,,", "token: is needed"},
    {"apns,xyz,,,,,,", "token: must be the APNs"},
    {",tok1,,,,,,", "platform: is required"},
    {"fcm,tok1", "has fewer fields"},
    {"fcm,tok1,,,,,,,", "has more fields"},
    {"fcm,\"tok1,,,,,,", "has a quote"},
    {"fcm,tok1,,,,,,\xff\xfe", "os: is not valid UTF-8"},
    {"hms,t t,,,1,X,,", "platform: must be one of"},
};

static const struct line_case json_lines[] = {
    {"{\"platform\":\"fcm\",\"token\":\"t\"}", NULL},
    {"{\"platform\":\"mqtt\",\"key\":\"" KEY "\"}", NULL},
    {"{\"platform\":\"mqtt\"}", "key: is needed"},
    {"{\"platform\":\"fcm\",\"token\":\"t\",\"realm\":\"live\"}", "realm: is not known"},
    {"{\"platform\":\"fcm\"", "JSON line 1"},
    {"[]", "JSON line 1"},
};

static void check_line(const struct line_case *c, char *const *columns)
{
    g_autofree char *line = g_strdup(c->line);
    g_autoptr(json_t) object = NULL;
    struct device_state device;
    const char *key;
    g_autofree char *why =
        device_import_line(line, strlen(line), columns, communes, &object, &device, &key);

    if ((why == NULL) != (c->why == NULL) || (why != NULL && !g_str_has_prefix(why, c->why)))
        fail_msg("%s: %s", c->line, why != NULL ? why : "accepted");
}

static void test_lines(void **state)
{
    g_autofree char *head = g_strdup(HEAD);
    g_auto(GStrv) columns = device_import_columns(head, NULL);

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(csv_lines); i++)
        check_line(&csv_lines[i], columns);
    for (size_t i = 0; i < G_N_ELEMENTS(json_lines); i++)
        check_line(&json_lines[i], NULL);
}

static void test_nul_byte(void **state)
{
    char line[] = "{\"platform\":\0\"mqtt\"}";
    json_t *object = NULL;
    struct device_state device;
    const char *key;
    g_autofree char *why =
        device_import_line(line, sizeof(line) - 1, NULL, communes, &object, &device, &key);

    (void)state;
    assert_string_equal(why, "contains a NUL byte");
    assert_null(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_nul_byte),
    };

    communes = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_add(communes, (gpointer) "01273");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
