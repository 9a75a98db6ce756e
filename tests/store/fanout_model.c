/* lib: loa_engine loa_teststage */
/* Two delivery loops under a random course of events: every kind of verdict, killed loops and cut
 * connections, stolen leases, stops, cancels, expiry, devices that change. After every step the
 * sums hold; at the end every broadcast is finished and everybody has one outcome; and nobody was
 * sent information again after a send that may have arrived. The seed is printed; LOA_MODEL_SEED
 * runs one course again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "tests/support/stage.h"

#define LOOPS      2
#define CHANNELS   3
#define STEPS      120
#define BROADCASTS 5
#define ROUNDS     3
#define END_S      30 /* longer than any broadcast lives */

#define ALL_FINISHED                                                                               \
    "SELECT count(*)::int FROM (SELECT 1 WHERE NOT EXISTS (SELECT FROM broadcast"                  \
    " WHERE released_at IS NOT NULL AND finished_at IS NULL)) x"

struct model {
    struct stage *stage;
    GRand *random;
    struct stage_loop *loops[LOOPS];
    struct script_channel *scripts[LOOPS][CHANNELS];
    char *owners[LOOPS]; /* borrowed by the loops */
    unsigned loops_made;
    int released;
    bool calm;            /* the end: everything is accepted */
    GHashTable *final;    /* "broadcast/device": a send that may have arrived, of information */
    GHashTable *repeated; /* int64_t: broadcasts that may be sent again, being emergencies */
    uint64_t sends, unanswered;
};

static int dice(struct model *model, int sides)
{
    return g_rand_int_range(model->random, 0, sides);
}

static void run(struct model *model, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A statement of the test may lose a deadlock against the loops: then it did not happen. */
static void run(struct model *model, const char *format, ...)
{
    g_autofree char *sql = NULL;
    g_autoptr(GError) error = NULL;
    va_list args;

    va_start(args, format);
    sql = g_strdup_vprintf(format, args);
    va_end(args);
    if (!db_exec(model->stage->db, sql, NULL, &error) && error->code != LOA_ERROR_RETRY)
        fail_msg("%s: %s", sql, error->message);
}

/* ---- the provider ---- */

static enum verdict_kind random_kind(struct model *model)
{
    static const struct {
        int upto; /* of 1000 */
        enum verdict_kind kind;
    } shares[] = {
        {700, VERDICT_ACCEPTED},        {780, VERDICT_TRANSIENT},         {850, VERDICT_UNKNOWN},
        {900, VERDICT_NOT_SENT},        {985, VERDICT_DEAD_TOKEN},        {994, VERDICT_THROTTLED},
        {998, VERDICT_REJECTED_CONFIG}, {1000, VERDICT_REJECTED_PAYLOAD},
    };
    int at = dice(model, 1000);
    size_t i = 0;

    if (model->calm)
        return VERDICT_ACCEPTED;
    while (at >= shares[i].upto)
        i++;
    return shares[i].kind;
}

/* The provider surely did not take it. */
static bool may_be_sent_again(enum verdict_kind kind)
{
    return kind == VERDICT_TRANSIENT || kind == VERDICT_NOT_SENT || kind == VERDICT_THROTTLED ||
           kind == VERDICT_REJECTED_CONFIG;
}

static char *key_of(const struct push *push)
{
    return g_strdup_printf("%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT, push->broadcast_id,
                           push->device_id);
}

static bool judge(struct script_channel *self, const struct push *push, struct verdict *out)
{
    struct model *model = self->user;
    g_autofree char *key = key_of(push);

    model->sends++;
    if (!g_hash_table_contains(model->repeated, &push->broadcast_id) &&
        !g_hash_table_add(model->final, g_strdup(key)))
        fail_msg("information %s was sent again after it may have arrived", key);
    if (!model->calm && dice(model, 10) == 0) {
        model->unanswered++;
        return false;
    }
    out->kind = random_kind(model);
    out->retry_after_ms = 20 + dice(model, 200);
    if (may_be_sent_again(out->kind))
        g_hash_table_remove(model->final, key);
    return true;
}

static void answer_held(struct model *model, struct script_channel *script)
{
    enum verdict_kind kind = random_kind(model);

    for (guint i = 0; i < script->held->len && may_be_sent_again(kind); i++) {
        g_autofree char *key = key_of(script->held->pdata[i]);
        g_hash_table_remove(model->final, key);
    }
    script_answer_all(script, kind);
}

/* ---- the loops ---- */

static void loop_start(struct model *model, int i)
{
    static const char *const names[CHANNELS] = {"fcm", "apns", "mqtt"};

    model->owners[i] = g_strdup_printf("loop%u", ++model->loops_made);
    for (int c = 0; c < CHANNELS; c++) {
        model->scripts[i][c] = script_channel_new(names[c]);
        model->scripts[i][c]->judge = judge;
        model->scripts[i][c]->user = model;
        model->scripts[i][c]->room = (unsigned)(1 + dice(model, 60));
    }
    model->loops[i] = stage_loop_new(model->stage, model->owners[i], model->scripts[i], CHANNELS);
}

static void loop_kill(struct model *model, int i)
{
    for (int c = 0; c < CHANNELS; c++)
        model->scripts[i][c]->channel.ops->free(&model->scripts[i][c]->channel);
    stage_loop_kill(model->loops[i]);
    g_free(model->owners[i]);
}

static gboolean nudge(gpointer data)
{
    (void)data;
    return G_SOURCE_CONTINUE;
}

static void turn(int iterations)
{
    guint timer = g_timeout_add(2, nudge, NULL); /* each turn ends */

    for (int i = 0; i < iterations; i++)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(timer);
}

/* ---- events ---- */

static void note_emergency(struct model *model, int64_t id)
{
    g_hash_table_add(model->repeated, g_memdup2(&id, sizeof(id)));
}

static void event_release(struct model *model)
{
    bool emergency = dice(model, 2) == 0;
    int64_t id;

    if (model->released == BROADCASTS)
        return;
    model->released++;
    model->stage->life_s = 4 + dice(model, 8);
    id = stage_release(model->stage, emergency);
    if (emergency)
        note_emergency(model, id);
}

static void event_cancel(struct model *model)
{
    int64_t id = stage_i64(model->stage,
                           "SELECT coalesce(max(id), 0) FROM broadcast WHERE state = 'released'"
                           " AND message_type = 'alert' AND expires_at > now() + interval '2 s'");
    int64_t correction;

    if (id == 0 || dice(model, 3) > 0)
        return;
    correction = stage_cancel(model->stage, id);
    if (g_hash_table_contains(model->repeated, &id))
        note_emergency(model, correction);
}

static void event_stop(struct model *model)
{
    switch (dice(model, 3)) {
    case 0:
        run(model, "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('all', 'x', 'an')"
                   " ON CONFLICT DO NOTHING");
        break;
    case 1:
        run(model,
            "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('channel:%s', 'x', 'an')"
            " ON CONFLICT DO NOTHING",
            dice(model, 2) == 0 ? "fcm" : "apns");
        break;
    default:
        run(model,
            "INSERT INTO fanout_stop (scope, reason, by_name) VALUES ('broadcast:%d', 'x',"
            " 'an') ON CONFLICT DO NOTHING",
            1 + dice(model, BROADCASTS));
    }
}

static void event_device(struct model *model)
{
    int id = 1 + dice(model, 400);

    switch (dice(model, 4)) {
    case 0:
        run(model,
            "UPDATE device SET channel = 'none', push_token = NULL, id_kind = NULL,"
            " apns_environment = NULL, proven_at = NULL, retired_at = now(),"
            " retired_reason = 'unregistered' WHERE id = %d AND retired_at IS NULL",
            id);
        break;
    case 1:
        run(model,
            "UPDATE device SET push_token = 'n%d-' || clock_timestamp(), token_at = now(),"
            " proven_at = NULL WHERE id = %d AND push_token IS NOT NULL",
            id, id);
        break;
    case 2:
        run(model,
            "UPDATE device SET channel = 'mqtt', mqtt = true, push_token = NULL, id_kind = NULL,"
            " apns_environment = NULL, proven_at = NULL WHERE id = %d AND channel <> 'none'",
            id);
        break;
    default:
        run(model,
            "UPDATE device SET apns_environment = 'sandbox' WHERE id = %d AND channel = 'apns'",
            id);
    }
}

static void event_theft(struct model *model)
{
    run(model, "UPDATE fanout_chunk SET epoch = epoch + 1, lease_owner = 'thief',"
               " lease_until = clock_timestamp() + interval '200 ms'"
               " WHERE (broadcast_id, chunk_no) IN (SELECT broadcast_id, chunk_no FROM fanout_chunk"
               "   WHERE lease_owner IS NOT NULL AND state = 'open'"
               "   ORDER BY md5(chunk_no::text || clock_timestamp()) LIMIT 1)");
}

static void event_due(struct model *model)
{
    run(model, "UPDATE fanout_retry SET next_at = now() WHERE next_at > now()");
    run(model, "UPDATE fanout_chunk SET due_at = now() WHERE state = 'open' AND due_at > now()");
}

static void event(struct model *model)
{
    int i = dice(model, LOOPS);

    switch (dice(model, 14)) {
    case 0:
    case 1:
        event_release(model);
        break;
    case 2:
        event_cancel(model);
        break;
    case 3:
        event_stop(model);
        break;
    case 4:
    case 5:
        run(model, "DELETE FROM fanout_stop");
        break;
    case 6:
    case 7:
        event_device(model);
        break;
    case 8:
        event_theft(model);
        break;
    case 9:
        event_due(model);
        break;
    case 10:
        loop_kill(model, i);
        loop_start(model, i);
        break;
    case 11:
        run(model, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                   " AND random() < 0.5");
        break;
    case 12:
        run(model, "UPDATE broadcast SET mqtt_acked_at = now()"
                   " WHERE released_at IS NOT NULL AND mqtt_acked_at IS NULL");
        break;
    default:
        answer_held(model, model->scripts[i][dice(model, CHANNELS)]);
    }
}

/* ---- the course ---- */

static void calm_down(struct model *model)
{
    model->calm = true;
    run(model, "DELETE FROM fanout_stop");
    event_due(model);
    for (int i = 0; i < LOOPS; i++)
        for (int c = 0; c < CHANNELS; c++)
            answer_held(model, model->scripts[i][c]);
    turn(20);
}

static void course(guint32 seed)
{
    g_autofree char *name = g_strdup_printf("model_%u", seed);
    struct model model = {.stage = stage_new(name), .random = g_rand_new_with_seed(seed)};
    struct stage *stage = model.stage;
    int64_t end_us;

    print_message("seed %u\n", seed);
    model.final = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    model.repeated = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    stage->settings->deliver_lease_ms = 500;
    stage->settings->deliver_poll_ms = 50;
    stage->settings->deliver_flight_size = 20;
    stage_devices(stage, "fcm", 150, true);
    stage_devices(stage, "fcm", 50, false);
    stage_devices(stage, "apns", 150, true);
    stage_devices(stage, "mqtt", 50, false);
    for (int i = 0; i < LOOPS; i++)
        loop_start(&model, i);
    event_release(&model);
    for (int i = 0; i < STEPS; i++) {
        event(&model);
        turn(1 + dice(&model, 30));
        stage_assert_sums(stage);
    }
    end_us = g_get_monotonic_time() + END_S * G_USEC_PER_SEC;
    do {
        calm_down(&model);
        stage_assert_sums(stage);
        if (g_get_monotonic_time() > end_us)
            fail_msg("a broadcast is not finished %d s after the last event", END_S);
    } while (stage_i64(stage, ALL_FINISHED) == 0);
    stage_assert_sums(stage);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_retry"), 0);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM fanout_flight WHERE codes IS NULL"), 0);
    assert_int_equal(stage_i64(stage, "SELECT sum(member_count) FROM fanout_chunk"),
                     stage_i64(stage, "SELECT sum(octet_length(codes)) FROM fanout_flight"));
    print_message("%d broadcasts, %" G_GUINT64_FORMAT " sends, %" G_GUINT64_FORMAT
                  " unanswered, %u loops\n",
                  model.released, model.sends, model.unanswered, model.loops_made);
    for (int i = 0; i < LOOPS; i++)
        loop_kill(&model, i);
    g_hash_table_destroy(model.final);
    g_hash_table_destroy(model.repeated);
    g_rand_free(model.random);
    stage_free(stage);
}

static void test_random_courses(void **state)
{
    const char *seed = g_getenv("LOA_MODEL_SEED");

    (void)state;
    if (seed != NULL) {
        course((guint32)g_ascii_strtoull(seed, NULL, 10));
        return;
    }
    for (int i = 0; i < ROUNDS; i++)
        course(g_random_int());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_courses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
