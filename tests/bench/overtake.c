/* lib: loa_benchrig */
/* Information to very many devices on two `loa deliver`, and emergencies to 10,000 in the middle of
 * it. Prints one line of JSON per emergency and one for the information. Environment:
 * LOA_OVERTAKE_DEVICES, _LOCAL, _EMERGENCIES, _DELIVER. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/db_async.h"
#include "engine/outcome.h"
#include "tests/bench/lib/benchrig.h"

#define LIMIT_S 900

static const char *const channels[] = {"fcm", "apns"};

/* Waits until the simulators have seen so many requests. */
static void until_seq(struct rig *rig, int64_t seq)
{
    for (;;) {
        g_autoptr(json_t) stats = rig_sim(rig, "{\"cmd\":\"stats\"}");
        if (json_integer_value(json_object_get(stats, "seq")) >= seq)
            return;
        g_usleep(2000);
    }
}

static int64_t seq_at(struct rig *rig, int64_t us)
{
    g_autoptr(json_t) answer = rig_sim(rig, "{\"cmd\":\"seq_at\",\"us\":%" G_GINT64_FORMAT "}", us);

    return json_integer_value(json_object_get(answer, "seq"));
}

/* The first instant at which the sequence number was at least seq. */
static int64_t time_of(struct rig *rig, int64_t seq, int64_t from_us)
{
    int64_t low = from_us, high = g_get_real_time();

    while (high - low > 100) {
        int64_t middle = low + (high - low) / 2;
        if (seq_at(rig, middle) >= seq)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* ---- when a release becomes visible ---- */

/* A commit's own timestamp is taken before it is on the disk; others see it, and are notified,
 * after that. A thread with a connection of its own notes the instant. */
struct ear {
    pthread_t thread;
    char *conninfo;
    GMainContext *context;
    GMainLoop *loop;
    gint64 heard_us; /* atomic enough: one writer, read after the broadcast has ended */
};

static void on_notify(const char *channel, const char *payload, void *user)
{
    struct ear *ear = user;

    (void)channel;
    if (g_strcmp0(payload, "emergency") == 0)
        ear->heard_us = g_get_real_time();
}

static void *ear_main(void *user)
{
    struct ear *ear = user;
    struct db_async *db;

    g_main_context_push_thread_default(ear->context);
    db = db_async_new(ear->conninfo, 10, clock_system());
    db_async_listen(db, "loa_fanout", on_notify, ear);
    g_main_loop_run(ear->loop);
    db_async_free(db);
    g_main_context_pop_thread_default(ear->context);
    return NULL;
}

static void ear_open(struct ear *ear, struct rig *rig)
{
    ear->conninfo = g_strdup(testpg_cluster_conninfo(rig->cluster));
    ear->context = g_main_context_new();
    ear->loop = g_main_loop_new(ear->context, FALSE);
    assert_int_equal(pthread_create(&ear->thread, NULL, ear_main, ear), 0);
}

static void ear_close(struct ear *ear)
{
    g_main_loop_quit(ear->loop);
    pthread_join(ear->thread, NULL);
    g_main_loop_unref(ear->loop);
    g_main_context_unref(ear->context);
    g_free(ear->conninfo);
}

static void finished(struct rig *rig, int64_t id)
{
    g_autofree char *sql =
        g_strdup_printf("SELECT count(*) FROM broadcast WHERE id = %" G_GINT64_FORMAT
                        " AND finished_at IS NOT NULL",
                        id);

    rig_until(rig, sql, LIMIT_S, false);
}

static int64_t accepted(struct rig *rig, int64_t id)
{
    return rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED) +
           rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED);
}

static void one_emergency(struct rig *rig, const struct ear *ear, int n)
{
    int64_t id = bench_release(rig, true, "01273");
    int64_t commit_us = bench_commit_us(rig, id);
    g_autofree char *alert = bench_alert(rig, id);
    int64_t first = INT64_MAX, last = 0, between = 0;

    finished(rig, id);
    for (size_t i = 0; i < G_N_ELEMENTS(channels); i++) {
        int64_t here = bench_alert_number(rig, channels[i], alert, "first_seq");
        first = here > 0 ? MIN(first, here) : first;
        between += bench_alert_number(rig, channels[i], alert, "others_between");
        last = MAX(last, bench_alert_number(rig, channels[i], alert, "last_seq"));
    }
    printf("{\"emergency\":%d,\"before\":%" G_GINT64_FORMAT ",\"between\":%" G_GINT64_FORMAT
           ",\"first_ms\":%.2f,\"last_ms\":%.2f,\"accepted\":%" G_GINT64_FORMAT "}\n",
           n, first - 1 - seq_at(rig, ear->heard_us), between,
           (double)(time_of(rig, first, commit_us) - commit_us) / 1000.0,
           (double)(time_of(rig, last, commit_us) - commit_us) / 1000.0, accepted(rig, id));
    fflush(stdout);
}

int main(void)
{
    int64_t devices = bench_env("LOA_OVERTAKE_DEVICES", 1000000);
    int64_t local = bench_env("LOA_OVERTAKE_LOCAL", 10000);
    int emergencies = (int)bench_env("LOA_OVERTAKE_EMERGENCIES", 40);
    struct rig *rig =
        rig_new(&(struct rig_options){.deliver = (int)bench_env("LOA_OVERTAKE_DELIVER", 2),
                                      .extra_conf = "[fcm]\nquota_per_minute=1000000000\n"});
    struct ear ear = {0};
    int64_t info;

    ear_open(&ear, rig);
    bench_devices(rig, devices, local);
    info = bench_release(rig, false, NULL);
    /* Spread over the first nine tenths of the information. */
    for (int i = 0; i < emergencies; i++) {
        until_seq(rig, devices * 9 / 10 * (i + 1) / (emergencies + 1) + local * i);
        one_emergency(rig, &ear, i + 1);
    }
    rig_until(rig,
              "SELECT (count(*) = 0)::int FROM fanout_chunk WHERE state = 'open'"
              " AND (due_at <= now() OR lease_until IS NOT NULL)",
              LIMIT_S, false);
    int64_t held =
        rig_i64(rig, "SELECT count(*) FROM fanout_retry WHERE reason = 'emergency_live'");
    /* An hour later: what was held for iOS goes out. */
    rig_exec(rig, "UPDATE broadcast SET first_pass_at = now() - interval '61 min'"
                  " WHERE level = 'khan_cap'");
    rig_exec(rig, "UPDATE fanout_retry SET next_at = now()");
    rig_exec(rig, "UPDATE fanout_chunk SET due_at = now() WHERE state = 'open'");
    finished(rig, info);
    rig_assert_checks(rig);
    printf("{\"information\":%" G_GINT64_FORMAT ",\"accepted\":%" G_GINT64_FORMAT
           ",\"held_for_ios\":%" G_GINT64_FORMAT ",\"duplicates\":%" G_GINT64_FORMAT "}\n",
           devices, accepted(rig, info), held,
           rig_i64(rig, "SELECT count(*) FROM fanout_flight WHERE uncertain > 0"));
    ear_close(&ear);
    rig_free(rig);
    return 0;
}
