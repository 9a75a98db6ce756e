/* Two phases over the database's differences: first what is surplus is removed, then what is
 * missing is added; so a registration that has moved to another row or install is never removed
 * last. Rows are read in pages and gathered into one bucket per topic; a full bucket is a batch.
 * Batches are recorded as they are answered, which is all that a later run needs. */
#include "app/topic_sync.h"

#include <string.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/topic_store.h"
#include "fcm/topic_client.h"

#define PAGE        2000
#define BATCHES     6 /* at the client at once: some wait for the rate, some for their answers */
#define PASSES      3 /* over what FCM wanted to be asked again */
#define PASS_WAIT_S 10
#define LEASE_S     30
#define RENEW_S     10
/* At least so many dead, and more than half of all that were asked for, are no news about phones
 * but about us: the service account of another project. */
#define SUSPECT_MIN 20

/* Registrations of one kind that go into or out of one topic. */
struct batch {
    struct sync *sync;
    char *realm, *commune, *id_kind;
    char *topic;
    GPtrArray *registrations; /* char *, owned */
    struct fcm_topic_answer *answers;
    struct fcm_topic_change change;
};

struct sync {
    struct db *db;
    struct fcm_topics *topics;
    const struct topic_sync_progress *progress;
    struct topic_sync_counts *counts;
    char *owner;
    GMainLoop *loop;
    enum fcm_topic_op op;
    int64_t done, total, dead_answers; /* subscriptions of this phase */
    GHashTable *buckets;               /* "realm/commune/kind" → struct batch, not yet full */
    GQueue full;                       /* struct batch */
    GPtrArray *open;                   /* struct batch, at the client; owned */
    bool read_all;
    int64_t after_id;
    struct topic_cursor cursor;
    guint pause;                         /* between two passes */
    GHashTable *dead_tokens, *dead_fids; /* registrations, sets: retired at the phase's end */
    GError *error;
};

static void batch_free(void *data)
{
    struct batch *batch = data;

    g_free(batch->realm);
    g_free(batch->commune);
    g_free(batch->id_kind);
    g_free(batch->topic);
    g_ptr_array_unref(batch->registrations);
    g_free(batch->answers);
    g_free(batch);
}

static struct batch *batch_new(struct sync *s, const char *realm, const char *commune,
                               const char *id_kind)
{
    struct batch *batch = g_new0(struct batch, 1);

    batch->sync = s;
    batch->realm = g_strdup(realm);
    batch->commune = g_strdup(commune);
    batch->id_kind = g_strdup(id_kind);
    batch->topic = fcm_topic_name(realm, commune);
    batch->registrations = g_ptr_array_new_with_free_func(g_free);
    return batch;
}

/* ---- reading the difference ---- */

static void gather(struct sync *s, const char *registration, const char *id_kind, const char *realm,
                   const char *commune)
{
    g_autofree char *key = g_strdup_printf("%s/%s/%s", realm, commune, id_kind);
    struct batch *batch = g_hash_table_lookup(s->buckets, key);
    gpointer stolen = NULL;

    if (batch == NULL) {
        batch = batch_new(s, realm, commune, id_kind);
        g_hash_table_insert(s->buckets, g_strdup(key), batch);
    }
    g_ptr_array_add(batch->registrations, g_strdup(registration));
    if (batch->registrations->len < FCM_TOPIC_BATCH_MAX)
        return;
    g_hash_table_steal_extended(s->buckets, key, &stolen, NULL);
    g_free(stolen);
    g_queue_push_tail(&s->full, batch);
}

static bool read_missing(struct sync *s)
{
    g_autoptr(PGresult) res = topic_store_missing(s->db, s->after_id, PAGE, &s->error);

    if (res == NULL)
        return false;
    for (int i = 0; i < PQntuples(res); i++) {
        const char *registration = db_get_text(res, i, 1), *id_kind = db_get_text(res, i, 2);
        const char *realm = db_get_text(res, i, 3);
        s->after_id = db_get_i64(res, i, 0);
        if (db_get_bool(res, i, 5))
            gather(s, registration, id_kind, realm, "");
        if (db_get_bool(res, i, 6))
            gather(s, registration, id_kind, realm, db_get_text(res, i, 4));
    }
    s->read_all = PQntuples(res) < PAGE;
    return true;
}

static bool read_surplus(struct sync *s)
{
    g_autoptr(PGresult) res = topic_store_surplus(s->db, &s->cursor, PAGE, &s->error);
    int n = res != NULL ? PQntuples(res) : 0;

    if (res == NULL)
        return false;
    for (int i = 0; i < n; i++)
        if (db_get_bool(res, i, 4))
            gather(s, db_get_text(res, i, 0), db_get_text(res, i, 1), db_get_text(res, i, 2),
                   db_get_text(res, i, 3));
    s->read_all = n < PAGE;
    if (n == 0)
        return true;
    topic_cursor_clear(&s->cursor);
    s->cursor = (struct topic_cursor){.push_token = g_strdup(db_get_text(res, n - 1, 0)),
                                      .id_kind = g_strdup(db_get_text(res, n - 1, 1)),
                                      .realm = g_strdup(db_get_text(res, n - 1, 2)),
                                      .commune = g_strdup(db_get_text(res, n - 1, 3))};
    return true;
}

/* The next batch to be sent; NULL without error: there is none. */
static struct batch *next_batch(struct sync *s)
{
    GHashTableIter iter;
    gpointer key, batch;

    while (g_queue_is_empty(&s->full) && !s->read_all)
        if (!(s->op == FCM_TOPIC_ADD ? read_missing(s) : read_surplus(s)))
            return NULL;
    if (!g_queue_is_empty(&s->full))
        return g_queue_pop_head(&s->full);
    g_hash_table_iter_init(&iter, s->buckets);
    if (!g_hash_table_iter_next(&iter, &key, &batch))
        return NULL;
    g_hash_table_iter_steal(&iter);
    g_free(key);
    return batch;
}

/* ---- what came of a batch ---- */

static void count_reason(struct sync *s, const char *reason)
{
    int n = GPOINTER_TO_INT(g_hash_table_lookup(s->counts->reasons, reason));

    g_hash_table_insert(s->counts->reasons, (gpointer)reason, GINT_TO_POINTER(n + 1));
}

/* Lists of borrowed registrations. */
struct outcome {
    GPtrArray *added, *removed;
};

static void sort_answer(struct sync *s, const struct batch *batch, guint i,
                        const struct outcome *out)
{
    char *registration = batch->registrations->pdata[i];
    struct fcm_topic_answer answer = batch->answers[i];
    bool adding = s->op == FCM_TOPIC_ADD;

    switch (answer.result) {
    case FCM_TOPIC_DONE:
        g_ptr_array_add(adding ? out->added : out->removed, registration);
        break;
    case FCM_TOPIC_DEAD: /* what is dead is subscribed to nothing */
        if (!adding) {
            g_ptr_array_add(out->removed, registration);
            break;
        }
        s->dead_answers++;
        g_hash_table_add(strcmp(batch->id_kind, "fid") == 0 ? s->dead_fids : s->dead_tokens,
                         g_strdup(registration));
        break;
    case FCM_TOPIC_REFUSED:
        s->counts->refused++;
        count_reason(s, answer.reason);
        break;
    case FCM_TOPIC_AGAIN:
        s->counts->again++;
        count_reason(s, answer.reason);
        break;
    }
}

static bool record(struct sync *s, const struct batch *batch)
{
    struct outcome out = {g_ptr_array_new(), g_ptr_array_new()};
    bool ok;

    for (guint i = 0; i < batch->registrations->len; i++)
        sort_answer(s, batch, i, &out);
    const struct topic_change change = {.realm = batch->realm,
                                        .commune = batch->commune,
                                        .id_kind = batch->id_kind,
                                        .added = (const char *const *)out.added->pdata,
                                        .n_added = out.added->len,
                                        .removed = (const char *const *)out.removed->pdata,
                                        .n_removed = out.removed->len};
    ok = topic_store_change(s->db, &change, &s->error);
    s->counts->added += out.added->len;
    s->counts->removed += out.removed->len;
    s->done += batch->registrations->len;
    g_ptr_array_unref(out.added);
    g_ptr_array_unref(out.removed);
    return ok;
}

/* Retires the dead of one kind, in pieces of a batch. */
static bool retire(struct sync *s, const char *id_kind, GHashTable *dead)
{
    g_autofree gpointer *list = g_hash_table_get_keys_as_array(dead, NULL);
    size_t n = g_hash_table_size(dead);

    for (size_t at = 0; at < n; at += FCM_TOPIC_BATCH_MAX) {
        int64_t retired = 0;
        if (!topic_store_retire(s->db, id_kind, (const char *const *)list + at,
                                MIN(n - at, FCM_TOPIC_BATCH_MAX), &retired, &s->error))
            return false;
        s->counts->dead += retired;
    }
    return true;
}

/* After everybody was asked, because only then it shows whether so many can be. */
static bool bury(struct sync *s)
{
    int64_t n = g_hash_table_size(s->dead_tokens) + g_hash_table_size(s->dead_fids);
    bool ok = true;

    if (n >= SUSPECT_MIN && s->dead_answers * 2 > s->done)
        s->counts->suspect = n;
    else
        ok = retire(s, "token", s->dead_tokens) && retire(s, "fid", s->dead_fids);
    g_hash_table_remove_all(s->dead_tokens);
    g_hash_table_remove_all(s->dead_fids);
    return ok;
}

static void advance(struct sync *s);

static void batch_done(struct fcm_topic_change *change, const GError *error, void *user)
{
    struct batch *batch = user;
    struct sync *s = batch->sync;

    (void)change;
    if (error != NULL && s->error == NULL)
        s->error = g_error_copy(error);
    if (error == NULL && s->error == NULL && record(s, batch))
        s->progress->step(s->op, s->done, MAX(s->total, s->done), s->progress->user);
    g_ptr_array_remove_fast(s->open, batch);
    advance(s);
}

static void send_batch(struct sync *s, struct batch *batch)
{
    size_t n = batch->registrations->len;

    batch->answers = g_new0(struct fcm_topic_answer, n);
    batch->change =
        (struct fcm_topic_change){.op = s->op,
                                  .topic = batch->topic,
                                  .fids = strcmp(batch->id_kind, "fid") == 0,
                                  .n = n,
                                  .registrations = (const char *const *)batch->registrations->pdata,
                                  .answers = batch->answers,
                                  .done = batch_done,
                                  .user = batch};
    g_ptr_array_add(s->open, batch);
    fcm_topics_change(s->topics, &batch->change);
}

/* Keeps the client busy; ends the loop when nothing is left, or at the first error. */
static void advance(struct sync *s)
{
    while (s->error == NULL && s->open->len < BATCHES) {
        struct batch *batch = next_batch(s);
        if (batch == NULL)
            break;
        send_batch(s, batch);
    }
    if (s->error != NULL || s->open->len == 0)
        g_main_loop_quit(s->loop);
}

/* ---- phases and passes ---- */

static bool run_phase(struct sync *s, enum fcm_topic_op op, int64_t total)
{
    s->op = op;
    s->done = s->dead_answers = 0;
    s->total = total;
    s->read_all = false;
    s->after_id = 0;
    topic_cursor_clear(&s->cursor);
    advance(s);
    if (s->open->len > 0 && s->error == NULL)
        g_main_loop_run(s->loop);
    return s->error == NULL;
}

static gboolean pause_over(gpointer user)
{
    struct sync *s = user;

    s->pause = 0;
    g_main_loop_quit(s->loop);
    return G_SOURCE_REMOVE;
}

static bool run_passes(struct sync *s)
{
    for (int pass = 1;; pass++) {
        struct topic_counts left;
        if (!topic_store_counts(s->db, &left, &s->error))
            return false;
        s->counts->again = s->counts->refused = s->counts->suspect = 0;
        g_hash_table_remove_all(s->counts->reasons);
        if (!run_phase(s, FCM_TOPIC_REMOVE, left.surplus) ||
            !run_phase(s, FCM_TOPIC_ADD, left.missing) || !bury(s))
            return false;
        if (s->counts->again == 0 || pass == PASSES)
            return true;
        s->pause = g_timeout_add_seconds(PASS_WAIT_S, pause_over, s);
        g_main_loop_run(s->loop);
        g_clear_handle_id(&s->pause, g_source_remove);
        if (s->error != NULL)
            return false;
    }
}

static gboolean renew(gpointer user)
{
    struct sync *s = user;

    if (s->error == NULL && !topic_store_lease(s->db, s->owner, LEASE_S, &s->error))
        g_main_loop_quit(s->loop);
    return G_SOURCE_CONTINUE;
}

static void sync_clear(struct sync *s)
{
    struct batch *batch;

    fcm_topics_free(s->topics); /* before the batches that it works on */
    while ((batch = g_queue_pop_head(&s->full)) != NULL)
        batch_free(batch);
    g_hash_table_unref(s->buckets);
    g_hash_table_unref(s->dead_tokens);
    g_hash_table_unref(s->dead_fids);
    g_ptr_array_unref(s->open);
    topic_cursor_clear(&s->cursor);
    g_main_loop_unref(s->loop);
    g_free(s->owner);
}

static char *random_owner(void)
{
    uint8_t random[12];

    crypto_random(random, sizeof(random));
    return crypto_base64url(random, sizeof(random));
}

bool topic_sync_run(struct command *command, struct db *db,
                    const struct topic_sync_progress *progress, struct topic_sync_counts *counts,
                    GError **error)
{
    struct sync s = {.db = db,
                     .progress = progress,
                     .counts = counts,
                     .owner = random_owner(),
                     .loop = g_main_loop_new(NULL, FALSE)};

    s.buckets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, batch_free);
    s.dead_tokens = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    s.dead_fids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    s.open = g_ptr_array_new_with_free_func(batch_free);
    s.topics = fcm_topics_new(command->settings, command->clock, &s.error);
    if (s.topics != NULL && topic_store_lease(db, s.owner, LEASE_S, &s.error)) {
        guint timer = g_timeout_add_seconds(RENEW_S, renew, &s);
        bool ran = run_passes(&s);
        g_source_remove(timer);
        bool completed = ran && counts->again + counts->refused + counts->suspect == 0;
        if (!topic_store_release_lease(db, s.owner, completed, ran ? &s.error : NULL))
            log_event(LOG_LEVEL_WARN, "topic_lease_kept", LOG_INT("seconds", LEASE_S));
    }
    sync_clear(&s);
    if (s.error == NULL)
        return true;
    g_propagate_error(error, s.error);
    return false;
}
