/* lib: loa_engine */
/* The folder for nginx: both forms say the same, nothing is half there, strays go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/error.h"
#include "base/gzip.h"
#include "engine/public_tree.h"

struct world {
    char *dir;
    struct public_tree *tree;
};

static int setup(void **state)
{
    struct world *world = g_new0(struct world, 1);
    g_autofree char *folder = NULL;
    mode_t mask = umask(0077); /* as the service runs */
    g_autoptr(GError) error = NULL;

    world->dir = g_dir_make_tmp("loa-tree-XXXXXX", NULL);
    folder = g_build_filename(world->dir, "public", NULL);
    world->tree = public_tree_new(folder, &error);
    umask(mask);
    if (world->tree == NULL)
        fail_msg("%s", error->message);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    char *argv[] = {"rm", "-rf", world->dir, NULL};

    public_tree_free(world->tree);
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    g_free(world->dir);
    g_free(world);
    return 0;
}

static char *path_of(const struct world *world, const char *name)
{
    return g_build_filename(world->dir, "public/api/v1", name, NULL);
}

/* The text of NAME.gz; NULL when there is none. Owned. */
static char *unzipped(const struct world *world, const char *name)
{
    g_autofree char *gz_name = g_strconcat(name, ".gz", NULL);
    g_autofree char *path = path_of(world, gz_name);
    char *text = g_malloc0(65536);
    gzFile file = access(path, R_OK) == 0 ? gzopen(path, "rb") : NULL;

    if (file == NULL) {
        g_free(text);
        return NULL;
    }
    assert_true(gzread(file, text, 65535) >= 0);
    gzclose(file);
    return text;
}

static void put(struct world *world, const char *name, const char *text, int64_t mtime_s,
                bool expected_written)
{
    g_autoptr(GError) error = NULL;
    bool written;

    if (!public_tree_put(world->tree, name, text, mtime_s, &written, &error))
        fail_msg("%s", error->message);
    assert_int_equal(written, expected_written);
}

static void assert_there(const struct world *world, const char *name, const char *text,
                         int64_t mtime_s)
{
    static const char *const forms[] = {"", ".gz"};
    g_autofree char *plain = path_of(world, name);
    g_autofree char *found = NULL, *found_gz = unzipped(world, name);

    assert_true(g_file_get_contents(plain, &found, NULL, NULL));
    assert_string_equal(found, text);
    assert_string_equal(found_gz, text);
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autofree char *path = g_strconcat(plain, forms[i], NULL);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mtim.tv_sec, mtime_s);
        assert_int_equal(st.st_mode & 0777, 0644);
    }
}

static void test_put(void **state)
{
    struct world *world = *state;
    g_autofree char *folder = path_of(world, "alerts");
    struct stat st;

    put(world, "alerts/A.json", "{\"một\":1}", 1000, true);
    assert_there(world, "alerts/A.json", "{\"một\":1}", 1000);
    put(world, "alerts/A.json", "{\"một\":1}", 1000, false);
    put(world, "alerts/A.json", "{\"một\":1}", 1001, true);
    put(world, "alerts/A.json", "{\"hai\":2}", 1001, true);
    assert_there(world, "alerts/A.json", "{\"hai\":2}", 1001);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
}

/* Whatever was damaged is made whole again. */
static void test_heals(void **state)
{
    struct world *world = *state;
    g_autofree char *plain = path_of(world, "alerts.json");
    g_autofree char *gz = path_of(world, "alerts.json.gz");

    put(world, "alerts.json", "{}", 5, true);
    assert_int_equal(unlink(gz), 0);
    put(world, "alerts.json", "{}", 5, true);
    assert_true(g_file_set_contents(gz, "x", 1, NULL));
    put(world, "alerts.json", "{}", 5, true);
    assert_true(g_file_set_contents(plain, "[]", 2, NULL));
    put(world, "alerts.json", "{}", 5, true);
    assert_int_equal(chmod(plain, 0600), 0);
    put(world, "alerts.json", "{}", 5, true);
    assert_int_equal(unlink(plain), 0);
    assert_int_equal(symlink(gz, plain), 0);
    put(world, "alerts.json", "{}", 5, true);
    assert_there(world, "alerts.json", "{}", 5);
}

/* Nobody may see the new text beside the gzip form of the old one. */
static void test_no_mixture(void **state)
{
    struct world *world = *state;
    g_autofree char *plain = path_of(world, "alerts.json");
    g_autofree char *found = NULL;
    g_autofree char *gz = NULL;
    g_autoptr(GError) error = NULL;
    bool written;

    put(world, "alerts.json", "old", 5, true);
    /* A folder in the place of the file: the second half cannot be done. */
    assert_int_equal(unlink(plain), 0);
    assert_int_equal(mkdir(plain, 0755), 0);
    assert_false(public_tree_put(world->tree, "alerts.json", "new", 6, &written, &error));
    gz = unzipped(world, "alerts.json");
    assert_null(gz);
    assert_int_equal(rmdir(plain), 0);
    put(world, "alerts.json", "new", 6, true);
    assert_there(world, "alerts.json", "new", 6);
    assert_true(g_file_get_contents(plain, &found, NULL, NULL));
}

static bool keep_a(const char *alert_id, void *user)
{
    (void)user;
    return strcmp(alert_id, "A") == 0;
}

static void test_drop_and_sweep(void **state)
{
    static const char *const strays[] = {"alerts/B.json", "alerts/B.json.gz", "alerts/index.html",
                                         "alerts/.staged-abcdef", ".staged-123456"};
    struct world *world = *state;
    unsigned removed;
    g_autoptr(GError) error = NULL;

    put(world, "alerts/A.json", "{}", 1, true);
    put(world, "alerts/D.json", "{}", 1, true);
    put(world, "alerts.json", "{}", 1, true);
    assert_true(public_tree_drop(world->tree, "alerts/D.json", &error));
    assert_true(public_tree_drop(world->tree, "alerts/D.json", &error));
    for (size_t i = 0; i < G_N_ELEMENTS(strays); i++) {
        g_autofree char *path = path_of(world, strays[i]);
        assert_true(g_file_set_contents(path, "x", 1, NULL));
    }
    assert_true(public_tree_sweep(world->tree, keep_a, NULL, &removed, &error));
    assert_int_equal(removed, G_N_ELEMENTS(strays));
    assert_there(world, "alerts/A.json", "{}", 1);
    assert_there(world, "alerts.json", "{}", 1);
    assert_true(public_tree_sweep(world->tree, keep_a, NULL, &removed, &error));
    assert_int_equal(removed, 0);
}

static void test_refused(void **state)
{
    struct world *world = *state;
    g_autofree char *nowhere = g_build_filename(world->dir, "no/such", NULL);
    g_autoptr(GError) error = NULL;

    assert_null(public_tree_new(nowhere, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
}

/* The same bytes on every machine, and small. */
static void test_gzip(void **state)
{
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3}; /* no time, no name */
    g_autofree char *text = g_strnfill(10000, 'a');
    g_autoptr(GByteArray) one = gzip_compress(text, 10000);
    g_autoptr(GByteArray) other = gzip_compress(text, 10000);
    g_autoptr(GByteArray) empty = gzip_compress("", 0);

    (void)state;
    assert_true(one->len < 100);
    assert_int_equal(one->len, other->len);
    assert_memory_equal(one->data, other->data, one->len);
    assert_memory_equal(one->data, head, sizeof(head));
    assert_true(empty->len > sizeof(head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put, setup, teardown),
        cmocka_unit_test_setup_teardown(test_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_mixture, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_and_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test(test_gzip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
