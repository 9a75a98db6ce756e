/* lib: loa_engine loa_teststage */
/* What is public as files: the bytes of the API, at once after a release, a cancel, an expiry; what
 * nobody signed never; whatever was damaged is made whole. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/broadcast_live.h"
#include "engine/public_feed.h"
#include "engine/public_files.h"
#include "engine/public_json.h"
#include "tests/support/stage.h"
#include "tests/support/testlog.h"
#include "tests/support/testwait.h"

#define URL     "https://loa.example.vn"
#define AUTHOR  "Tỉnh Cao Bằng"
#define POLL_MS 50
#define NO_POLL 600000 /* ms: only NOTIFY wakes it */
#define WAIT_MS 20000

struct world {
    struct stage *stage;
    struct public_files *files[2];
    char *folder[2];
};

static void start_with(struct world *world, int n, int64_t poll_ms)
{
    const struct public_files_options options = {.folder = world->folder[n],
                                                 .conninfo = world->stage->conninfo,
                                                 .clock = clock_system(),
                                                 .keys = world->stage->keys,
                                                 .public_url = URL,
                                                 .author = AUTHOR,
                                                 .poll_ms = poll_ms};
    g_autoptr(GError) error = NULL;

    world->files[n] = public_files_new(&options, &error);
    if (world->files[n] == NULL)
        fail_msg("%s", error->message);
}

static void start(struct world *world, int n)
{
    start_with(world, n, POLL_MS);
}

static void stop(struct world *world, int n)
{
    g_clear_pointer(&world->files[n], public_files_free);
}

static int setup(void **state)
{
    struct world *world = g_new0(struct world, 1);

    world->stage = stage_new("public_files");
    for (int n = 0; n < 2; n++)
        world->folder[n] = g_strdup_printf("%s/public%d", world->stage->dir, n);
    testlog_setup(state);
    testlog_allow("broadcast_hidden");
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    int result;

    for (int n = 0; n < 2; n++) {
        char *argv[] = {"rm", "-rf", world->folder[n], NULL};
        stop(world, n);
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
        g_free(world->folder[n]);
    }
    result = testlog_teardown(state);
    stage_free(world->stage);
    g_free(world);
    return result;
}

static char *path_of(const struct world *world, int n, const char *name)
{
    return g_build_filename(world->folder[n], "api/v1", name, NULL);
}

/* NULL: no such file. Owned. */
static char *contents(const struct world *world, int n, const char *name)
{
    g_autofree char *path = path_of(world, n, name);
    char *text = NULL;

    (void)g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

static char *alert_id(struct world *world, int64_t id)
{
    g_autofree char *sql =
        g_strdup_printf("SELECT alert_id FROM broadcast WHERE id = %" G_GINT64_FORMAT, id);
    g_autoptr(PGresult) res = db_query(world->stage->db, sql, NULL, NULL);

    return g_strdup(db_get_text(res, 0, 0));
}

static char *file_of(struct world *world, int64_t id)
{
    g_autofree char *alert = alert_id(world, id);

    return g_strdup_printf("alerts/%s.json", alert);
}

/* A file is awaited: its text has this in it, or it is gone (text NULL). */
struct wanted {
    const struct world *world;
    const char *name, *text;
};

static bool is_there(void *user)
{
    const struct wanted *wanted = user;
    g_autofree char *found = contents(wanted->world, 0, wanted->name);

    return wanted->text == NULL ? found == NULL
                                : found != NULL && strstr(found, wanted->text) != NULL;
}

/* Returns the ms that it took. */
static int64_t await(struct world *world, const char *name, const char *text)
{
    struct wanted wanted = {world, name, text};
    int64_t from = g_get_monotonic_time();

    if (!test_wait_until(is_there, &wanted, WAIT_MS))
        fail_msg("%s has no %s", name, text != NULL ? text : "end");
    return (g_get_monotonic_time() - from) / 1000;
}

static bool both_settled(void *user)
{
    const struct world *world = user;

    return (world->files[0] == NULL || public_files_settled(world->files[0])) &&
           (world->files[1] == NULL || public_files_settled(world->files[1]));
}

static void settle(struct world *world)
{
    assert_true(test_wait_until(both_settled, world, WAIT_MS));
}

/* ---- what the API would answer ---- */

static void assert_file(struct world *world, const char *name, char *expected)
{
    g_autofree char *owned = expected;
    g_autofree char *found = contents(world, 0, name);

    assert_non_null(found);
    assert_string_equal(found, owned);
}

static json_t *api_page(struct world *world, bool active, int64_t *next)
{
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(world->stage->keys);
    json_t *alerts = broadcast_public_list(shelf, world->stage->db, active, 0,
                                           BROADCAST_PAGE_DEFAULT, next, NULL);

    assert_non_null(alerts);
    return alerts;
}

static void assert_like_api(struct world *world)
{
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(world->stage->keys);
    g_autoptr(PGresult) res =
        db_query(world->stage->db, "SELECT DISTINCT alert_id FROM broadcast WHERE realm = 'live'",
                 NULL, NULL);
    g_autoptr(json_t) alerts = NULL;
    int64_t next;

    settle(world);
    for (int i = 0; i < PQntuples(res); i++) {
        g_autofree char *name = g_strdup_printf("alerts/%s.json", db_get_text(res, i, 0));
        json_t *alert = broadcast_public_get(shelf, world->stage->db, db_get_text(res, i, 0), NULL);
        assert_non_null(alert);
        assert_file(world, name, public_json_text(alert));
    }
    alerts = api_page(world, true, &next);
    assert_file(world, "alerts-active.json",
                public_json_text(public_list_json(json_incref(alerts), next)));
    json_decref(g_steal_pointer(&alerts));
    alerts = api_page(world, false, &next);
    assert_file(world, "alerts.atom", public_feed_text(alerts, URL, AUTHOR));
    assert_file(world, "alerts.json",
                public_json_text(public_list_json(json_incref(alerts), next)));
}

/* ---- tests ---- */

static void test_release_and_cancel(void **state)
{
    struct world *world = *state;
    int64_t id;
    g_autofree char *name = NULL;

    start_with(world, 0, NO_POLL);
    await(world, "alerts.json", "\"alerts\":[]");
    assert_like_api(world);
    id = stage_release(world->stage, true);
    name = file_of(world, id);
    print_message("release to file: %d ms\n", (int)await(world, name, "\"state\":\"active\""));
    await(world, "alerts.json", "Lũ khẩn cấp");
    assert_like_api(world);

    stage_cancel(world->stage, id);
    await(world, name, "\"state\":\"cancelled\"");
    assert_like_api(world);
    await(world, "alerts-active.json", "\"alerts\":[]");
}

static void test_expiry(void **state)
{
    struct world *world = *state;
    g_autofree char *name = NULL;

    stage_release(world->stage, false);
    start(world, 0);
    world->stage->life_s = 2;
    name = file_of(world, stage_release(world->stage, true));
    await(world, "alerts-active.json", "khan_cap");
    await(world, name, "\"state\":\"expired\"");
    assert_like_api(world);
    g_autofree char *active = contents(world, 0, "alerts-active.json");
    assert_null(strstr(active, "khan_cap"));
    assert_non_null(strstr(active, "\"state\":\"active\""));
    g_autofree char *feed = contents(world, 0, "alerts.atom");
    assert_null(strstr(feed, "khan_cap"));
}

/* Drafts, exercises, rows that nobody signed: also when they pretend to correct a genuine alert. */
static void test_what_is_not_public(void **state)
{
    static const char forge[] =
        "INSERT INTO broadcast (alert_id, version, message_type, corrects, realm, kind, level, "
        "class, state, area_scope, expires_at, receipt_window_s, content_hash, created_by, "
        "creator_signature, released_at, key_id, release_signature) SELECT CASE v WHEN 9 THEN "
        "'FORGED' ELSE alert_id END, v, CASE v WHEN 2 THEN 'cancel' ELSE 'alert' END, CASE v WHEN "
        "2 THEN id END, realm, kind, level, class, 'released', area_scope, expires_at, "
        "receipt_window_s, content_hash, created_by, creator_signature, released_at, key_id, "
        "release_signature FROM broadcast, unnest(ARRAY[2, 3, 9]) v WHERE version = 1";
    struct world *world = *state;
    int64_t id = stage_release(world->stage, true);
    g_autofree char *name = file_of(world, id);
    g_autofree char *forged = NULL, *list = NULL;

    stage_exec(world->stage, forge);
    start(world, 0);
    await(world, name, "\"v\":\"1\"");
    settle(world);
    forged = contents(world, 0, "alerts/FORGED.json");
    assert_null(forged);
    list = contents(world, 0, "alerts.json");
    assert_non_null(strstr(list, "\"state\":\"active\""));
    assert_null(strstr(list, "FORGED"));
    /* An exercise, as far as the database goes: it must leave at once. */
    stage_exec(world->stage, "UPDATE broadcast SET realm = 'exercise', class = 'dien_tap'");
    stop(world, 0);
    testlog_expect("public_files_swept");
    start(world, 0);
    await(world, name, NULL);
    await(world, "alerts.json", "\"alerts\":[]");
}

/* More alerts than a page, written while nobody looked. */
static void test_many(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < BROADCAST_PAGE_DEFAULT + 5; i++) {
        int64_t id = stage_release(world->stage, false);
        if (i % 4 == 0)
            stage_cancel(world->stage, id);
    }
    start(world, 0);
    await(world, "alerts.json", "\"next\":\"");
    assert_like_api(world);
    stage_release(world->stage, true);
    await(world, "alerts.json", "khan_cap");
    assert_like_api(world);
}

static void test_restart_heals(void **state)
{
    struct world *world = *state;
    int64_t id = stage_release(world->stage, true);
    g_autofree char *name = file_of(world, id);
    g_autofree char *path = path_of(world, 0, name);
    g_autofree char *stray = path_of(world, 0, "alerts/20200101-STRAY1.json");
    g_autofree char *list = path_of(world, 0, "alerts.json");

    start(world, 0);
    await(world, name, "Lũ khẩn cấp");
    settle(world);
    stop(world, 0);
    assert_true(g_file_set_contents(path, "{\"title\":\"Chuyển tiền\"}", -1, NULL));
    assert_true(g_file_set_contents(stray, "{}", -1, NULL));
    assert_int_equal(unlink(list), 0);
    testlog_expect("public_files_swept");
    start(world, 0);
    await(world, name, "Lũ khẩn cấp");
    assert_like_api(world);
    assert_int_equal(access(stray, F_OK), -1);
}

/* nginx makes its ETag of modification time and size: both must agree between machines, however
 * different the times are at which they learned of an alert. */
static void test_two_machines_agree(void **state)
{
    static const char *const lists[] = {"alerts.json", "alerts-active.json", "alerts.atom"};
    struct world *world = *state;
    int64_t id = stage_release(world->stage, true), cancelled;
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    start(world, 0);
    cancelled = stage_release(world->stage, false);
    g_ptr_array_add(names, file_of(world, id));
    g_ptr_array_add(names, file_of(world, cancelled));
    settle(world);
    stage_cancel(world->stage, cancelled);
    await(world, names->pdata[1], "\"state\":\"cancelled\"");
    start(world, 1);
    settle(world);
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        g_ptr_array_add(names, g_strdup(lists[i]));
    for (guint i = 0, plain = names->len; i < plain; i++)
        g_ptr_array_add(names, g_strconcat(names->pdata[i], ".gz", NULL));
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *one = path_of(world, 0, names->pdata[i]);
        g_autofree char *other = path_of(world, 1, names->pdata[i]);
        struct stat a, b;
        assert_int_equal(stat(one, &a), 0);
        assert_int_equal(stat(other, &b), 0);
        assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
        assert_int_equal(a.st_size, b.st_size);
    }
    g_ptr_array_unref(names);
}

static bool has_failed(void *user)
{
    (void)user;
    return testlog_count("public_files_failed") > 0;
}

/* A disk that refuses is told of, once, and made good as soon as it does not. */
static void test_disk_refuses(void **state)
{
    struct world *world = *state;
    g_autofree char *alerts = path_of(world, 0, "alerts");
    g_autofree char *away = path_of(world, 0, "away");
    g_autofree char *name = NULL;

    start(world, 0);
    settle(world);
    assert_int_equal(rename(alerts, away), 0);
    assert_true(g_file_set_contents(alerts, "no folder", -1, NULL));
    testlog_expect("public_files_failed");
    name = file_of(world, stage_release(world->stage, true));
    assert_true(test_wait_until(has_failed, NULL, WAIT_MS));
    assert_false(public_files_settled(world->files[0]));
    assert_int_equal(unlink(alerts), 0); /* the folder is made anew */
    await(world, name, "Lũ khẩn cấp");
    assert_like_api(world);
    assert_int_equal(testlog_count("public_files_failed"), 1);
}

/* A correction that finds no room: rather no file than the alert that was taken back. */
static void test_disk_full(void **state)
{
    struct world *world = *state;
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = RLIM_INFINITY};
    const struct rlimit all = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    int64_t id = stage_release(world->stage, true);
    g_autofree char *name = file_of(world, id);

    start(world, 0);
    await(world, name, "\"state\":\"active\"");
    settle(world);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    testlog_expect("public_files_failed");
    stage_cancel(world->stage, id);
    await(world, name, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    await(world, name, "\"state\":\"cancelled\"");
    assert_like_api(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_release_and_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_public, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_machines_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
