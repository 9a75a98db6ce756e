/* lib: loa_engine loa_teststage */
/* Rows that somebody changed or inserted with SQL are refused after they were read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/broadcast_store.h"
#include "tests/support/stage.h"

static struct stage *stage;

static int set_up(void **state)
{
    (void)state;
    stage = stage_new("release");
    stage_exec(stage, "INSERT INTO commune VALUES ('01234', 'Thục Phán')");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_free(stage);
    return 0;
}

static bool genuine(int64_t id)
{
    loa_auto(broadcast) b = broadcast_load(stage->db, id, NULL);

    return b != NULL && release_verify(b, stage->keys, NULL);
}

static void test_altered_rows(void **state)
{
    static const char *const alterations[] = {
        "UPDATE broadcast_text SET body = 'Nộp tiền' WHERE broadcast_id = $1",
        "UPDATE broadcast_text SET correction_body = 'Nộp tiền' WHERE broadcast_id = $1",
        "UPDATE broadcast_text SET signature = NULL WHERE broadcast_id = $1",
        "INSERT INTO broadcast_text (broadcast_id, language, title, body) VALUES ($1, 'en', 't', "
        "'b')",
        "UPDATE broadcast SET area_scope = 'communes', communes = '{01234}' WHERE id = $1",
        "UPDATE broadcast SET realm = 'test' WHERE id = $1",
        "UPDATE broadcast SET level = 'uu_tien' WHERE id = $1",
        "UPDATE broadcast SET class = 'thuong' WHERE id = $1",
        "UPDATE broadcast SET expires_at = expires_at + interval '1 day' WHERE id = $1",
        "UPDATE broadcast SET released_at = released_at + interval '1 second' WHERE id = $1",
        "UPDATE broadcast SET url = 'https://evil.example/' WHERE id = $1",
        "UPDATE broadcast SET approved_by = NULL WHERE id = $1",
        "UPDATE broadcast SET release_signature = (SELECT release_signature FROM broadcast"
        " WHERE id <> $1 AND release_signature IS NOT NULL LIMIT 1) WHERE id = $1",
        "UPDATE broadcast SET release_signature = NULL WHERE id = $1",
        "UPDATE broadcast SET release_signature = '\\x00' WHERE id = $1",
        "UPDATE broadcast_text SET signature = '\\x00' WHERE broadcast_id = $1",
        "UPDATE broadcast_text SET language = 'en' WHERE broadcast_id = $1",
        "UPDATE account SET public_key = decode(repeat('11', 32), 'hex')"
        " WHERE id = (SELECT created_by FROM broadcast WHERE id = $1)",
    };

    (void)state;
    stage_release(stage, true);
    for (size_t i = 0; i < G_N_ELEMENTS(alterations); i++) {
        int64_t id = stage_release(stage, true);
        struct db_params *params = db_params_new();
        g_autoptr(GError) error = NULL;
        db_param_i64(params, id);
        assert_true(genuine(id));
        assert_true(db_begin(stage->db, NULL));
        if (!db_exec(stage->db, alterations[i], params, &error))
            fail_msg("%s: %s", alterations[i], error->message);
        if (genuine(id))
            fail_msg("believed after %s", alterations[i]);
        db_rollback(stage->db);
        assert_true(genuine(id));
    }
}

/* The database itself refuses one person in both roles. */
static void test_one_person_is_refused_by_the_schema(void **state)
{
    int64_t id = stage_release(stage, true);
    struct db_params *params = db_params_new();
    g_autoptr(GError) error = NULL;

    (void)state;
    db_param_i64(params, id);
    assert_false(db_exec(stage->db, "UPDATE broadcast SET approved_by = created_by WHERE id = $1",
                         params, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

/* A whole row inserted by hand, with a text and somebody else's signatures. */
static void test_inserted_row(void **state)
{
    int64_t id = stage_release(stage, true);
    struct db_params *params = db_params_new();
    g_autoptr(PGresult) res = NULL;
    int64_t forged;

    (void)state;
    db_param_i64(params, id);
    res = db_query(stage->db,
                   "INSERT INTO broadcast (alert_id, version, message_type, realm, kind, level,"
                   " class, state, area_scope, expires_at, receipt_window_s, content_hash,"
                   " created_by, creator_signature, approved_by, approver_signature, released_at,"
                   " key_id, release_signature)"
                   " SELECT 'forged', version, message_type, realm, kind, level, class, state,"
                   " area_scope, expires_at, receipt_window_s, content_hash, created_by,"
                   " creator_signature, approved_by, approver_signature, released_at, key_id,"
                   " release_signature FROM broadcast WHERE id = $1 RETURNING id",
                   params, NULL);
    assert_non_null(res);
    forged = db_get_i64(res, 0, 0);
    params = db_params_new();
    db_param_i64(params, forged);
    db_param_i64(params, id);
    assert_true(db_exec(stage->db,
                        "INSERT INTO broadcast_text SELECT $1, language, title, body, instruction,"
                        " correction_title, correction_body, signature FROM broadcast_text"
                        " WHERE broadcast_id = $2",
                        params, NULL));
    assert_false(genuine(forged));
    assert_true(genuine(id));
}

static void test_audit_cannot_be_changed(void **state)
{
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(db_exec(stage->db, "DELETE FROM audit", NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED));
}

/* The CHECKs of the table list the same words as the enums. */
static void test_words_match_the_schema(void **state)
{
    static const struct {
        const char *column;
        const char *const *words;
    } cases[] = {{"realm", broadcast_realm_words}, {"kind", broadcast_kind_words},
                 {"level", broadcast_level_words}, {"class", broadcast_class_words},
                 {"state", broadcast_state_words}, {"area_scope", broadcast_scope_words}};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *list = g_strjoinv("'::text, '", (char **)cases[i].words);
        g_autofree char *sql = g_strdup_printf(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 'broadcast'::regclass"
            " AND pg_get_constraintdef(oid) = $$CHECK ((%s = ANY (ARRAY['%s'::text])))$$",
            cases[i].column, list);
        if (stage_i64(stage, sql) != 1)
            fail_msg("the CHECK of broadcast.%s differs from '%s'", cases[i].column, list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_altered_rows),
        cmocka_unit_test(test_one_person_is_refused_by_the_schema),
        cmocka_unit_test(test_inserted_row),
        cmocka_unit_test(test_audit_cannot_be_changed),
        cmocka_unit_test(test_words_match_the_schema),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
