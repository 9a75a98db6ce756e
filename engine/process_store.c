/* The table of living processes. */
#include "engine/process_store.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"

static const char beat_sql[] =
    "WITH swept AS (DELETE FROM process WHERE seen_at < now() - interval '1 hour' AND id <> $1) "
    "INSERT INTO process (id, role, host, pid, channels) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (id) DO UPDATE SET seen_at = now(), channels = excluded.channels";
static const char leave_sql[] = "DELETE FROM process WHERE id = $1";

void process_self_init(struct process_self *self, const char *role, const char *const *channels)
{
    uint8_t random[PROCESS_ID_LEN / 2];

    memset(self, 0, sizeof(*self));
    crypto_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        g_snprintf(self->id + 2 * i, 3, "%02x", random[i]);
    self->role = role;
    if (gethostname(self->host, sizeof(self->host) - 1) != 0)
        g_strlcpy(self->host, "unknown", sizeof(self->host));
    self->pid = (int)getpid();
    for (; channels != NULL && channels[self->n_channels] != NULL; self->n_channels++) {
        assert(self->n_channels < PROCESS_CHANNEL_MAX);
        self->channels[self->n_channels] = channels[self->n_channels];
    }
}

static struct db_params *beat_params(const struct process_self *self)
{
    struct db_params *params = db_params_new();

    db_param_text(params, self->id);
    db_param_text(params, self->role);
    db_param_text(params, self->host);
    db_param_i32(params, self->pid);
    db_param_text_array(params, self->channels, self->n_channels);
    return params;
}

static struct db_params *leave_params(const struct process_self *self)
{
    struct db_params *params = db_params_new();

    db_param_text(params, self->id);
    return params;
}

bool process_beat(struct db *db, const struct process_self *self, GError **error)
{
    return db_exec(db, beat_sql, beat_params(self), error);
}

bool process_leave(struct db *db, const struct process_self *self, GError **error)
{
    return db_exec(db, leave_sql, leave_params(self), error);
}

static void log_failure(PGresult *res, const GError *error, void *user)
{
    (void)res;
    (void)user;
    if (error != NULL)
        log_event(LOG_LEVEL_WARN, "process_beat_failed", LOG_STR("error", error->message));
}

void process_beat_async(struct db_async *db, const struct process_self *self, db_async_cb cb,
                        void *user)
{
    db_async_query(db, beat_sql, beat_params(self), cb != NULL ? cb : log_failure, user);
}

void process_leave_async(struct db_async *db, const struct process_self *self, db_async_cb cb,
                         void *user)
{
    db_async_query(db, leave_sql, leave_params(self), cb != NULL ? cb : log_failure, user);
}
