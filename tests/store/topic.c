/* lib: loa_engine loa_teststage */
/* What should be subscribed against what is, and the act of publishing: checked, on record before
 * it leaves, owed until its correction has followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/account_store.h"
#include "engine/topic_send.h"
#include "tests/support/stage.h"

static struct stage *stage;

static int set_up(void **state)
{
    (void)state;
    stage = stage_new("topic");
    stage_exec(stage, "INSERT INTO commune VALUES ('01273', 'a'), ('01279', 'b')");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_free(stage);
    return 0;
}

/* ---- subscriptions ---- */

/* The rows that one of the flags marks, in one text: "t1/token/live/01273 …". Owned. */
static char *marked_rows(PGresult *res, int first_column, int first_flag, int flags)
{
    GString *text = g_string_new(NULL);

    assert_non_null(res);
    for (int i = 0; i < PQntuples(res); i++) {
        bool marked = false;
        for (int k = 0; k < flags; k++)
            marked |= db_get_bool(res, i, first_flag + k);
        for (int k = 0; marked && k < 4; k++)
            g_string_append_printf(text, "%s%s",
                                   k > 0           ? "/"
                                   : text->len > 0 ? " "
                                                   : "",
                                   db_get_text(res, i, first_column + k));
    }
    PQclear(res);
    return g_string_free(text, FALSE);
}

static void assert_difference(const char *missing, const char *surplus)
{
    const struct topic_cursor start = {NULL, NULL, NULL, NULL};
    g_autofree char *is_missing =
        marked_rows(topic_store_missing(stage->db, 0, 100, NULL), 1, 5, 2);
    g_autofree char *is_surplus =
        marked_rows(topic_store_surplus(stage->db, &start, 100, NULL), 0, 4, 1);

    assert_string_equal(is_missing, missing);
    assert_string_equal(is_surplus, surplus);
}

static void change(const char *commune, const char *added, const char *removed)
{
    struct topic_change c = {.realm = "live",
                             .commune = commune,
                             .id_kind = "token",
                             .added = &added,
                             .n_added = added != NULL,
                             .removed = &removed,
                             .n_removed = removed != NULL};

    assert_true(topic_store_change(stage->db, &c, NULL));
}

static void test_the_difference(void **state)
{
    struct topic_counts counts;

    (void)state;
    stage_devices(stage, "fcm", 2, true); /* tokens t1, t2 */
    stage_devices(stage, "apns", 1, true);
    stage_exec(stage, "UPDATE device SET commune = '01273' WHERE id = 1");
    assert_difference("t1/token/live/01273 t2/token/live/", "");
    assert_true(topic_store_counts(stage->db, &counts, NULL));
    assert_int_equal(counts.missing, 3);
    change("", "t1", NULL);
    change("01273", "t1", NULL);
    change("", "t2", NULL);
    change("", "t2", NULL); /* twice is once */
    assert_difference("", "");
    /* another commune, another token, another realm, another owner: each the least there is to do
     */
    stage_exec(stage, "UPDATE device SET commune = '01279' WHERE id = 1");
    assert_difference("t1/token/live/01279", "t1/token/live/01273");
    change("01273", NULL, "t1");
    change("01279", "t1", NULL);
    stage_exec(stage, "UPDATE device SET push_token = 'new' WHERE id = 2");
    assert_difference("new/token/live/", "t2/token/live/");
    stage_exec(stage, "UPDATE device SET push_token = 't2', realm = 'test' WHERE id = 2");
    assert_difference("t2/token/test/", "t2/token/live/");
    stage_exec(stage, "UPDATE device SET realm = 'live' WHERE id = 2");
    stage_exec(stage, "UPDATE device SET push_token = 'gone' WHERE id = 1");
    stage_exec(stage, "UPDATE device SET push_token = 't1', commune = '01279' WHERE id = 2");
    stage_exec(stage, "UPDATE device SET push_token = 't2', commune = NULL WHERE id = 1");
    assert_difference("", ""); /* the registrations have changed hands, nothing else */
}

static void test_pages_go_on(void **state)
{
    struct topic_cursor cursor = {NULL, NULL, NULL, NULL};
    g_autoptr(PGresult) first = NULL, second = NULL;

    (void)state;
    stage_devices(stage, "fcm", 3, true);
    first = topic_store_missing(stage->db, 0, 2, NULL);
    second = topic_store_missing(stage->db, db_get_i64(first, 1, 0), 2, NULL);
    assert_int_equal(PQntuples(first), 2);
    assert_int_equal(PQntuples(second), 1);
    stage_exec(stage, "INSERT INTO topic_subscription SELECT 'x' || g, 'token', 'live', ''"
                      " FROM generate_series(1, 3) AS g");
    g_clear_pointer(&first, PQclear);
    first = topic_store_surplus(stage->db, &cursor, 2, NULL);
    cursor =
        (struct topic_cursor){g_strdup("x2"), g_strdup("token"), g_strdup("live"), g_strdup("")};
    g_clear_pointer(&second, PQclear);
    second = topic_store_surplus(stage->db, &cursor, 2, NULL);
    assert_int_equal(PQntuples(first), 2);
    assert_int_equal(PQntuples(second), 1);
    assert_string_equal(db_get_text(second, 0, 0), "x3");
    topic_cursor_clear(&cursor);
}

static void test_the_dead_are_retired(void **state)
{
    static const char *const dead[] = {"t1", "t2", "t9"};
    int64_t retired = 0;

    (void)state;
    stage_devices(stage, "fcm", 3, true);
    stage_exec(stage, "UPDATE device SET mqtt = true WHERE id = 2");
    assert_true(topic_store_retire(stage->db, "fid", dead, 3, &retired, NULL));
    assert_int_equal(retired, 0); /* a token is no installation id */
    assert_true(topic_store_retire(stage->db, "token", dead, 3, &retired, NULL));
    assert_int_equal(retired, 2);
    assert_int_equal(stage_i64(stage,
                               "SELECT count(*) FROM device WHERE id = 1 AND channel = 'none'"
                               " AND retired_reason = 'dead_token'"),
                     1);
    assert_int_equal(stage_i64(stage,
                               "SELECT count(*) FROM device WHERE id = 2 AND channel = 'mqtt'"
                               " AND retired_at IS NULL AND push_token IS NULL"),
                     1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE channel = 'fcm'"), 1);
}

static void test_one_run_at_a_time(void **state)
{
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_true(topic_store_lease(stage->db, "a", 60, NULL));
    assert_true(topic_store_lease(stage->db, "a", 60, NULL));
    assert_false(topic_store_lease(stage->db, "b", 60, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    stage_exec(stage, "UPDATE topic_sync SET lease_until = clock_timestamp()");
    assert_true(topic_store_lease(stage->db, "b", 60, NULL));
    assert_true(topic_store_release_lease(stage->db, "a", true, NULL)); /* too late: not its own */
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM topic_sync WHERE lease_owner = 'b'"
                                      " AND completed_at IS NULL"),
                     1);
    assert_true(topic_store_release_lease(stage->db, "b", true, NULL));
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM topic_sync WHERE lease_owner IS NULL"
                                      " AND completed_at IS NOT NULL"),
                     1);
}

/* The words of the enum are those of the column. */
static void test_words(void **state)
{
    int64_t id = stage_release(stage, true);

    (void)state;
    for (int i = 0; i < TOPIC_STATE_COUNT; i++) {
        const char *word = topic_state_name((enum topic_message_state)i);
        g_autofree char *sql = g_strdup_printf(
            "INSERT INTO topic_message (broadcast_id, commune, topic, account_id, reason, state,"
            " message_name, answered_at) VALUES (%ld, '', 't', 1, 'x', '%s', %s, %s)",
            (long)id, word, i == TOPIC_ACCEPTED ? "'n'" : "NULL",
            i == TOPIC_SENDING ? "NULL" : "now()");
        stage_exec(stage, sql);
    }
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM topic_message"), TOPIC_STATE_COUNT);
}

/* ---- sending ---- */

static char *name_of(const char *realm, const char *commune)
{
    return g_strdup_printf("%s:%s", realm, commune);
}

static struct broadcast_actor actor_of(void)
{
    return (struct broadcast_actor){.db = stage->db,
                                    .account = stage->creator,
                                    .account_key = stage->creator_key,
                                    .release_key = stage->release_key,
                                    .release_key_id = "k1",
                                    .release_keys = stage->keys};
}

static struct topic_send *begin(int64_t id, bool again, GError **error)
{
    const struct broadcast_actor actor = actor_of();
    const struct topic_send_options options = {.name = name_of, .reason = "lũ", .again = again};

    return topic_send_begin(&actor, id, &options, error);
}

/* Topics of what begin has recorded, joined; settles them. */
static void assert_sent(int64_t id, bool again, const char *topics, enum topic_message_state as)
{
    const struct broadcast_actor actor = actor_of();
    g_autoptr(GString) names = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    loa_auto(topic_send) send = begin(id, again, &error);

    if (send == NULL)
        fail_msg("%s", error->message);
    for (guint i = 0; i < send->items->len; i++) {
        struct topic_send_item *item = send->items->pdata[i];
        g_string_append_printf(names, "%s%s", i > 0 ? " " : "", item->topic);
        assert_true(topic_send_settle(&actor, item, as, "n/1", "", NULL));
    }
    assert_string_equal(names->str, topics);
    assert_true(topic_send_end(&actor, send, NULL));
}

static void assert_not_sent(int64_t id, bool again, int code, const char *says)
{
    g_autoptr(GError) error = NULL;
    int64_t before = stage_i64(stage, "SELECT count(*) FROM topic_message");
    loa_auto(topic_send) send = begin(id, again, &error);

    assert_null(send);
    if (!g_error_matches(error, LOA_ERROR, code) || strstr(error->message, says) == NULL)
        fail_msg("%s", error->message);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM topic_message"), before);
}

static guint owed(int64_t id)
{
    g_autoptr(GPtrArray) list = topic_store_owed(stage->db, id, NULL);

    return list->len;
}

static void test_once_unless_again(void **state)
{
    int64_t id = stage_release(stage, true);

    (void)state;
    assert_sent(id, false, "live:", TOPIC_FAILED); /* nothing left: a repeat needs no --again */
    assert_sent(id, false, "live:", TOPIC_ACCEPTED);
    assert_not_sent(id, false, LOA_ERROR_CONFLICT, "--again");
    assert_sent(id, true, "live:", TOPIC_ACCEPTED);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM audit WHERE act = 'topic_requested'"
                                      " AND detail = 'live:: lũ'"),
                     3);
}

static void test_two_operators_and_a_lost_one(void **state)
{
    int64_t id = stage_release(stage, true);
    loa_auto(topic_send) send = begin(id, false, NULL);

    (void)state;
    assert_non_null(send); /* and is not settled: it is being sent */
    assert_not_sent(id, true, LOA_ERROR_CONFLICT, "right now");
    stage_exec(stage, "UPDATE topic_message SET requested_at = now() - interval '1 hour'");
    assert_sent(id, false, "live:", TOPIC_ACCEPTED);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM topic_message WHERE state = 'unknown'"),
                     1);
}

static void test_only_what_is_genuine(void **state)
{
    int64_t id = stage_release(stage, true);
    const struct broadcast_actor actor = actor_of();
    g_autoptr(GError) error = NULL;

    (void)state;
    stage_exec(stage, "UPDATE broadcast_text SET body = 'Khác' WHERE language = 'vi'");
    assert_not_sent(id, false, LOA_ERROR_DENIED, "not genuine");
    assert_null(topic_send_check(&actor, id, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED));
    stage_exec(stage, "UPDATE broadcast SET release_signature = 'x'");
    assert_not_sent(id, false, LOA_ERROR_DENIED, ""); /* not even a row that Loa could write */
}

static void test_a_disabled_account(void **state)
{
    int64_t id = stage_release(stage, true);

    (void)state;
    assert_true(account_store_disable(stage->db, "an", NULL));
    assert_not_sent(id, false, LOA_ERROR_DENIED, "disabled");
}

static void test_a_correction_is_owed_until_sent(void **state)
{
    int64_t id = stage_release(stage, true), other = stage_release(stage, true);
    int64_t correction;

    (void)state;
    assert_sent(id, false, "live:", TOPIC_UNKNOWN); /* it may have arrived */
    correction = stage_cancel(stage, id);
    (void)stage_cancel(stage, other);
    assert_int_equal(owed(id), 1);
    assert_int_equal(owed(0), 1); /* the other one never went to a topic */
    assert_not_sent(id, true, LOA_ERROR_CONFLICT, "its correction is owed");
    assert_sent(correction, false, "live:", TOPIC_REFUSED);
    assert_int_equal(owed(id), 1);
    assert_sent(correction, false, "live:", TOPIC_ACCEPTED);
    assert_int_equal(owed(0), 0);
    assert_not_sent(id, true, LOA_ERROR_CONFLICT, "taken back");
}

static void test_what_was_surely_not_taken_owes_nothing(void **state)
{
    int64_t id = stage_release(stage, true);

    (void)state;
    assert_sent(id, false, "live:", TOPIC_FAILED);
    (void)stage_cancel(stage, id);
    assert_int_equal(owed(id), 0);
}

static void test_a_stop_holds_it(void **state)
{
    int64_t id = stage_release(stage, true);

    (void)state;
    stage_exec(stage,
               "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('channel:apns', 'x',"
               " 'an')");
    assert_sent(id, false, "live:", TOPIC_ACCEPTED);
    stage_exec(stage, "UPDATE fanout_stop SET scope = 'channel:fcm'");
    assert_not_sent(id, true, LOA_ERROR_CONFLICT, "loa resume");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_difference),
        TEST(test_pages_go_on),
        TEST(test_the_dead_are_retired),
        TEST(test_one_run_at_a_time),
        TEST(test_words),
        TEST(test_once_unless_again),
        TEST(test_two_operators_and_a_lost_one),
        TEST(test_only_what_is_genuine),
        TEST(test_a_disabled_account),
        TEST(test_a_correction_is_owed_until_sent),
        TEST(test_what_was_surely_not_taken_owes_nothing),
        TEST(test_a_stop_holds_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
