/* lib: loa_base */
/* Request targets and routes: decoding, what is refused, which route is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/http_route.h"

static void test_targets(void **state)
{
    static const struct {
        const char *uri;
        const char *path;  /* NULL = refused */
        const char *query; /* "name=value;…" in order */
    } cases[] = {
        {"/", "/", ""},
        {"/a", "/a", ""},
        {"/a/", "/a/", ""},
        {"//a", "//a", ""},
        {"/a%20b/%C4%91", "/a b/đ", ""},
        {"/a+b", "/a+b", ""},
        {"/a%2Bb", "/a+b", ""},
        {"/...", "/...", ""},
        {"/%2e%2e%2e", "/...", ""},
        {"/a?", "/a", ""},
        {"/a?x", "/a", "x=;"},
        {"/a?x=1&y=2", "/a", "x=1;y=2;"},
        {"/a?&&x=1&", "/a", "x=1;"},
        {"/a?x=a+b%26c%3dd", "/a", "x=a b&c=d;"},
        {"/a?x=%2B&y==", "/a", "x=+;y==;"},
        {"/a?x=a/b/../c", "/a", "x=a/b/../c;"},
        {"/a?x=%0A", "/a", "x=\n;"},
        {"/a?b?c", "/a", "b?c=;"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", ""},
        {"", NULL, NULL},
        {"a", NULL, NULL},
        {"*", NULL, NULL},
        {"?x=1", NULL, NULL},
        {"/..", NULL, NULL},
        {"/a/../b", NULL, NULL},
        {"/a/./b", NULL, NULL},
        {"/%2e%2e/a", NULL, NULL},
        {"/.%2E", NULL, NULL},
        {"/a%2fb", NULL, NULL},
        {"/a%2Fb", NULL, NULL},
        {"/%00", NULL, NULL},
        {"/a%0ab", NULL, NULL},
        {"/%7f", NULL, NULL},
        {"/%", NULL, NULL},
        {"/%4", NULL, NULL},
        {"/%4g", NULL, NULL},
        {"/%c4", NULL, NULL},
        {"/%c0%af", NULL, NULL},
        {"/%ed%a0%80", NULL, NULL},
        {"/a?x=%00", NULL, NULL},
        {"/a?x=%0d", NULL, NULL},
        {"/a?x=%", NULL, NULL},
        {"/a?=1", NULL, NULL},
        {"/a?x=1&x=2", NULL, NULL},
        {"/a?x=1&%78=2", NULL, NULL},
        {"/a?x=%ff", NULL, NULL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        loa_auto(http_target) target = http_target_parse(cases[i].uri, strlen(cases[i].uri));
        g_autoptr(GString) query = g_string_new(NULL);
        for (guint n = 0; target != NULL && n < target->names->len; n++)
            g_string_append_printf(query, "%s=%s;", (char *)target->names->pdata[n],
                                   (char *)target->values->pdata[n]);
        if (g_strcmp0(target != NULL ? target->path : NULL, cases[i].path) != 0 ||
            (target != NULL && strcmp(query->str, cases[i].query) != 0))
            fail_msg("%s → %s ? %s", cases[i].uri, target != NULL ? target->path : "refused",
                     query->str);
    }
}

static void test_query_limit(void **state)
{
    g_autoptr(GString) uri = g_string_new("/a?");
    (void)state;
    for (unsigned i = 0; i < HTTP_QUERY_MAX; i++)
        g_string_append_printf(uri, "p%u=%u&", i, i);
    loa_auto(http_target) fits = http_target_parse(uri->str, uri->len);
    assert_non_null(fits);
    assert_string_equal(http_target_query(fits, "p31"), "31");
    assert_null(http_target_query(fits, "p32"));
    g_string_append(uri, "one=more");
    loa_auto(http_target) over = http_target_parse(uri->str, uri->len);
    assert_null(over);
}

static const struct http_route routes[] = {
    {"GET", "/api/v1/devices", "device_list", 0, NULL},
    {"POST", "/api/v1/devices", "device_create", 0, NULL},
    {"GET", "/api/v1/devices/me", "device_me", 0, NULL},
    {"GET", "/api/v1/devices/{id}", "device_show", 0, NULL},
    {"DELETE", "/api/v1/devices/{id}", "device_delete", 0, NULL},
    {"GET", "/a/{x}/b/{y}", "two", 0, NULL},
    {"GET", "/", "root", 0, NULL},
};

static void test_routes(void **state)
{
    static const struct {
        const char *method, *uri;
        const char *name; /* NULL = none */
        const char *params;
        const char *allow;
    } cases[] = {
        {"GET", "/", "root", "", NULL},
        {"GET", "/api/v1/devices", "device_list", "", NULL},
        {"HEAD", "/api/v1/devices", "device_list", "", NULL},
        {"POST", "/api/v1/devices", "device_create", "", NULL},
        {"GET", "/api/v1/devices/me", "device_me", "", NULL},
        {"GET", "/api/v1/devices/17", "device_show", "17,", NULL},
        {"DELETE", "/api/v1/devices/me", "device_delete", "me,", NULL},
        {"GET", "/a/1/b/%7Bx%7D", "two", "1,{x},", NULL},
        {"PUT", "/api/v1/devices", NULL, "", "GET, HEAD, POST"},
        {"HEAD", "/a", NULL, "", NULL},
        {"DELETE", "/", NULL, "", "GET, HEAD"},
        {"GET", "/api/v1/devices/", NULL, "", NULL},
        {"GET", "/api/v1/device", NULL, "", NULL},
        {"GET", "/api/v1/devicess", NULL, "", NULL},
        {"GET", "/api/v1/devices/17/x", NULL, "", NULL},
        {"GET", "/api/v1", NULL, "", NULL},
        {"GET", "//", NULL, "", NULL},
        {"GET", "/a//b/1", NULL, "", NULL},
        {"GET", "/API/v1/devices", NULL, "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *params[HTTP_SEGMENTS_MAX];
        unsigned n_params = 0;
        g_autofree char *allow = NULL;
        g_autoptr(GString) got = g_string_new(NULL);
        loa_auto(http_target) target = http_target_parse(cases[i].uri, strlen(cases[i].uri));
        const struct http_route *route = http_route_find(
            routes, G_N_ELEMENTS(routes), cases[i].method, target, params, &n_params, &allow);
        for (unsigned n = 0; route != NULL && n < n_params; n++)
            g_string_append_printf(got, "%s,", params[n]);
        if (g_strcmp0(route != NULL ? route->name : NULL, cases[i].name) != 0 ||
            strcmp(got->str, cases[i].params) != 0 || g_strcmp0(allow, cases[i].allow) != 0)
            fail_msg("%s %s → %s (%s) allow %s", cases[i].method, cases[i].uri,
                     route != NULL ? route->name : "none", got->str, allow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_query_limit),
        cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
