/* See the header. Everything but the provider is the real thing. */
#include "tests/support/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "engine/account_store.h"
#include "engine/checks.h"
#include "engine/outcome.h"
#include "tests/support/testpg.h"

#define WAIT_S   20
#define UNSTORED " (not to be stored)"

static void must(bool ok, GError *error)
{
    if (!ok)
        fail_msg("%s", error != NULL ? error->message : "failed without a reason");
}

static struct account *person(struct stage *stage, const char *name, struct signing_key **out_key)
{
    g_autofree char *file = g_strdup_printf("%s/%s.key", stage->dir, name);
    uint8_t public_key[ED25519_KEY_LEN];
    g_autoptr(GError) error = NULL;
    struct account *account;

    must(signing_key_create(file, public_key, &error), error);
    *out_key = signing_key_load(file, &error);
    must(*out_key != NULL, error);
    account = account_store_create(stage->db, name, public_key, &error);
    must(account != NULL, error);
    return account;
}

struct stage *stage_new(const char *name)
{
    struct stage *stage = g_new0(struct stage, 1);
    g_autofree char *file = NULL;
    uint8_t public_key[1][ED25519_KEY_LEN];
    g_autoptr(GError) error = NULL;

    crypto_init();
    stage->dir = g_dir_make_tmp("loa-stage-XXXXXX", &error);
    must(stage->dir != NULL, error);
    stage->conninfo = g_strdup(testpg_database(name));
    stage->db = db_open(stage->conninfo, &error);
    must(stage->db != NULL, error);
    stage->life_s = 7200;
    stage->settings = settings_defaults();
    stage->settings->deliver_lease_ms = 1000;
    stage->settings->deliver_poll_ms = 100;
    stage->settings->deliver_flight_size = 100;
    stage->creator = person(stage, "an", &stage->creator_key);
    stage->approver = person(stage, "binh", &stage->approver_key);
    file = g_strdup_printf("%s/release.key", stage->dir);
    must(signing_key_create(file, public_key[0], &error), error);
    stage->release_key = signing_key_load(file, &error);
    must(stage->release_key != NULL, error);
    stage->keys = release_keys_new((const uint8_t(*)[ED25519_KEY_LEN])public_key, 1);
    return stage;
}

void stage_free(struct stage *stage)
{
    static const char *const files[] = {"an.key", "binh.key", "release.key"};

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(stage->dir, files[i], NULL);
        g_unlink(path);
    }
    g_rmdir(stage->dir);
    g_free(stage->dir);
    account_free(stage->creator);
    account_free(stage->approver);
    signing_key_free(stage->creator_key);
    signing_key_free(stage->approver_key);
    signing_key_free(stage->release_key);
    release_keys_free(stage->keys);
    settings_free(stage->settings);
    db_close(stage->db);
    g_free(stage->conninfo);
    g_free(stage);
}

void stage_exec(struct stage *stage, const char *sql)
{
    g_autoptr(GError) error = NULL;

    must(db_exec(stage->db, sql, NULL, &error), error);
}

int64_t stage_i64(struct stage *stage, const char *sql)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = db_query(stage->db, sql, NULL, &error);

    must(res != NULL, error);
    assert_int_equal(PQntuples(res), 1);
    return db_get_i64(res, 0, 0);
}

void stage_devices(struct stage *stage, const char *channel, int n, bool proven)
{
    g_autofree char *sql = g_strdup_printf(
        "WITH base AS (SELECT coalesce(max(id), 0) AS id FROM device)"
        " INSERT INTO device (id, channel, id_kind, push_token, apns_environment, mqtt, proven_at)"
        " SELECT base.id + g, '%s', %s, %s, %s, %s, %s FROM base, generate_series(1, %d) AS g",
        channel, strcmp(channel, "mqtt") != 0 ? "'token'" : "NULL",
        strcmp(channel, "mqtt") != 0 ? "'t' || (base.id + g)" : "NULL",
        strcmp(channel, "apns") == 0 ? "'production'" : "NULL",
        strcmp(channel, "mqtt") == 0 ? "true" : "false", proven ? "now()" : "NULL", n);

    stage_exec(stage, sql);
}

int64_t stage_release(struct stage *stage, bool emergency)
{
    return stage_release_in(stage, emergency, NULL);
}

int64_t stage_release_in(struct stage *stage, bool emergency, const char *commune)
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
    struct broadcast_text *text = broadcast_text_add(b, "vi");
    int64_t existing;
    bool already;
    g_autoptr(GError) error = NULL;

    b->realm = BROADCAST_LIVE;
    b->kind = emergency ? BROADCAST_CANH_BAO : BROADCAST_THONG_TIN;
    b->level = emergency ? BROADCAST_KHAN_CAP : BROADCAST_THUONG;
    b->expires_utc_us = (g_get_real_time() / USEC_PER_SEC + stage->life_s) * USEC_PER_SEC;
    b->receipt_window_s = 60;
    broadcast_set(&text->title, emergency ? "Lũ khẩn cấp trên sông Bằng" : "Lịch tiêm chủng");
    broadcast_set(&text->body, emergency ? "Nước sông Bằng vượt báo động 3." : "Trạm y tế mở cửa.");
    broadcast_set(&text->instruction, emergency ? "Di dời ngay lên nơi cao." : "");
    must(broadcast_set_area(b, commune == NULL, commune, &error), error);
    must(broadcast_create(&creator, b, &options, NULL, &existing, &error), error);
    must(broadcast_approve(&approver, b->id, b->content_hash, true, &already, &error), error);
    return b->id;
}

int64_t stage_cancel(struct stage *stage, int64_t id)
{
    struct broadcast_actor actor = {.db = stage->db,
                                    .account = stage->approver,
                                    .account_key = stage->approver_key,
                                    .release_key = stage->release_key,
                                    .release_key_id = "k1",
                                    .release_keys = stage->keys};
    struct broadcast_cancel_result result;
    g_autoptr(GError) error = NULL;

    must(broadcast_cancel(&actor, id, "sai địa bàn", &result, &error), error);
    return result.correction_id;
}

int64_t stage_outcomes(struct stage *stage, int64_t broadcast_id, uint8_t byte)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT count(*) FROM fanout_flight f, generate_series(0, f.size - 1) AS i"
        " WHERE f.broadcast_id = %" G_GINT64_FORMAT " AND get_byte(f.codes, i) = %d",
        broadcast_id, byte);

    return stage_i64(stage, sql);
}

void stage_assert_sums(struct stage *stage)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    must(checks_run(stage->db, LOA_SOURCE_DIR "/sql/checks", faults, &error), error);
    for (guint i = 0; i < faults->len; i++)
        print_error("%s\n", (const char *)faults->pdata[i]);
    assert_int_equal(faults->len, 0);
}

/* ---- the scripted provider ---- */

struct answer {
    struct push *push;
    struct verdict verdict;
};

static struct script_channel *script_of(const struct channel *channel)
{
    return (struct script_channel *)channel; /* its first member */
}

static struct channel_payload *script_render(struct channel *channel, const struct message *message,
                                             GError **error)
{
    (void)channel;
    (void)error;
    return (struct channel_payload *)g_strconcat(message->title, message->store ? "" : UNSTORED,
                                                 NULL);
}

static void script_payload_free(struct channel_payload *payload)
{
    g_free(payload);
}

static size_t script_payload_size(const struct channel_payload *payload)
{
    return strlen((const char *)payload);
}

static void script_start(struct channel *channel)
{
    (void)channel;
}

static unsigned script_slots(const struct channel *channel, enum lane lane)
{
    (void)channel;
    (void)lane;
    return 1;
}

static unsigned script_in_flight(const struct channel *channel, enum lane lane, unsigned slot)
{
    (void)slot;
    return script_of(channel)->in_flight[lane] + (script_of(channel)->busy ? 1 : 0);
}

static unsigned script_room(const struct channel *channel, enum lane lane, unsigned slot)
{
    const struct script_channel *script = script_of(channel);

    (void)slot;
    if (script->unreachable[lane] || script->busy)
        return 0;
    return script->room > script->in_flight[lane] ? script->room - script->in_flight[lane] : 0;
}

static gboolean script_deliver(gpointer data)
{
    struct script_channel *script = data;
    struct answer *answer;

    script->source = 0;
    while ((answer = g_queue_pop_head(&script->answers)) != NULL) {
        script->in_flight[answer->push->lane]--;
        answer->push->done(answer->push, &answer->verdict);
        g_free(answer);
    }
    script->channel.on_room(script->channel.engine_data, &script->channel);
    return G_SOURCE_REMOVE;
}

static void script_answer(struct script_channel *script, struct push *push,
                          const struct verdict *verdict)
{
    struct answer *answer = g_new(struct answer, 1);

    answer->push = push;
    answer->verdict = *verdict;
    g_queue_push_tail(&script->answers, answer);
    if (script->source == 0)
        script->source = g_idle_add(script_deliver, script);
}

static void script_send(struct channel *channel, struct push *push)
{
    struct script_channel *script = script_of(channel);
    struct verdict verdict = {.kind = VERDICT_ACCEPTED, .reason = "script"};
    int64_t *id = g_new(int64_t, 1);

    *id = push->device_id;
    script->sent++;
    script->in_flight[push->lane]++;
    g_hash_table_replace(script->sends, id,
                         GINT_TO_POINTER(script_sends(script, push->device_id) + 1));
    if (script->judge == NULL || script->judge(script, push, &verdict))
        script_answer(script, push, &verdict);
    else
        g_ptr_array_add(script->held, push);
}

static void script_flush(struct channel *channel)
{
    (void)channel;
}

static void script_dry_run(struct channel *channel,
                           void (*cb)(bool ok, const char *detail, int64_t duration_us, void *user),
                           void *user)
{
    (void)channel;
    cb(true, "script", 0, user);
}

static void script_free(struct channel *channel)
{
    struct script_channel *script = script_of(channel);

    if (script->source != 0)
        g_source_remove(script->source);
    g_queue_clear_full(&script->answers, g_free);
    g_ptr_array_free(script->held, TRUE);
    g_hash_table_destroy(script->sends);
    g_free(script);
}

static const struct channel_ops script_ops = {
    .render = script_render,
    .payload_free = script_payload_free,
    .payload_size = script_payload_size,
    .start = script_start,
    .slots = script_slots,
    .room = script_room,
    .in_flight = script_in_flight,
    .send = script_send,
    .flush = script_flush,
    .dry_run = script_dry_run,
    .free = script_free,
};

struct script_channel *script_channel_new(const char *name)
{
    struct script_channel *script = g_new0(struct script_channel, 1);

    script->channel = (struct channel){.ops = &script_ops, .name = name, .payload_max = 4096};
    script->sends = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    script->held = g_ptr_array_new();
    g_queue_init(&script->answers);
    script->room = 100;
    return script;
}

void script_answer_all(struct script_channel *script, enum verdict_kind kind)
{
    struct verdict verdict = {.kind = kind, .reason = "script"};

    for (guint i = 0; i < script->held->len; i++)
        script_answer(script, script->held->pdata[i], &verdict);
    g_ptr_array_set_size(script->held, 0);
}

bool script_stored(const struct push *push)
{
    return !g_str_has_suffix((const char *)push->payload, UNSTORED);
}

int script_sends(const struct script_channel *script, int64_t device_id)
{
    return GPOINTER_TO_INT(g_hash_table_lookup(script->sends, &device_id));
}

/* ---- the loop ---- */

struct stage_loop *stage_loop_new(struct stage *stage, const char *owner,
                                  struct script_channel *const *scripts, size_t n)
{
    struct stage_loop *loop = g_new0(struct stage_loop, 1);
    struct channel *channels[FANOUT_CHANNELS_MAX];

    assert_true(n <= FANOUT_CHANNELS_MAX);
    for (size_t i = 0; i < n; i++)
        channels[i] = &scripts[i]->channel;
    database_clock_init(&loop->clock, clock_system());
    loop->db = db_async_new(stage->conninfo, 10000, &loop->clock.clock);
    loop->db_plan = db_async_new(stage->conninfo, 10000, &loop->clock.clock);
    loop->db_scan = db_async_new(stage->conninfo, 10000, &loop->clock.clock);
    struct fanout_options options = {.owner = owner,
                                     .db = loop->db,
                                     .db_plan = loop->db_plan,
                                     .db_listen = loop->db_plan,
                                     .db_scan = loop->db_scan,
                                     .clock = &loop->clock,
                                     .settings = stage->settings,
                                     .keys = stage->keys,
                                     .channels = channels,
                                     .n_channels = n,
                                     .plans = true};
    loop->fanout = fanout_new(&options);
    return loop;
}

void stage_loop_kill(struct stage_loop *loop)
{
    db_async_free(loop->db);
    db_async_free(loop->db_plan);
    db_async_free(loop->db_scan);
    fanout_free(loop->fanout);
    g_free(loop);
}

struct sql_condition {
    struct stage *stage;
    const char *sql;
};

static bool sql_true(void *user)
{
    const struct sql_condition *condition = user;

    return stage_i64(condition->stage, condition->sql) != 0;
}

static gboolean nudge(gpointer data)
{
    (void)data;
    return G_SOURCE_CONTINUE;
}

void stage_until_true(bool (*condition)(void *user), void *user)
{
    int64_t end = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    guint timer = g_timeout_add(5, nudge, NULL); /* the wait below always ends */

    while (!condition(user)) {
        if (g_get_monotonic_time() > end) {
            g_source_remove(timer);
            fail_msg("not true within %d s", WAIT_S);
        }
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(timer);
}

void stage_until(struct stage *stage, const char *sql)
{
    struct sql_condition condition = {stage, sql};

    stage_until_true(sql_true, &condition);
}
