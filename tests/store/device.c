/* lib: loa_engine loa_teststage */
/* The registry against PostgreSQL: one key makes one device, one token lives on one device. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "engine/device.h"
#include "engine/device_store.h"
#include "tests/support/stage.h"

static struct device_state fcm(const char *token)
{
    return (struct device_state){.channel = "fcm",
                                 .id_kind = "token",
                                 .push_token = token,
                                 .os = "android",
                                 .app_version = "1",
                                 .language = "vi"};
}

static struct device_row *add(struct stage *stage, const char *key, const struct device_state *told,
                              bool *out_created)
{
    g_autoptr(GError) error = NULL;
    uint8_t hash[SHA256_LEN];
    struct device_row *row;

    crypto_sha256(key, strlen(key), hash);
    row = device_register(stage->db, hash, "live", told, out_created, &error);
    if (row == NULL)
        fail_msg("%s", error->message);
    return row;
}

static struct device_row *get(struct stage *stage, int64_t id)
{
    g_autoptr(GError) error = NULL;
    struct device_row *row = device_get(stage->db, id, false, &error);

    if (row == NULL)
        fail_msg("%s", error->message);
    return row;
}

static void update(struct stage *stage, int64_t id, const struct device_state *told)
{
    g_autoptr(GError) error = NULL;

    if (!db_begin(stage->db, &error) || !device_update(stage->db, id, told, &error) ||
        !db_commit(stage->db, &error))
        fail_msg("%s", error->message);
}

static void test_same_key_same_device(void **state)
{
    struct stage *stage = *state;
    struct device_state first = fcm("tok-key-1"), other = fcm("tok-key-2");
    bool created;
    g_autoptr(GError) error = NULL;
    uint8_t hash[SHA256_LEN];
    loa_auto(device_row) one = add(stage, "key-1", &first, &created);
    loa_auto(device_row) two = NULL;

    assert_true(created);
    assert_int_equal(one->generation, 1);
    assert_string_equal(one->state.push_token, "tok-key-1");
    assert_int_equal(one->proven_utc_us, 0);
    two = add(stage, "key-1", &first, &created);
    assert_false(created);
    assert_int_equal(two->id, one->id);

    crypto_sha256("key-1", 5, hash);
    assert_null(device_register(stage->db, hash, "live", &other, &created, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    assert_int_equal(
        stage_i64(stage, "SELECT count(*) FROM device WHERE push_token LIKE 'tok-key-%'"), 1);
}

/* What the rules let through, the unique index can hold, though it does not compress. */
static void test_longest_token(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct stage *stage = *state;
    char token[DEVICE_TOKEN_MAX + 1] = "";
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    bool created;

    for (size_t i = 0; i < DEVICE_TOKEN_MAX; i++)
        token[i] = alphabet[g_rand_int_range(random, 0, sizeof(alphabet) - 1)];
    struct device_state told = fcm(token);
    loa_auto(device_row) row = add(stage, "longest-token", &told, &created);
    assert_string_equal(row->state.push_token, token);
}

static void test_token_moves_to_the_newer(void **state)
{
    struct stage *stage = *state;
    struct device_state plain = fcm("tok-move"), beside = fcm("tok-move");
    bool created;

    beside.mqtt = true;
    loa_auto(device_row) a = add(stage, "move-a", &plain, &created);
    loa_auto(device_row) b = add(stage, "move-b", &beside, &created);
    loa_auto(device_row) c = add(stage, "move-c", &plain, &created);
    loa_auto(device_row) a_now = get(stage, a->id);
    loa_auto(device_row) b_now = get(stage, b->id);
    loa_auto(device_row) c_now = get(stage, c->id);

    assert_string_equal(a_now->state.channel, "none");
    assert_string_equal(a_now->retired_reason, "token_moved");
    assert_true(a_now->retired_utc_us > 0);
    assert_string_equal(b_now->state.channel, "mqtt");
    assert_null(b_now->state.push_token);
    assert_null(b_now->retired_reason);
    assert_string_equal(c_now->state.push_token, "tok-move");

    /* A fid with the same text is another identity; so is another channel. */
    plain.id_kind = "fid";
    loa_auto(device_row) d = add(stage, "move-d", &plain, &created);
    loa_auto(device_row) c_still = get(stage, c->id);
    assert_string_equal(c_still->state.push_token, "tok-move");
    assert_string_equal(d->state.push_token, "tok-move");
}

static void test_replay_does_not_take_the_token_back(void **state)
{
    struct stage *stage = *state;
    struct device_state told = fcm("tok-replay");
    g_autoptr(GError) error = NULL;
    uint8_t hash[SHA256_LEN];
    bool created;
    loa_auto(device_row) a = add(stage, "replay-a", &told, &created);
    loa_auto(device_row) b = add(stage, "replay-b", &told, &created);

    crypto_sha256("replay-a", 8, hash);
    assert_null(device_register(stage->db, hash, "live", &told, &created, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
    loa_auto(device_row) b_now = get(stage, b->id);
    assert_string_equal(b_now->state.push_token, "tok-replay");
    assert_true(a->id != b->id);
}

static void test_update(void **state)
{
    struct stage *stage = *state;
    struct device_state told = fcm("tok-update-1");
    bool created;
    loa_auto(device_row) row = add(stage, "update", &told, &created);
    g_autofree char *prove =
        g_strdup_printf("UPDATE device SET proven_at = now(), token_at = now() - interval '1 day',"
                        " last_seen_at = now() - interval '1 day' WHERE id = %" G_GINT64_FORMAT,
                        row->id);

    stage_exec(stage, prove);
    loa_auto(device_row) before = get(stage, row->id);
    told.language = "tyz";
    update(stage, row->id, &told);
    loa_auto(device_row) same = get(stage, row->id);
    assert_true(same->proven_utc_us > 0);
    assert_true(same->token_utc_us == before->token_utc_us);
    assert_true(same->last_seen_utc_us > before->last_seen_utc_us);
    assert_string_equal(same->state.language, "tyz");

    told.push_token = "tok-update-2";
    update(stage, row->id, &told);
    loa_auto(device_row) changed = get(stage, row->id);
    assert_int_equal(changed->proven_utc_us, 0);
    assert_true(changed->token_utc_us > before->token_utc_us);
}

static void test_update_takes_a_token(void **state)
{
    struct stage *stage = *state;
    struct device_state a_told = fcm("tok-take-a"), b_told = fcm("tok-take-b");
    bool created;
    loa_auto(device_row) a = add(stage, "take-a", &a_told, &created);
    loa_auto(device_row) b = add(stage, "take-b", &b_told, &created);

    update(stage, b->id, &a_told);
    loa_auto(device_row) a_now = get(stage, a->id);
    assert_string_equal(a_now->retired_reason, "token_moved");
    /* The retired one comes back with a token of its own. */
    a_told.push_token = "tok-take-a2";
    update(stage, a->id, &a_told);
    loa_auto(device_row) a_back = get(stage, a->id);
    assert_string_equal(a_back->state.channel, "fcm");
    assert_null(a_back->retired_reason);
    assert_int_equal(a_back->retired_utc_us, 0);
}

static void test_unregister(void **state)
{
    struct stage *stage = *state;
    struct device_state told = fcm("tok-gone");
    g_autoptr(GError) error = NULL;
    bool created;
    loa_auto(device_row) row = add(stage, "gone", &told, &created);

    assert_true(device_unregister(stage->db, row->id, &error));
    loa_auto(device_row) gone = get(stage, row->id);
    assert_true(device_row_unregistered(gone));
    assert_null(gone->state.push_token);
    assert_true(device_unregister(stage->db, row->id, &error));
    loa_auto(device_row) still = get(stage, row->id);
    assert_true(still->retired_utc_us == gone->retired_utc_us);
    /* Its key is free again. */
    loa_auto(device_row) again = add(stage, "gone", &told, &created);
    assert_true(created);
    assert_true(again->id != row->id);
    assert_null(device_get(stage->db, INT64_MAX, false, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_NOT_FOUND));
}

static void test_unknown_commune_is_refused(void **state)
{
    struct stage *stage = *state;
    struct device_state told = fcm("tok-commune");
    g_autoptr(GError) error = NULL;
    uint8_t hash[SHA256_LEN] = {1};
    bool created;

    told.commune = "99999";
    assert_null(device_register(stage->db, hash, "live", &told, &created, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
}

#define RACERS 4
#define ROUNDS 25

static void *race(void *user)
{
    const char *conninfo = user;
    loa_auto(db) db = db_open(conninfo, NULL);
    struct device_state told = fcm("tok-race");

    told.os = "race";
    for (int i = 0; i < ROUNDS && db != NULL; i++) {
        uint8_t hash[SHA256_LEN];
        bool created;
        crypto_random(hash, sizeof(hash));
        loa_auto(device_row) row = device_register(db, hash, "live", &told, &created, NULL);
        if (row == NULL)
            return GINT_TO_POINTER(1);
    }
    return GINT_TO_POINTER(db == NULL);
}

/* Installs that tell the same token at once all get their row; one of them has the token. */
static void test_race_for_one_token(void **state)
{
    struct stage *stage = *state;
    pthread_t threads[RACERS];
    void *failed;

    for (size_t i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, stage->conninfo), 0);
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE push_token = 'tok-race'"),
                     1);
    assert_int_equal(stage_i64(stage, "SELECT count(*) FROM device WHERE os = 'race'"),
                     RACERS * ROUNDS);
}

static int setup(void **state)
{
    *state = stage_new("device");
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
        cmocka_unit_test(test_same_key_same_device),
        cmocka_unit_test(test_longest_token),
        cmocka_unit_test(test_token_moves_to_the_newer),
        cmocka_unit_test(test_replay_does_not_take_the_token_back),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_update_takes_a_token),
        cmocka_unit_test(test_unregister),
        cmocka_unit_test(test_unknown_commune_is_refused),
        cmocka_unit_test(test_race_for_one_token),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
