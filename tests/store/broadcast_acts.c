/* lib: loa_engine loa_teststage */
/* create, approve, cancel against a real PostgreSQL: two people, duplicates, idempotency, races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/account_store.h"
#include "engine/audit_store.h"
#include "engine/broadcast_store.h"
#include "tests/support/stage.h"

static struct stage *stage;

static int set_up(void **state)
{
    (void)state;
    stage = stage_new("broadcast_acts");
    stage_exec(stage, "INSERT INTO commune VALUES ('01234', 'Thục Phán'), ('01288', 'Đức Long')");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_free(stage);
    return 0;
}

static struct broadcast_actor actor_of(struct account *account, struct signing_key *key)
{
    return (struct broadcast_actor){.db = stage->db,
                                    .account = account,
                                    .account_key = key,
                                    .release_key = stage->release_key,
                                    .release_key_id = "k1",
                                    .release_keys = stage->keys};
}

static struct broadcast *draft(const char *title)
{
    struct broadcast *b = broadcast_new();
    struct broadcast_text *vi = broadcast_text_add(b, "vi");
    int64_t now_utc_us;

    assert_true(broadcast_store_now(stage->db, &now_utc_us, NULL));
    assert_true(broadcast_set_area(b, true, NULL, NULL));
    b->realm = BROADCAST_LIVE;
    b->kind = BROADCAST_CANH_BAO;
    b->level = BROADCAST_KHAN_CAP;
    b->expires_utc_us = now_utc_us + 3600 * USEC_PER_SEC;
    b->receipt_window_s = 600;
    broadcast_set(&vi->title, title);
    broadcast_set(&vi->body, "Nước vượt báo động 3.");
    broadcast_set(&vi->instruction, "Di dời ngay.");
    return b;
}

/* What came of an act: -1 = it succeeded, else the error's code. */
static int create_code(struct broadcast *b, const char *key, bool again, int64_t *out_existing)
{
    struct broadcast_actor actor = actor_of(stage->creator, stage->creator_key);
    struct broadcast_create_options options = {.idempotency_key = key, .again = again};
    g_autoptr(GError) error = NULL;

    return broadcast_create(&actor, b, &options, NULL, out_existing, &error) ? -1 : error->code;
}

static void create(struct broadcast *b)
{
    int64_t existing;

    assert_int_equal(create_code(b, NULL, false, &existing), -1);
    assert_int_equal(existing, 0);
}

static int approve_code(struct account *account, struct signing_key *key, const struct broadcast *b,
                        bool again, bool *out_already)
{
    struct broadcast_actor actor = actor_of(account, key);
    g_autoptr(GError) error = NULL;

    return broadcast_approve(&actor, b->id, b->content_hash, again, out_already, &error)
               ? -1
               : error->code;
}

static void approve(const struct broadcast *b)
{
    bool already = true;

    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already), -1);
    assert_false(already);
}

static int cancel_code(int64_t id, struct broadcast_cancel_result *out)
{
    struct broadcast_actor actor = actor_of(stage->creator, stage->creator_key);
    g_autoptr(GError) error = NULL;

    if (broadcast_cancel(&actor, id, "nhầm địa bàn", out, &error))
        return -1;
    print_message("%s\n", error->message);
    return error->code;
}

static enum broadcast_state state_of(int64_t id)
{
    loa_auto(broadcast) b = broadcast_load(stage->db, id, NULL);

    assert_non_null(b);
    return b->state;
}

static void test_round_trip(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 1");
    loa_auto(broadcast) loaded = NULL;
    struct broadcast_text *en = broadcast_text_add(b, "en");
    uint8_t hash[SHA256_LEN];

    (void)state;
    broadcast_set(&en->title, "Flood");
    broadcast_set(&en->body, "Water \"rises\" \\ {now}, NULL");
    broadcast_set(&en->instruction, "Leave.");
    broadcast_set(&b->url, "https://caobang.gov.vn/a?b=1");
    broadcast_set(&b->source_document, "12/CĐ-UBND");
    assert_true(broadcast_set_area(b, false, "01288,01234", NULL));
    create(b);
    loaded = broadcast_load(stage->db, b->id, NULL);
    assert_non_null(loaded);
    assert_int_equal(loaded->state, BROADCAST_DRAFT);
    assert_string_equal(loaded->alert_id, b->alert_id);
    assert_string_equal(loaded->areas, "01234,01288");
    assert_string_equal(broadcast_text_find(loaded, "en")->body, "Water \"rises\" \\ {now}, NULL");
    assert_string_equal(loaded->creator_name, "an");
    release_content_hash(loaded, hash);
    assert_memory_equal(hash, b->content_hash, sizeof(hash));
    assert_memory_equal(loaded->content_hash, b->content_hash, sizeof(hash));
}

static void test_release_is_genuine_and_complete(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 2");
    loa_auto(broadcast) released = NULL;
    g_autofree char *object = NULL;
    g_autoptr(GPtrArray) history = NULL;
    g_autoptr(GError) error = NULL;

    (void)state;
    create(b);
    approve(b);
    released = broadcast_load(stage->db, b->id, NULL);
    assert_int_equal(released->state, BROADCAST_RELEASED);
    assert_true(release_verify(released, stage->keys, &error));
    assert_int_equal(released->cls, BROADCAST_CLASS_KHAN_CAP);
    assert_string_equal(released->approver_name, "binh");
    object = g_strdup_printf("broadcast:%" G_GINT64_FORMAT, b->id);
    history = audit_store_history(stage->db, object, NULL);
    assert_int_equal(history->len, 2);
    assert_string_equal(((struct audit_row *)history->pdata[0])->act, "broadcast_created");
    assert_string_equal(((struct audit_row *)history->pdata[1])->act, "broadcast_released");
    assert_string_equal(((struct audit_row *)history->pdata[1])->actor, "binh");
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_plan p JOIN broadcast_text t"
                                      " USING (broadcast_id) WHERE t.title = 'Lũ 2'"
                                      " AND NOT p.done"),
                     1);
}

static void test_two_people(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 3");
    bool already;

    (void)state;
    create(b);
    assert_int_equal(approve_code(stage->creator, stage->creator_key, b, false, &already),
                     LOA_ERROR_DENIED);
    /* Neither with the other's name and one's own key. */
    assert_int_equal(approve_code(stage->approver, stage->creator_key, b, false, &already),
                     LOA_ERROR_DENIED);
    assert_int_equal(state_of(b->id), BROADCAST_DRAFT);
}

static void test_disabled_accounts(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 4");
    loa_auto(broadcast) c = draft("Lũ 4b");
    int64_t existing;
    bool already;

    (void)state;
    create(b);
    assert_true(account_store_disable(stage->db, "binh", NULL));
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already),
                     LOA_ERROR_DENIED);
    stage_exec(stage, "UPDATE account SET disabled_at = NULL");
    assert_true(account_store_disable(stage->db, "an", NULL));
    assert_int_equal(create_code(c, NULL, false, &existing), LOA_ERROR_DENIED);
    /* A draft of somebody who was shut out is not released either. */
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already),
                     LOA_ERROR_DENIED);
    stage_exec(stage, "UPDATE account SET disabled_at = NULL");
    approve(b);
}

static void test_approve_is_idempotent(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 5");
    loa_auto(signing_key) third_key = NULL;
    loa_auto(account) third = NULL;
    g_autofree char *path = g_strdup_printf("%s/an.key.third", stage->dir);
    uint8_t public_key[ED25519_KEY_LEN];
    bool already = false;

    (void)state;
    create(b);
    approve(b);
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already), -1);
    assert_true(already);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM audit a JOIN broadcast b"
                                      " ON a.object = 'broadcast:' || b.id JOIN broadcast_text t"
                                      " ON t.broadcast_id = b.id AND t.title = 'Lũ 5'"
                                      " WHERE a.act = 'broadcast_released'"),
                     1);
    assert_true(signing_key_create(path, public_key, NULL));
    third_key = signing_key_load(path, NULL);
    third = account_store_create(stage->db, "chi", public_key, NULL);
    remove(path);
    assert_int_equal(approve_code(third, third_key, b, false, &already), LOA_ERROR_CONFLICT);
}

static void test_approver_gets_what_was_shown(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 6");
    uint8_t shown[SHA256_LEN];
    bool already;

    (void)state;
    create(b);
    memcpy(shown, b->content_hash, sizeof(shown));
    b->content_hash[0] ^= 1;
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already),
                     LOA_ERROR_CONFLICT);
    memcpy(b->content_hash, shown, sizeof(shown));
    /* Altered by hand after the creator signed. */
    stage_exec(stage, "UPDATE broadcast_text SET body = 'Nộp tiền' WHERE title = 'Lũ 6'");
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already),
                     LOA_ERROR_CONFLICT);
    assert_int_equal(state_of(b->id), BROADCAST_DRAFT);
}

static void test_expired_draft(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 7");
    bool already;

    (void)state;
    b->expires_utc_us = g_get_real_time() + 3 * USEC_PER_SEC;
    create(b);
    stage_until(stage, "SELECT (expires_at < now())::int FROM broadcast b JOIN broadcast_text t"
                       " ON t.broadcast_id = b.id WHERE t.title = 'Lũ 7'");
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already),
                     LOA_ERROR_CONFLICT);
}

static void test_same_title_again(void **state)
{
    loa_auto(broadcast) first = draft("Lũ 8");
    loa_auto(broadcast) second = draft("Lũ 8");
    loa_auto(broadcast) third = draft("Lũ 8");
    loa_auto(broadcast) drill = draft("Lũ 8");
    int64_t existing;
    bool already;

    (void)state;
    create(first);
    create(second); /* two drafts are no duplicate yet */
    approve(first);
    assert_int_equal(create_code(third, NULL, false, &existing), LOA_ERROR_CONFLICT);
    assert_int_equal(create_code(third, NULL, true, &existing), -1);
    assert_int_equal(approve_code(stage->approver, stage->approver_key, second, false, &already),
                     LOA_ERROR_CONFLICT);
    assert_int_equal(approve_code(stage->approver, stage->approver_key, second, true, &already),
                     -1);
    drill->realm = BROADCAST_TEST; /* another realm is another matter */
    create(drill);
}

static void test_idempotency_key(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 9");
    loa_auto(broadcast) same = draft("Lũ 9");
    loa_auto(broadcast) other = draft("Lũ 9 khác");
    int64_t existing;

    (void)state;
    assert_int_equal(create_code(b, "key-1", false, &existing), -1);
    assert_int_equal(existing, 0);
    same->expires_utc_us += 5 * USEC_PER_SEC; /* "1h", five seconds later */
    assert_int_equal(create_code(same, "key-1", false, &existing), -1);
    assert_int_equal(existing, b->id);
    assert_string_equal(same->alert_id, b->alert_id);
    assert_int_equal(create_code(other, "key-1", false, &existing), LOA_ERROR_CONFLICT);
    assert_int_equal(
        stage_i64(stage, "SELECT count(*) FROM broadcast_text WHERE title LIKE 'Lũ 9%'"), 1);
}

static void test_unknown_commune(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 10");
    int64_t existing;

    (void)state;
    assert_true(broadcast_set_area(b, false, "01234,99999", NULL));
    assert_int_equal(create_code(b, NULL, false, &existing), LOA_ERROR_INVALID);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM broadcast_text WHERE title = 'Lũ 10'"),
                     0);
}

static void test_resolve(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 11");
    g_autofree char *number = NULL;
    int64_t id;

    (void)state;
    create(b);
    number = g_strdup_printf("%" G_GINT64_FORMAT, b->id);
    assert_true(broadcast_store_resolve(stage->db, number, &id, NULL));
    assert_int_equal(id, b->id);
    assert_true(broadcast_store_resolve(stage->db, b->alert_id, &id, NULL));
    assert_int_equal(id, b->id);
    assert_false(broadcast_store_resolve(stage->db, "x' OR '1'='1", &id, NULL));
}

static void test_cancel_draft_withdraws(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 12");
    struct broadcast_cancel_result result;
    bool already;

    (void)state;
    create(b);
    assert_int_equal(cancel_code(b->id, &result), -1);
    assert_true(result.withdrawn);
    assert_int_equal(state_of(b->id), BROADCAST_WITHDRAWN);
    assert_int_equal(approve_code(stage->approver, stage->approver_key, b, false, &already),
                     LOA_ERROR_CONFLICT);
    assert_int_equal(cancel_code(b->id, &result), -1);
    assert_true(result.already);
}

/* Freezes three chunks by hand: one done, one open, one not begun. */
static void freeze_chunks(int64_t id)
{
    g_autofree char *sql = g_strdup_printf(
        "INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority, members,"
        " member_count, next_position, state) VALUES"
        " (%" G_GINT64_FORMAT ", 0, 'fcm', 0, 0, '\\x0101', 2, 2, 'done'),"
        " (%" G_GINT64_FORMAT ", 1, 'apns', 1, 0, '\\x03', 1, 1, 'open'),"
        " (%" G_GINT64_FORMAT ", 2, 'mqtt', 0, 0, '\\x0401', 2, 0, 'open')",
        id, id, id);
    g_autofree char *flights = g_strdup_printf(
        "INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch, codes) VALUES"
        " (%" G_GINT64_FORMAT ", 0, 0, 2, 1, '\\x0101'), (%" G_GINT64_FORMAT ", 1, 0, 1, 1, NULL)",
        id, id);

    stage_exec(stage, sql);
    stage_exec(stage, flights);
}

static void test_cancel_sends_correction_to_frozen_members(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 13");
    loa_auto(broadcast) correction = NULL;
    struct broadcast_cancel_result result;
    struct message message;
    g_autofree char *sql = NULL;
    g_autoptr(GError) error = NULL;

    (void)state;
    broadcast_set(&broadcast_text_add(b, "vi")->correction_body, "Không có lũ.");
    create(b);
    approve(b);
    freeze_chunks(b->id);
    assert_int_equal(cancel_code(b->id, &result), -1);
    assert_false(result.already || result.withdrawn);
    assert_int_equal(state_of(b->id), BROADCAST_CANCELLED);
    correction = broadcast_load(stage->db, result.correction_id, NULL);
    if (!release_verify(correction, stage->keys, &error))
        fail_msg("%s", error->message);
    assert_string_equal(correction->alert_id, b->alert_id);
    assert_int_equal(correction->version, 2);
    assert_int_equal(correction->corrects, b->id);
    assert_int_equal(correction->expires_utc_us, b->expires_utc_us);
    broadcast_message(correction, "vi", &message);
    assert_string_equal(message.title, "ĐÍNH CHÍNH: Lũ 13");
    assert_string_equal(message.body, "Không có lũ.");
    sql = g_strdup_printf("SELECT count(*) FROM fanout_chunk WHERE broadcast_id = %" G_GINT64_FORMAT
                          " AND state = 'open' AND next_position = 0",
                          result.correction_id);
    assert_int_equal(stage_i64(stage, sql), 3);
    stage_assert_sums(stage);
    /* A second cancel does nothing; the correction itself cannot be taken back. */
    assert_int_equal(cancel_code(b->id, &result), -1);
    assert_true(result.already);
    assert_int_equal(cancel_code(correction->id, &result), LOA_ERROR_CONFLICT);
}

static void test_cancel_of_a_forged_row_is_refused(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 14");
    struct broadcast_cancel_result result;

    (void)state;
    create(b);
    approve(b);
    stage_exec(stage, "UPDATE broadcast_text SET correction_body = 'Chuyển khoản'"
                      " WHERE title = 'Lũ 14'");
    assert_int_equal(cancel_code(b->id, &result), LOA_ERROR_DENIED);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM broadcast_text"
                                      " WHERE body = 'Chuyển khoản'"),
                     0);
}

static void test_cancel_after_expiry_is_refused(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 15");
    struct broadcast_cancel_result result;

    (void)state;
    b->expires_utc_us = g_get_real_time() + 3 * USEC_PER_SEC;
    create(b);
    approve(b);
    stage_until(stage, "SELECT (expires_at < now())::int FROM broadcast b JOIN broadcast_text t"
                       " ON t.broadcast_id = b.id WHERE t.title = 'Lũ 15'");
    assert_int_equal(cancel_code(b->id, &result), LOA_ERROR_CONFLICT);
}

/* A planner that read the plan before the cancel writes nothing after it. */
static void test_planner_loses_against_cancel(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 16");
    struct broadcast_cancel_result result;
    g_autofree char *sql = NULL;

    (void)state;
    create(b);
    approve(b);
    assert_int_equal(cancel_code(b->id, &result), -1);
    sql = g_strdup_printf(
        "SELECT count(*) FROM fanout_plan WHERE done AND broadcast_id IN (%" G_GINT64_FORMAT
        ", %" G_GINT64_FORMAT ")",
        b->id, result.correction_id);
    assert_int_equal(stage_i64(stage, sql), 2);
}

struct racer {
    int64_t id;
    struct broadcast_cancel_result result;
    bool ok;
};

static void *race_cancel(void *data)
{
    struct racer *racer = data;
    loa_auto(db) db = db_open(stage->conninfo, NULL);
    struct broadcast_actor actor = actor_of(stage->creator, stage->creator_key);

    actor.db = db;
    racer->ok = broadcast_cancel(&actor, racer->id, "nhầm", &racer->result, NULL);
    return NULL;
}

static void test_two_cancels_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        g_autofree char *title = g_strdup_printf("Lũ 17.%d", round);
        loa_auto(broadcast) b = draft(title);
        struct racer racers[2];
        GThread *threads[2];
        create(b);
        approve(b);
        for (int i = 0; i < 2; i++) {
            racers[i] = (struct racer){.id = b->id};
            threads[i] = g_thread_new("cancel", race_cancel, &racers[i]);
        }
        for (int i = 0; i < 2; i++)
            g_thread_join(threads[i]);
        assert_true(racers[0].ok && racers[1].ok);
        assert_int_equal(racers[0].result.already + racers[1].result.already, 1);
        assert_int_equal(
            (racers[0].result.correction_id != 0) + (racers[1].result.correction_id != 0), 1);
    }
}

static void *race_approve(void *data)
{
    struct racer *racer = data;
    loa_auto(db) db = db_open(stage->conninfo, NULL);
    struct broadcast_actor actor = actor_of(stage->approver, stage->approver_key);
    loa_auto(broadcast) b = broadcast_load(db, racer->id, NULL);
    bool already;

    actor.db = db;
    racer->ok = broadcast_approve(&actor, racer->id, b->content_hash, false, &already, NULL);
    return NULL;
}

/* Whoever comes first: either it was withdrawn and never released, or released and corrected. */
static void test_approve_against_cancel(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        g_autofree char *title = g_strdup_printf("Lũ 18.%d", round);
        loa_auto(broadcast) b = draft(title);
        struct racer racers[2];
        GThread *threads[2];
        create(b);
        racers[0] = racers[1] = (struct racer){.id = b->id};
        threads[0] = g_thread_new("cancel", race_cancel, &racers[0]);
        threads[1] = g_thread_new("approve", race_approve, &racers[1]);
        g_thread_join(threads[0]);
        g_thread_join(threads[1]);
        assert_true(racers[0].ok);
        if (racers[0].result.withdrawn) {
            assert_false(racers[1].ok);
            assert_int_equal(state_of(b->id), BROADCAST_WITHDRAWN);
        } else {
            assert_true(racers[1].ok);
            assert_int_equal(state_of(b->id), BROADCAST_CANCELLED);
        }
    }
}

static void test_audience(void **state)
{
    loa_auto(broadcast) b = draft("Lũ 19");
    struct broadcast_audience a;

    (void)state;
    stage_devices(stage, "fcm", 5, true);
    stage_devices(stage, "apns", 3, true);
    stage_devices(stage, "mqtt", 2, false);
    stage_exec(stage, "UPDATE device SET commune = '01234' WHERE id IN (1, 6)");
    stage_exec(stage, "UPDATE device SET last_seen_at = now() - interval '300 days' WHERE id = 2");
    stage_exec(stage, "UPDATE device SET realm = 'test' WHERE id = 3");
    assert_true(broadcast_store_audience(stage->db, b, 270, &a, NULL));
    assert_int_equal(a.fcm, 4);
    assert_int_equal(a.apns, 3);
    assert_int_equal(a.mqtt, 2);
    assert_int_equal(a.stale, 1);
    assert_true(broadcast_set_area(b, false, "01234", NULL));
    assert_true(broadcast_store_audience(stage->db, b, 270, &a, NULL));
    assert_int_equal(a.fcm, 1);
    assert_int_equal(a.apns, 1);
    assert_int_equal(a.mqtt, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_release_is_genuine_and_complete),
        cmocka_unit_test(test_two_people),
        cmocka_unit_test(test_disabled_accounts),
        cmocka_unit_test(test_approve_is_idempotent),
        cmocka_unit_test(test_approver_gets_what_was_shown),
        cmocka_unit_test(test_expired_draft),
        cmocka_unit_test(test_same_title_again),
        cmocka_unit_test(test_idempotency_key),
        cmocka_unit_test(test_unknown_commune),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_cancel_draft_withdraws),
        cmocka_unit_test(test_cancel_sends_correction_to_frozen_members),
        cmocka_unit_test(test_cancel_of_a_forged_row_is_refused),
        cmocka_unit_test(test_cancel_after_expiry_is_refused),
        cmocka_unit_test(test_planner_loses_against_cancel),
        cmocka_unit_test(test_two_cancels_at_once),
        cmocka_unit_test(test_approve_against_cancel),
        cmocka_unit_test(test_audience),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
