/* lib: loa_api */
/* docs/openapi.yaml names exactly the routes that exist. A scan by indentation is enough: paths
 * stand at two spaces, methods at four. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/api.h"

/* "GET /alerts" … as the document names them. */
static GHashTable *documented(void)
{
    static const char *const methods[] = {"get", "put", "post", "delete", NULL};
    GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autofree char *path = NULL;
    bool in_paths = false;

    assert_true(g_file_get_contents(LOA_SOURCE_DIR "/docs/openapi.yaml", &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        g_autofree char *word = g_strstrip(g_strdup(*line));
        size_t indent = strspn(*line, " ");
        if (indent == 0 && (*line)[0] != '\0')
            in_paths = strcmp(*line, "paths:") == 0;
        if (!in_paths || !g_str_has_suffix(word, ":"))
            continue;
        word[strlen(word) - 1] = '\0';
        if (indent == 2) {
            g_free(path);
            path = g_strdup(word);
        } else if (indent == 4 && g_strv_contains(methods, word)) {
            g_autofree char *upper = g_ascii_strup(word, -1);
            g_hash_table_add(set, g_strconcat(upper, " ", path, NULL));
        }
    }
    return set;
}

static void test_paths_are_routes(void **state)
{
    GHashTable *set = documented();
    size_t n;
    const struct http_route *routes = api_routes(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        g_autofree char *route = g_strconcat(routes[i].method, " ", routes[i].pattern, NULL);
        if (!g_hash_table_remove(set, route))
            fail_msg("%s is not in docs/openapi.yaml", route);
    }
    GHashTableIter iter;
    gpointer left;
    g_hash_table_iter_init(&iter, set);
    while (g_hash_table_iter_next(&iter, &left, NULL))
        print_error("%s is in docs/openapi.yaml but is no route\n", (const char *)left);
    assert_int_equal(g_hash_table_size(set), 0);
    g_hash_table_unref(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths_are_routes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
