/* lib: loa_engine loa_teststage */
/* A device is found again in the frozen members of every broadcast, with what became of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/device_history.h"
#include "engine/members.h"
#include "engine/outcome.h"
#include "tests/support/stage.h"

/* A chunk of n ids: first, first + step, … */
static void chunk(struct stage *stage, int64_t broadcast_id, int chunk_no, const char *channel,
                  int lane, int64_t first, int64_t step, size_t n)
{
    g_autofree int64_t *ids = g_new(int64_t, n);
    g_autoptr(GByteArray) members = NULL;
    struct db_params *params = db_params_new();
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < n; i++)
        ids[i] = first + (int64_t)i * step;
    members = members_encode(ids, n);
    db_param_i64(params, broadcast_id);
    db_param_i32(params, chunk_no);
    db_param_text(params, channel);
    db_param_i32(params, lane);
    db_param_bytes(params, members->data, members->len);
    db_param_i32(params, (int32_t)n);
    if (!db_exec(stage->db,
                 "INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority, "
                 "members, member_count) VALUES ($1, $2, $3, $4, 0, $5, $6)",
                 params, &error))
        fail_msg("%s", error->message);
}

/* A flight whose members all have the same byte; 0 = still out. */
static void flight(struct stage *stage, int64_t broadcast_id, int chunk_no, int first, int size,
                   uint8_t byte)
{
    g_autofree char *codes =
        byte != 0 ? g_strdup_printf("bytes_fill(%d, %d)", byte, size) : g_strdup("NULL");
    g_autofree char *sql = g_strdup_printf(
        "INSERT INTO fanout_flight (broadcast_id, chunk_no, first, size, epoch, codes) "
        "VALUES (%" G_GINT64_FORMAT ", %d, %d, %d, 1, %s)",
        broadcast_id, chunk_no, first, size, codes);

    stage_exec(stage, sql);
}

static GPtrArray *history(struct stage *stage, int64_t device_id, int limit)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *list = device_history_load(stage->db, device_id, limit, &error);

    if (list == NULL)
        fail_msg("%s", error->message);
    return list;
}

/* Channel, lane, chunk and position of the one entry. */
static void expect(struct stage *stage, int64_t device_id, const char *channel, int lane,
                   int chunk_no, int position, const char *outcome, const char *reason)
{
    g_autoptr(GPtrArray) list = history(stage, device_id, 10);
    const struct device_history *one;

    if (list->len != 1)
        fail_msg("device %d: %u entries", (int)device_id, list->len);
    one = g_ptr_array_index(list, 0);
    assert_string_equal(one->channel, channel);
    assert_int_equal(one->lane, lane);
    assert_int_equal(one->chunk_no, chunk_no);
    assert_int_equal(one->position, position);
    assert_string_equal(one->outcome, outcome);
    assert_string_equal(one->reason, reason);
}

static void test_found_in_its_chunk(void **state)
{
    struct stage *stage = *state;
    int64_t id = stage_release(stage, true);
    g_autofree char *retry = NULL;
    g_autofree char *receipt = NULL;

    chunk(stage, id, 0, "fcm", LANE_PROVEN, 100, 10, 50);   /* 100 … 590 */
    chunk(stage, id, 1, "fcm", LANE_UNPROVEN, 105, 10, 50); /* 105 … 595 */
    chunk(stage, id, 2, "apns", LANE_PROVEN, 107, 10, 50);
    chunk(stage, id, 3, "fcm", LANE_PROVEN, 600, 10, 50); /* 600 … 1090 */
    chunk(stage, id, 4, "mqtt", LANE_PROVEN, INT64_MAX - 5, 1, 5);
    flight(stage, id, 0, 0, 20, OUTCOME_ACCEPTED);
    flight(stage, id, 0, 20, 30, OUTCOME_DEAD_TOKEN);
    flight(stage, id, 1, 0, 50, OUTCOME_RETRY);
    flight(stage, id, 2, 0, 50, OUTCOME_SUPPRESSED_STALE);
    flight(stage, id, 3, 0, 20, 0);

    expect(stage, 100, "fcm", LANE_PROVEN, 0, 0, "ACCEPTED", "");
    expect(stage, 290, "fcm", LANE_PROVEN, 0, 19, "ACCEPTED", "");
    expect(stage, 300, "fcm", LANE_PROVEN, 0, 20, "DEAD_TOKEN", "");
    expect(stage, 590, "fcm", LANE_PROVEN, 0, 49, "DEAD_TOKEN", "");
    expect(stage, 597, "apns", LANE_PROVEN, 2, 49, "SUPPRESSED", "stale");
    expect(stage, 600, "fcm", LANE_PROVEN, 3, 0, "FLYING", "");
    expect(stage, 800, "fcm", LANE_PROVEN, 3, 20, "WAITING", "");
    expect(stage, INT64_MAX - 1, "mqtt", LANE_PROVEN, 4, 4, "WAITING", "");

    retry = g_strdup_printf(
        "INSERT INTO fanout_retry (broadcast_id, device_id, chunk_no, position, attempt, first_at, "
        "next_at, if_expired, reason) VALUES (%" G_GINT64_FORMAT
        ", 115, 1, 1, 3, now(), now(), 6, 'UNAVAILABLE')",
        id);
    receipt = g_strdup_printf("INSERT INTO receipt VALUES (%" G_GINT64_FORMAT ", 115, now())", id);
    stage_exec(stage, retry);
    stage_exec(stage, receipt);
    expect(stage, 115, "fcm", LANE_UNPROVEN, 1, 1, "RETRY", "");
    g_autoptr(GPtrArray) list = history(stage, 115, 1);
    const struct device_history *one = g_ptr_array_index(list, 0);
    assert_int_equal(one->attempts, 3);
    assert_string_equal(one->retry_reason, "UNAVAILABLE");
    assert_true(one->retry_at_utc_us > 0);
    assert_true(one->shown_utc_us > 0);
    assert_int_equal(one->opened_utc_us, 0);
}

static void test_not_a_member(void **state)
{
    static const int64_t ids[] = {1, 99, 101, 591, 596, 1091, INT64_MAX};
    struct stage *stage = *state;
    int64_t id = stage_release(stage, true);

    chunk(stage, id, 0, "fcm", LANE_PROVEN, 100, 10, 50);
    chunk(stage, id, 1, "fcm", LANE_PROVEN, 600, 10, 50);
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autoptr(GPtrArray) list = history(stage, ids[i], 10);
        assert_int_equal(list->len, 0);
    }
}

/* More broadcasts than one page, some without chunks, some without the device. */
static void test_many_broadcasts(void **state)
{
    struct stage *stage = *state;
    int64_t last = 0;

    for (int i = 0; i < 40; i++) {
        int64_t id = stage_release(stage, false);
        if (i % 2 == 0) {
            chunk(stage, id, 0, "fcm", LANE_PROVEN, 1, 1, 3);
            flight(stage, id, 0, 0, 3, OUTCOME_ACCEPTED);
            last = id;
        } else if (i % 4 == 1) {
            chunk(stage, id, 0, "fcm", LANE_PROVEN, 5, 1, 3);
        }
    }
    g_autoptr(GPtrArray) all = history(stage, 2, 100);
    assert_int_equal(all->len, 20);
    g_autoptr(GPtrArray) newest = history(stage, 2, 3);
    assert_int_equal(newest->len, 3);
    const struct device_history *first = g_ptr_array_index(newest, 0);
    assert_true(first->broadcast_id == last);
}

/* What the real planner and loop leave behind is found, too. */
static bool judge_dead(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)self;
    out->kind = push->device_id % 2 == 0 ? VERDICT_DEAD_TOKEN : VERDICT_ACCEPTED;
    return true;
}

static void test_after_a_real_broadcast(void **state)
{
    struct stage *stage = *state;
    struct script_channel *scripts[] = {script_channel_new("fcm")};
    struct stage_loop *loop;

    scripts[0]->judge = judge_dead;
    stage_devices(stage, "fcm", 500, true);
    stage_release(stage, true);
    loop = stage_loop_new(stage, "history", scripts, 1);
    stage_until(stage, "SELECT count(finished_at) FROM broadcast");
    stage_loop_kill(loop);
    scripts[0]->channel.ops->free(&scripts[0]->channel);
    for (int64_t device = 1; device <= 500; device += 33) {
        g_autoptr(GPtrArray) list = history(stage, device, 10);
        assert_int_equal(list->len, 1);
        const struct device_history *one = g_ptr_array_index(list, 0);
        assert_string_equal(one->outcome, device % 2 == 0 ? "DEAD_TOKEN" : "ACCEPTED");
    }
}

static int setup(void **state)
{
    *state = stage_new("device_history");
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
        cmocka_unit_test_setup_teardown(test_found_in_its_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_broadcasts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_a_real_broadcast, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
