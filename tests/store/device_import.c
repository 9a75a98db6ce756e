/* lib: loa_engine loa_teststage */
/* Import against PostgreSQL: all or nothing, repeatable, and the same rules as a registration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/device_import.h"
#include "engine/device_store.h"
#include "tests/support/stage.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define KEY_A "install-000000000A"
#define KEY_B "install-000000000B"

/* What the callbacks were told. */
struct told {
    GString *bad;     /* "3:reason\n" */
    GString *secrets; /* "id,secret,commune,language\n" */
    unsigned steps;
};

static void on_bad(uint64_t line, const char *reason, void *user)
{
    struct told *told = user;

    g_string_append_printf(told->bad, "%" G_GUINT64_FORMAT ":%s\n", line, reason);
}

static void on_progress(uint64_t lines, uint64_t bytes, const char *step, void *user)
{
    struct told *told = user;

    (void)lines;
    (void)bytes;
    if (step != NULL)
        told->steps++;
}

static bool on_secret(int64_t id, const char *secret, const char *commune, const char *language,
                      void *user, GError **error)
{
    struct told *told = user;

    (void)error;
    g_string_append_printf(told->secrets, "%" G_GINT64_FORMAT ",%s,%s,%s\n", id, secret, commune,
                           language);
    return true;
}

static struct told told;

/* Imports the text; the counts of a refused import are filled, too. */
static bool import_with(struct stage *stage, const char *text, struct device_import_options options,
                        struct device_import_counts *counts, GError **error)
{
    FILE *in = fmemopen((void *)text, strlen(text), "r");
    bool ok;

    assert_non_null(in);
    g_string_truncate(told.bad, 0);
    g_string_truncate(told.secrets, 0);
    if (options.realm == NULL)
        options.realm = "live";
    options.on_bad = on_bad;
    options.on_progress = on_progress;
    options.on_secret = on_secret;
    options.user = &told;
    ok = device_import(stage->db, in, &options, counts, error);
    fclose(in);
    return ok;
}

static struct device_import_counts import(struct stage *stage, const char *text)
{
    struct device_import_counts counts;
    g_autoptr(GError) error = NULL;

    if (!import_with(stage, text, (struct device_import_options){0}, &counts, &error))
        fail_msg("%s\n%s", error->message, told.bad->str);
    return counts;
}

static void expect(const struct device_import_counts *counts, uint64_t lines, uint64_t added,
                   uint64_t updated, uint64_t repeated, uint64_t moved)
{
    assert_int_equal(counts->lines, lines);
    assert_int_equal(counts->added, added);
    assert_int_equal(counts->updated, updated);
    assert_int_equal(counts->repeated, repeated);
    assert_int_equal(counts->moved, moved);
}

static void test_csv_twice(void **state)
{
    static const char text[] = "\xEF\xBB\xBF"
                               "platform,token,commune,language,os,key,mqtt\r\n"
                               "fcm,tok1,01273,tyz,\"Android \\ \"\"14\"\"\",,\r\n"
                               "apns," HEX64 ",,,,,\r\n"
                               "fcm,tok2,01273,,,,true\r\n"
                               "mqtt,,01273,,,install-0123456789,\r\n"
                               "\r\n";
    struct stage *stage = *state;
    struct device_import_counts counts = import(stage, text);

    expect(&counts, 4, 4, 0, 0, 0);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'fcm' AND "
                                      "push_token = 'tok1' AND language = 'tyz' AND commune = "
                                      "'01273' AND os = E'Android \\\\ \"14\"' AND realm = 'live' "
                                      "AND proven_at IS NULL"),
                     1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'apns' AND "
                                      "apns_environment = 'production' AND commune IS NULL"),
                     1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE mqtt"), 2);
    counts = import(stage, text);
    expect(&counts, 4, 0, 4, 0, 0);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device"), 4);
    assert_true(told.steps > 0);
}

static void test_ndjson(void **state)
{
    struct stage *stage = *state;
    struct device_import_counts counts =
        import(stage, "{\"platform\":\"fcm\",\"token\":\"nd1\",\"id_kind\":\"fid\"}\n"
                      "{\"platform\":\"fcm\",\"token\":\"nd2\",\"silent_information\":true}");

    expect(&counts, 2, 2, 0, 0, 0);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE id_kind = 'fid' OR "
                                      "silent_information"),
                     2);
}

static void test_bad_lines(void **state)
{
    static const char text[] = "platform,token,commune\n"
                               "fcm,ok1,01273\n"
                               "fcm,,01273\n"
                               "fcm,ok2,99999\n"
                               "apns,xyz,\n"
                               "fcm,ok3,01273\n";
    struct stage *stage = *state;
    struct device_import_counts counts;
    g_autoptr(GError) error = NULL;

    assert_false(import_with(stage, text, (struct device_import_options){0}, &counts, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    assert_int_equal(counts.bad, 3);
    expect(&counts, 5, 0, 0, 0, 0);
    assert_non_null(strstr(told.bad->str, "3:token: is needed"));
    assert_non_null(strstr(told.bad->str, "4:commune: is not"));
    assert_non_null(strstr(told.bad->str, "5:token: must be the APNs"));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device"), 0);

    assert_true(import_with(stage, text, (struct device_import_options){.skip_bad = true}, &counts,
                            &error));
    assert_int_equal(counts.bad, 3);
    expect(&counts, 5, 2, 0, 0, 0);
}

static void test_line_limits(void **state)
{
    struct stage *stage = *state;
    g_autofree char *padding = g_strnfill(9000, 'x');
    g_autofree char *text = g_strdup_printf("platform,token\nfcm,%s\nfcm,good\n", padding);
    struct device_import_counts counts;
    g_autoptr(GError) error = NULL;

    assert_true(import_with(stage, text, (struct device_import_options){.skip_bad = true}, &counts,
                            &error));
    assert_int_equal(counts.bad, 1);
    assert_string_equal(told.bad->str, "2:is longer than 8192 bytes\n");
    assert_int_equal(counts.added, 1);
    assert_false(import_with(stage, "", (struct device_import_options){0}, &counts, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

static void test_repeated_in_the_file(void **state)
{
    struct stage *stage = *state;
    struct device_import_counts counts = import(stage, "platform,token,language,key\n"
                                                       "fcm,same,vi,\n"
                                                       "fcm,other,vi,\n"
                                                       "fcm,same,en,\n"
                                                       "mqtt,,vi," KEY_A "\n"
                                                       "mqtt,,tyz," KEY_A "\n");

    expect(&counts, 5, 3, 0, 2, 0);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE push_token = 'same' AND "
                                      "language = 'en'"),
                     1);
    assert_int_equal(
        stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'mqtt' AND language = 'tyz'"),
        1);
}

/* Two installs, known by their keys, have exchanged their tokens; a third one loses its own. */
static void test_tokens_move(void **state)
{
    struct stage *stage = *state;
    struct device_import_counts counts = import(stage, "platform,token,key\n"
                                                       "fcm,t1," KEY_A "\n"
                                                       "fcm,t2," KEY_B "\n"
                                                       "fcm,t3,\n");
    int64_t a = stage_i64(stage, "SELECT id FROM device WHERE push_token = 't1'");
    g_autofree char *a_has_t2 = g_strdup_printf(
        "SELECT count(*) FROM device WHERE push_token = 't2' AND id = %" G_GINT64_FORMAT, a);

    expect(&counts, 3, 3, 0, 0, 0);
    stage_exec(stage, "UPDATE device SET proven_at = now()");
    counts = import(stage, "platform,token,key\nfcm,t2," KEY_A "\nfcm,t1," KEY_B "\n");
    expect(&counts, 2, 0, 2, 0, 2);
    assert_int_equal(stage_i64(stage, a_has_t2), 1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'fcm'"), 3);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE proven_at IS NOT NULL"),
                     1);
    counts = import(stage, "platform,token,key\nfcm,t3," KEY_A "\n");
    expect(&counts, 1, 0, 1, 0, 1);
    assert_int_equal(
        stage_i64(stage, "SELECT count(*) FROM device WHERE retired_reason = 'token_moved'"), 1);
}

static void test_proven(void **state)
{
    struct stage *stage = *state;
    struct device_import_counts counts;
    g_autoptr(GError) error = NULL;

    assert_true(import_with(stage, "platform,token,key\nfcm,p1,\nmqtt,," KEY_A "\n",
                            (struct device_import_options){.proven = true}, &counts, &error));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE proven_at IS NOT NULL"),
                     1);
}

static void test_realms_do_not_mix(void **state)
{
    struct stage *stage = *state;
    struct device_import_counts counts;
    g_autoptr(GError) error = NULL;

    import(stage, "platform,token\nfcm,live1\n");
    assert_false(import_with(stage, "platform,token\nfcm,live1\nfcm,drill\n",
                             (struct device_import_options){.realm = "exercise"}, &counts, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device"), 1);
    g_clear_error(&error);
    assert_true(import_with(stage, "platform,token\nfcm,drill\n",
                            (struct device_import_options){.realm = "exercise"}, &counts, &error));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE realm = 'exercise'"), 1);
}

static void test_secrets(void **state)
{
    struct stage *stage = *state;
    uint8_t bytes[32] = {7};
    loa_auto(device_secret_key) key = device_secret_key_new(bytes, sizeof(bytes));
    struct device_import_options options = {.secrets_key = key};
    struct device_import_counts counts;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) lines = NULL;
    int generation;

    assert_true(import_with(stage,
                            "platform,token,key,mqtt,commune,language\n"
                            "mqtt,," KEY_A ",,01273,tyz\n"
                            "fcm,s1,,true,,vi\n"
                            "fcm,s2,,,,vi\n",
                            options, &counts, &error));
    lines = g_strsplit(told.secrets->str, "\n", -1);
    assert_int_equal(g_strv_length(lines), 3); /* two and the empty end */
    for (int i = 0; i < 2; i++) {
        g_auto(GStrv) parts = g_strsplit(lines[i], ",", -1);
        assert_int_equal(g_strv_length(parts), 4);
        assert_true(
            device_secret_check(key, g_ascii_strtoll(parts[0], NULL, 10), parts[1], &generation));
        assert_string_equal(parts[2], i == 0 ? "01273" : "");
        assert_string_equal(parts[3], i == 0 ? "tyz" : "vi");
    }
}

/* A key of an import opens no registration over HTTP: SHA-256 of the bare key is another hash. */
static void test_import_key_is_no_idempotency_key(void **state)
{
    struct stage *stage = *state;
    struct device_state device = {
        .channel = "mqtt", .mqtt = true, .os = "", .app_version = "", .language = "vi"};
    g_autoptr(GError) error = NULL;
    uint8_t hash[SHA256_LEN];
    bool created;

    import(stage, "platform,key\nmqtt," KEY_A "\n");
    crypto_sha256(KEY_A, strlen(KEY_A), hash);
    loa_auto(device_row) row = device_register(stage->db, hash, "live", &device, &created, &error);
    assert_non_null(row);
    assert_true(created);
}

/* Statements whose cost grows with the square of the lines would outlast the test's time limit. */
static void test_many_lines(void **state)
{
    struct stage *stage = *state;
    g_autoptr(GString) text = g_string_new("platform,token,key\n");

    for (unsigned i = 0; i < 50000; i++)
        g_string_append_printf(text, "fcm,many-%u,install-%08u\n", i, i);
    struct device_import_counts counts = import(stage, text->str);
    expect(&counts, 50000, 50000, 0, 0, 0);
    counts = import(stage, text->str);
    expect(&counts, 50000, 0, 50000, 0, 0);
    /* The planner knows them: else each step of a broadcast's plan would sort all of them. */
    assert_int_equal(stage_i64(stage, "SELECT (reltuples BETWEEN 45000 AND 55000)::int::bigint"
                                      " FROM pg_class WHERE oid = 'device'::regclass"),
                     1);
}

static int group_setup(void **state)
{
    struct stage *stage = stage_new("device_import");

    stage_exec(stage, "INSERT INTO commune (code, name) VALUES ('01273', 'Thục Phán') "
                      "ON CONFLICT DO NOTHING");
    told.bad = g_string_new(NULL);
    told.secrets = g_string_new(NULL);
    *state = stage;
    return 0;
}

static int group_teardown(void **state)
{
    g_string_free(told.bad, TRUE);
    g_string_free(told.secrets, TRUE);
    stage_free(*state);
    return 0;
}

static int empty(void **state)
{
    stage_exec(*state, "DELETE FROM device");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_csv_twice, empty),
        cmocka_unit_test_setup(test_ndjson, empty),
        cmocka_unit_test_setup(test_bad_lines, empty),
        cmocka_unit_test_setup(test_line_limits, empty),
        cmocka_unit_test_setup(test_repeated_in_the_file, empty),
        cmocka_unit_test_setup(test_tokens_move, empty),
        cmocka_unit_test_setup(test_proven, empty),
        cmocka_unit_test_setup(test_realms_do_not_mix, empty),
        cmocka_unit_test_setup(test_secrets, empty),
        cmocka_unit_test_setup(test_import_key_is_no_idempotency_key, empty),
        cmocka_unit_test_setup(test_many_lines, empty),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
