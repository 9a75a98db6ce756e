/* One turn per channel: take it in the database, dry run, write what came of it. */
#include "engine/canary.h"

#include "base/log.h"
#include "base/metrics.h"
#include "engine/canary_store.h"

#define RUN_LIMIT_MS 30000 /* a dry run that has not answered by then has failed */

struct turn {
    struct canary *canary;
    struct channel *channel;
    bool running;
    guint limit;
};

struct canary {
    struct db_async *db;
    int64_t interval_s;
    guint timer;
    size_t n_turns;
    struct turn *turns;
};

static void written(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)user;
    if (error != NULL)
        log_event(LOG_LEVEL_ERROR, "canary_unwritten", LOG_STR("error", error->message));
}

static void finish(struct turn *turn, bool ok, const char *detail, int64_t duration_us)
{
    const char *channel = turn->channel->name;

    g_clear_handle_id(&turn->limit, g_source_remove);
    turn->running = false;
    metric_set(METRIC_CANARY_OK, channel, ok ? 1 : 0);
    log_event(ok ? LOG_LEVEL_INFO : LOG_LEVEL_ALERT, ok ? "canary_passed" : "canary_failed",
              LOG_STR("channel", channel), LOG_STR("detail", detail),
              LOG_INT("duration_ms", duration_us / USEC_PER_MSEC));
    canary_write(turn->canary->db, channel, ok, detail, duration_us / USEC_PER_MSEC, written, NULL);
}

static void answered(bool ok, const char *detail, int64_t duration_us, void *user)
{
    struct turn *turn = user;

    if (turn->running) /* else it came after the limit */
        finish(turn, ok, detail, duration_us);
}

static gboolean limit_passed(gpointer data)
{
    struct turn *turn = data;

    turn->limit = 0;
    finish(turn, false, "no answer within the limit", RUN_LIMIT_MS * USEC_PER_MSEC);
    return G_SOURCE_REMOVE;
}

static void taken(PGresult *res, const GError *error, void *user)
{
    struct turn *turn = user;

    if (error != NULL || PQntuples(res) == 0 || turn->running)
        return; /* another process has this turn, or the database is away: the next tick tries */
    turn->running = true;
    turn->limit = g_timeout_add(RUN_LIMIT_MS, limit_passed, turn);
    turn->channel->ops->dry_run(turn->channel, answered, turn);
}

static gboolean tick(gpointer data)
{
    struct canary *canary = data;

    for (size_t i = 0; i < canary->n_turns; i++)
        if (!canary->turns[i].running)
            canary_take_turn(canary->db, canary->turns[i].channel->name, canary->interval_s, taken,
                             &canary->turns[i]);
    return G_SOURCE_CONTINUE;
}

static void on_room(void *engine_data, struct channel *channel)
{
    (void)engine_data;
    (void)channel;
}

static void on_config_error(void *engine_data, struct channel *channel, const char *reason)
{
    struct turn *turn = engine_data;

    (void)channel;
    if (turn->running)
        finish(turn, false, reason, 0);
}

struct canary *canary_new(struct db_async *db, struct channel *const *channels, size_t n_channels,
                          int64_t interval_s)
{
    struct canary *canary = g_new0(struct canary, 1);

    canary->db = db;
    canary->interval_s = interval_s;
    canary->n_turns = n_channels;
    canary->turns = g_new0(struct turn, n_channels);
    for (size_t i = 0; i < n_channels; i++) {
        struct turn *turn = &canary->turns[i];
        turn->canary = canary;
        turn->channel = channels[i];
        channels[i]->engine_data = turn;
        channels[i]->on_room = on_room;
        channels[i]->on_config_error = on_config_error;
        channels[i]->ops->start(channels[i]);
    }
    /* Asks ten times per interval whose turn it is, so that a dead process's turn is not missed. */
    canary->timer = g_timeout_add((guint)(interval_s * 100), tick, canary);
    tick(canary);
    return canary;
}

void canary_free(struct canary *canary)
{
    g_source_remove(canary->timer);
    for (size_t i = 0; i < canary->n_turns; i++)
        g_clear_handle_id(&canary->turns[i].limit, g_source_remove);
    g_free(canary->turns);
    g_free(canary);
}
