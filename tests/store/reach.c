/* lib: loa_engine loa_teststage */
/* Reach per commune: frozen at planning, exact at every instant, the same for a correction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/outcome.h"
#include "engine/progress_store.h"
#include "engine/receipt.h"
#include "tests/support/stage.h"

#define COMMUNES 300 /* a chunk of all of them needs two bytes per member */

static struct script_channel *fcm, *apns;

static int set_up(void **state)
{
    struct stage *stage = stage_new("reach");

    fcm = script_channel_new("fcm");
    apns = script_channel_new("apns");

    stage_exec(stage, "INSERT INTO commune (code, name) SELECT lpad(i::text, 5, '0'), 'Xã ' || i"
                      " FROM generate_series(1, 300) i ON CONFLICT DO NOTHING");
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    fcm->channel.ops->free(&fcm->channel);
    apns->channel.ops->free(&apns->channel);
    stage_free(*state);
    return 0;
}

/* An empty province again. */
static void clear(struct stage *stage)
{
    stage_exec(stage, "TRUNCATE receipt, fanout_retry, fanout_flight, fanout_chunk, fanout_plan,"
                      " fanout_halt, broadcast_text, broadcast, device CASCADE");
}

static const struct reach_commune *find(const GPtrArray *list, const char *code)
{
    for (guint i = 0; i < list->len; i++)
        if (strcmp(((const struct reach_commune *)list->pdata[i])->code, code) == 0)
            return list->pdata[i];
    fail_msg("no commune \"%s\"", code);
    return NULL;
}

/* The sums over communes are the channels' numbers, whatever is under way. */
static void assert_sums(const struct progress *p)
{
    g_autoptr(GPtrArray) list = reach_list(p->reach);
    struct reach_count sums[REACH_CHANNELS] = {{0}}, all = {0};

    for (guint i = 0; i < list->len; i++) {
        const struct reach_commune *commune = list->pdata[i];
        for (int c = 0; c < REACH_CHANNELS; c++) {
            reach_count_add(&sums[c], &commune->channels[c]);
            reach_count_add(&all, &commune->channels[c]);
        }
    }
    for (int i = 0; i < PROGRESS_CHANNELS; i++) {
        const struct progress_channel *c = &p->channels[i];
        const struct reach_count *sum = &sums[reach_channel_find(c->name)];
        assert_int_equal(sum->targeted, c->targeted);
        assert_int_equal(sum->accepted, c->tally.by_byte[OUTCOME_ACCEPTED]);
        assert_int_equal(sum->shown, c->shown);
        assert_int_equal(sum->opened, c->opened);
        assert_int_equal(progress_unaccounted(c), 0);
        assert_int_equal(c->tally.by_byte[OUTCOME_NONE], 0);
    }
    assert_int_equal(sums[REACH_NONE].targeted, 0);
    assert_int_equal(all.shown, p->shown);
    assert_int_equal(all.opened, p->opened);
}

static void read_progress(struct stage *stage, struct progress *p, bool receipts)
{
    g_autoptr(GError) error = NULL;

    if (!progress_store_read(stage->db, p, receipts, &error))
        fail_msg("%s", error->message);
    assert_sums(p);
}

static void tell(struct stage *stage, int64_t broadcast, int64_t device, enum receipt_event event)
{
    g_autoptr(GError) error = NULL;
    struct receipt receipt = {.version = 1, .device_id = device, .event = event};
    enum receipt_result result;
    g_autofree char *sql =
        g_strdup_printf("SELECT alert_id FROM broadcast WHERE id = %" G_GINT64_FORMAT, broadcast);
    g_autoptr(PGresult) res = db_query(stage->db, sql, NULL, &error);

    g_strlcpy(receipt.alert_id, db_get_text(res, 0, 0), sizeof(receipt.alert_id));
    if (!receipt_store(stage->db, &receipt, 1, &result, &error))
        fail_msg("%s", error->message);
    assert_int_equal(result, RECEIPT_STORED);
}

/* ---- under way ---- */

/* Every seventh answer is a dead token, every fifth one comes late. */
static bool judge(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)push;
    if (self->sent % 7 == 0)
        out->kind = VERDICT_DEAD_TOKEN;
    return self->sent % 5 != 0;
}

struct watch {
    struct stage *stage;
    struct progress *progress;
    int64_t broadcast, last_device;
    unsigned readings, held;
};

/* Reads at whatever instant the loop is in, with receipts coming meanwhile. */
static bool look(void *user)
{
    struct watch *w = user;

    w->readings++;
    if (w->last_device > 0 && w->readings % 2 == 0)
        tell(w->stage, w->broadcast, w->last_device--,
             w->readings % 4 == 0 ? RECEIPT_OPENED : RECEIPT_SHOWN);
    read_progress(w->stage, w->progress, w->readings % 3 != 0);
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        w->held += w->progress->channels[i].sending > 0;
    if (w->readings % 4 == 0) {
        script_answer_all(fcm, VERDICT_ACCEPTED);
        script_answer_all(apns, VERDICT_ACCEPTED);
    }
    return w->progress->finished;
}

static void test_exact_at_every_instant(void **state)
{
    struct stage *stage = *state;
    struct watch w = {.stage = stage};
    loa_auto(progress) progress = NULL;
    struct stage_loop *loop;
    g_autoptr(GPtrArray) list = NULL;

    stage_devices(stage, "fcm", 3000, true);
    stage_devices(stage, "apns", 1500, true);
    stage_exec(stage, "UPDATE device SET commune = CASE WHEN id % 10 < 9 THEN"
                      " lpad((1 + id % 4)::text, 5, '0') END");
    fcm->judge = apns->judge = judge;
    w.broadcast = stage_release(stage, true);
    w.last_device = stage_i64(stage, "SELECT max(id) FROM device");
    w.progress = progress = progress_new(w.broadcast);
    progress_by_commune(progress);
    loop = stage_loop_new(stage, "one", (struct script_channel *[]){fcm, apns}, 2);
    stage_until_true(look, &w);
    read_progress(stage, progress, true);
    assert_true(w.readings > 4 && w.held > 0);
    list = reach_list(progress->reach);
    assert_int_equal(list->len, 5);
    assert_string_equal(((struct reach_commune *)list->pdata[4])->code, "");
    for (guint i = 0; i < list->len; i++) {
        const struct reach_commune *commune = list->pdata[i];
        g_autofree char *sql = g_strdup_printf(
            "SELECT count(*) FROM device WHERE coalesce(commune, '') = '%s'", commune->code);
        assert_int_equal(reach_commune_total(commune).targeted, stage_i64(stage, sql));
    }
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    clear(stage);
}

/* ---- frozen ---- */

static bool finished(void *user)
{
    return stage_i64(user, "SELECT (count(*) = 0)::int FROM broadcast WHERE finished_at IS NULL");
}

static void test_frozen_and_corrected(void **state)
{
    struct stage *stage = *state;
    struct stage_loop *loop;
    int64_t id, correction, first;
    g_autoptr(GPtrArray) list = NULL, corrected = NULL;
    loa_auto(progress) p = NULL;
    loa_auto(progress) q = NULL;

    stage_devices(stage, "fcm", 2 * COMMUNES, true);
    stage_exec(stage, "UPDATE device SET commune = lpad((1 + id % 300)::text, 5, '0')");
    first = stage_i64(stage, "SELECT min(id) FROM device WHERE commune = '00001'");
    id = stage_release(stage, true);
    fcm->judge = NULL; /* accepts all */
    loop = stage_loop_new(stage, "one", &fcm, 1);
    stage_until_true(finished, stage);
    /* Everybody moves, one unregisters; receipts come, the second of one phone after its move. */
    tell(stage, id, first, RECEIPT_SHOWN);
    stage_exec(stage, "UPDATE device SET commune = '00007'");
    tell(stage, id, first, RECEIPT_OPENED);
    tell(stage, id, first + 1, RECEIPT_SHOWN);
    stage_exec(stage,
               "UPDATE device SET channel = 'none', push_token = NULL, id_kind = NULL,"
               " retired_at = now(), commune = NULL WHERE id = (SELECT max(id) FROM device)");
    tell(stage, id, stage_i64(stage, "SELECT max(id) FROM device"), RECEIPT_SHOWN);
    assert_int_equal(stage_i64(stage, "SELECT max(octet_length(member_commune) / member_count)"
                                      " FROM fanout_chunk"),
                     2);
    p = progress_new(id);
    progress_by_commune(p);
    read_progress(stage, p, true);
    list = reach_list(p->reach);
    assert_int_equal(list->len, COMMUNES + 1);
    assert_int_equal(find(list, "00001")->channels[REACH_FCM].targeted, 2);
    assert_int_equal(find(list, "00001")->channels[REACH_FCM].accepted, 2);
    assert_int_equal(find(list, "00001")->channels[REACH_FCM].shown, 1);
    assert_int_equal(find(list, "00001")->channels[REACH_FCM].opened, 1);
    assert_int_equal(find(list, "00007")->channels[REACH_FCM].targeted, 2);
    assert_int_equal(find(list, "00007")->channels[REACH_FCM].shown, 1);
    assert_int_equal(find(list, "")->channels[REACH_NONE].shown, 1);
    /* The correction goes to the same members, so in the same communes. */
    correction = stage_cancel(stage, id);
    stage_until_true(finished, stage);
    q = progress_new(correction);
    progress_by_commune(q);
    read_progress(stage, q, true);
    corrected = reach_list(q->reach);
    assert_int_equal(corrected->len, COMMUNES);
    for (guint i = 0; i < corrected->len; i++)
        assert_int_equal(reach_commune_total(corrected->pdata[i]).targeted, 2);
    stage_assert_sums(stage);
    stage_loop_kill(loop);
    clear(stage);
}

/* Chunks that were planned before communes were recorded count under none. */
static void test_not_recorded(void **state)
{
    struct stage *stage = *state;
    g_autofree char *sql = NULL;
    g_autoptr(GPtrArray) list = NULL;
    loa_auto(progress) p = NULL;
    int64_t id;

    stage_devices(stage, "fcm", 4, true);
    id = stage_release(stage, true);
    sql = g_strdup_printf(
        "INSERT INTO fanout_chunk (broadcast_id, chunk_no, channel, lane, priority, members,"
        " member_count) VALUES (%" G_GINT64_FORMAT ", 0, 'fcm', 0, 0, '\\x01010101', 4)",
        id);
    stage_exec(stage, sql);
    p = progress_new(id);
    progress_by_commune(p);
    read_progress(stage, p, true);
    list = reach_list(p->reach);
    assert_int_equal(list->len, 1);
    assert_int_equal(find(list, "")->channels[REACH_FCM].targeted, 4);
    clear(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_at_every_instant),
        cmocka_unit_test(test_frozen_and_corrected),
        cmocka_unit_test(test_not_recorded),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
