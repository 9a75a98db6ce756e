/* lib: loa_engine loa_teststage */
/* What outsiders read of the broadcasts: live ones for a device, the public list; and that a row
 * which nobody signed is never shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/broadcast_live.h"
#include "tests/support/stage.h"

static json_t *live(struct stage *stage, struct broadcast_shelf *shelf, const char *realm,
                    const char *commune, const char *language)
{
    g_autoptr(GError) error = NULL;
    json_t *list = broadcast_live(shelf, stage->db, realm, commune, language, &error);

    if (list == NULL)
        fail_msg("%s", error->message);
    return list;
}

static size_t live_count(struct stage *stage, const char *realm, const char *commune)
{
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    g_autoptr(json_t) list = live(stage, shelf, realm, commune, "vi");

    return json_array_size(list);
}

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* A broadcast for communes and in two languages, through the real acts. */
static int64_t release_in(struct stage *stage, enum broadcast_realm realm, const char *communes)
{
    struct broadcast_actor creator = {
        .db = stage->db, .account = stage->creator, .account_key = stage->creator_key};
    struct broadcast_actor approver = {.db = stage->db,
                                       .account = stage->approver,
                                       .account_key = stage->approver_key,
                                       .release_key = stage->release_key,
                                       .release_key_id = "k1",
                                       .release_keys = stage->keys};
    struct broadcast_create_options options = {.again = true};
    loa_auto(broadcast) b = broadcast_new();
    int64_t existing;
    bool already;
    g_autoptr(GError) error = NULL;

    b->realm = realm;
    b->kind = BROADCAST_THONG_TIN;
    b->level = BROADCAST_THUONG;
    b->expires_utc_us = (g_get_real_time() / USEC_PER_SEC + 3600) * USEC_PER_SEC;
    b->receipt_window_s = 60;
    broadcast_set(&broadcast_text_add(b, "vi")->title, "Lịch cúp điện");
    broadcast_set(&broadcast_text_add(b, "vi")->body, "Ngày mai cúp điện từ 8 giờ.");
    broadcast_set(&broadcast_text_add(b, "en")->title, "Power cut");
    broadcast_set(&broadcast_text_add(b, "en")->body, "No power tomorrow from 8.");
    if (!broadcast_set_area(b, communes == NULL, communes, &error) ||
        !broadcast_create(&creator, b, &options, NULL, &existing, &error) ||
        !broadcast_approve(&approver, b->id, b->content_hash, true, &already, &error))
        fail_msg("%s", error->message);
    return b->id;
}

static void test_payload_and_signature(void **state)
{
    struct stage *stage = *state;
    int64_t id = stage_release(stage, true);
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    g_autoptr(json_t) list = live(stage, shelf, "live", NULL, "tyz");
    const json_t *alert = json_array_get(list, 0);
    struct message m = {.type = MESSAGE_ALERT,
                        .alert_id = text(alert, "alert"),
                        .version = (int)g_ascii_strtoll(text(alert, "v"), NULL, 10),
                        .kind = text(alert, "kind"),
                        .level = text(alert, "level"),
                        .cls = text(alert, "class"),
                        .realm = text(alert, "realm"),
                        .issued_s = g_ascii_strtoll(text(alert, "issued"), NULL, 10),
                        .expires_s = g_ascii_strtoll(text(alert, "expires"), NULL, 10),
                        .title = text(alert, "title"),
                        .body = text(alert, "body"),
                        .instruction = text(alert, "instruction"),
                        .areas = text(alert, "areas"),
                        .language = text(alert, "lang"),
                        .url = "",
                        .source_document = "",
                        .receipt_window_s = g_ascii_strtoll(text(alert, "window"), NULL, 10),
                        .key_id = text(alert, "key")};
    g_autoptr(GByteArray) bytes = message_canonical_bytes(&m);
    uint8_t signature[ED25519_SIGNATURE_LEN];
    size_t len;

    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(m.language, "vi"); /* no text in tyz */
    assert_string_equal(m.level, "khan_cap");
    assert_string_equal(m.areas, "toan_tinh");
    assert_true(crypto_base64url_decode(text(alert, "sig"), signature, sizeof(signature), &len));
    assert_true(
        ed25519_verify(release_keys_get(stage->keys, 0), bytes->data, bytes->len, signature));
    assert_true(id > 0);
}

static void test_realm_area_language(void **state)
{
    struct stage *stage = *state;
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    int64_t communes = release_in(stage, BROADCAST_LIVE, "01273,01290");

    release_in(stage, BROADCAST_EXERCISE, NULL);
    assert_true(communes > 0);
    assert_int_equal(live_count(stage, "live", NULL), 0);
    assert_int_equal(live_count(stage, "live", "01279"), 0);
    assert_int_equal(live_count(stage, "live", "01273"), 1);
    assert_int_equal(live_count(stage, "live", "01290"), 1);
    assert_int_equal(live_count(stage, "exercise", NULL), 1);
    assert_int_equal(live_count(stage, "test", "01273"), 0);

    g_autoptr(json_t) english = live(stage, shelf, "live", "01273", "en");
    assert_string_equal(text(json_array_get(english, 0), "title"), "Power cut");
    assert_string_equal(text(json_array_get(english, 0), "lang"), "en");
}

static void test_cancel_hides_the_original(void **state)
{
    struct stage *stage = *state;
    int64_t id = stage_release(stage, true);
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    g_autoptr(json_t) before = live(stage, shelf, "live", NULL, "vi");

    stage_cancel(stage, id);
    g_autoptr(json_t) after = live(stage, shelf, "live", NULL, "vi");
    assert_int_equal(json_array_size(after), 1);
    assert_string_equal(text(json_array_get(after, 0), "type"), "cancel");
    assert_string_equal(text(json_array_get(after, 0), "v"), "2");
    assert_string_equal(text(json_array_get(after, 0), "alert"),
                        text(json_array_get(before, 0), "alert"));
}

/* A correction and a newer version that nobody signed, written by hand over a genuine alert. */
static void test_forged_rows_hide_nothing(void **state)
{
    static const char forge[] =
        "INSERT INTO broadcast (alert_id, version, message_type, corrects, realm, kind, level, "
        "class, state, area_scope, expires_at, receipt_window_s, content_hash, created_by, "
        "creator_signature, released_at, key_id, release_signature) SELECT alert_id, v, "
        "CASE v WHEN 2 THEN 'cancel' ELSE 'alert' END, CASE v WHEN 2 THEN id END, realm, kind, "
        "level, class, 'released', area_scope, expires_at, receipt_window_s, content_hash, "
        "created_by, creator_signature, released_at, key_id, release_signature "
        "FROM broadcast, generate_series(2, 4) v WHERE version = 1";
    struct stage *stage = *state;
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    g_autoptr(GError) error = NULL;
    int64_t next = -1;

    stage_release(stage, true);
    g_autoptr(PGresult) res = db_query(stage->db, "SELECT alert_id FROM broadcast", NULL, NULL);
    stage_exec(stage, forge);
    assert_int_equal(live_count(stage, "live", NULL), 1);
    g_autoptr(json_t) list = broadcast_public_list(shelf, stage->db, true, 0, 1, &next, &error);
    assert_int_equal(json_array_size(list), 1);
    g_autoptr(json_t) alert =
        broadcast_public_get(shelf, stage->db, db_get_text(res, 0, 0), &error);
    assert_non_null(alert);
    assert_string_equal(text(alert, "v"), "1");
    assert_string_equal(text(alert, "state"), "active");
}

/* A draft, one that expired, and forged ones: none of them is shown. */
static void test_what_is_not_shown(void **state)
{
    struct stage *stage = *state;
    int64_t id = stage_release(stage, true);

    assert_int_equal(live_count(stage, "live", NULL), 1);
    /* Another process without the right key refused it: we verify for ourselves. */
    stage_exec(stage, "UPDATE broadcast SET refused_at = now()");
    assert_int_equal(live_count(stage, "live", NULL), 1);
    stage_exec(stage, "UPDATE broadcast_text SET body = 'Chuyển tiền vào tài khoản này.'");
    assert_int_equal(live_count(stage, "live", NULL), 0);
    stage_exec(stage, "DELETE FROM broadcast_text");
    assert_int_equal(live_count(stage, "live", NULL), 0);
    assert_true(id > 0);
}

static void test_expired(void **state)
{
    struct stage *stage = *state;

    stage->life_s = 1;
    stage_release(stage, true);
    stage->life_s = 7200;
    stage_until(stage, "SELECT (max(expires_at) < now())::int FROM broadcast");
    assert_int_equal(live_count(stage, "live", NULL), 0);
}

static json_t *page(struct stage *stage, struct broadcast_shelf *shelf, bool active, int64_t cursor,
                    int64_t *next)
{
    g_autoptr(GError) error = NULL;
    json_t *list = broadcast_public_list(shelf, stage->db, active, cursor, 2, next, &error);

    if (list == NULL)
        fail_msg("%s", error->message);
    return list;
}

static void test_public_list(void **state)
{
    struct stage *stage = *state;
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    int64_t next = -1;

    for (int i = 0; i < 3; i++)
        release_in(stage, BROADCAST_LIVE, "01273");
    release_in(stage, BROADCAST_EXERCISE, NULL);
    release_in(stage, BROADCAST_TEST, NULL);
    stage_cancel(stage, release_in(stage, BROADCAST_LIVE, NULL));

    g_autoptr(json_t) first = page(stage, shelf, false, 0, &next);
    assert_int_equal(json_array_size(first), 2);
    assert_string_equal(text(json_array_get(first, 0), "state"), "cancelled");
    assert_string_equal(text(json_array_get(first, 1), "state"), "active");
    assert_string_equal(
        text(json_object_get(json_object_get(json_array_get(first, 1), "texts"), "en"), "title"),
        "Power cut");
    assert_null(json_object_get(json_array_get(first, 1), "title"));
    assert_non_null(
        text(json_object_get(json_object_get(json_array_get(first, 1), "texts"), "vi"), "sig"));
    g_autoptr(json_t) second = page(stage, shelf, false, next, &next);
    assert_int_equal(json_array_size(second), 2);
    g_autoptr(json_t) third = page(stage, shelf, false, next, &next);
    assert_int_equal(json_array_size(third), 0);
    assert_int_equal(next, 0);
    g_autoptr(json_t) active = page(stage, shelf, true, 0, &next);
    assert_int_equal(json_array_size(active), 2);
    assert_string_equal(text(json_array_get(active, 0), "state"), "active");
}

static void test_public_get(void **state)
{
    static const char *const unknown[] = {
        "20000101-NOSUCH", "", "a b", "\xff\xfe", "x'; --", "123456789012345678901234567890123"};
    struct stage *stage = *state;
    loa_auto(broadcast_shelf) shelf = broadcast_shelf_new(stage->keys);
    int64_t id = stage_release(stage, true);
    g_autoptr(PGresult) res = db_query(stage->db, "SELECT alert_id FROM broadcast", NULL, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) alert =
        broadcast_public_get(shelf, stage->db, db_get_text(res, 0, 0), &error);

    assert_non_null(alert);
    assert_string_equal(text(alert, "state"), "active");
    stage_cancel(stage, id);
    g_autoptr(json_t) cancelled =
        broadcast_public_get(shelf, stage->db, db_get_text(res, 0, 0), &error);
    assert_string_equal(text(cancelled, "state"), "cancelled");
    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++) {
        assert_null(broadcast_public_get(shelf, stage->db, unknown[i], &error));
        assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
        g_clear_error(&error);
    }
}

static int setup(void **state)
{
    struct stage *stage = stage_new("broadcast_live");

    stage_exec(stage, "INSERT INTO commune (code, name) VALUES ('01273', 'Thục Phán'), "
                      "('01279', 'Tân Giang'), ('01290', 'Bảo Lạc') ON CONFLICT DO NOTHING");
    *state = stage;
    return 0;
}

static int teardown(void **state)
{
    stage_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_payload_and_signature, setup, teardown),
        cmocka_unit_test_setup_teardown(test_realm_area_language, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_hides_the_original, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_rows_hide_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_public_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_public_get, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
