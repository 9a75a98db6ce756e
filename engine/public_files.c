/* A loop of three steps: list what the database has (NOTIFY and a poll), read and verify what is
 * new, write one file at a time from an idle source, so that the process's other work gets its
 * turn. The alert comes before the lists: a push opens the alert. A failure leaves the alert dirty;
 * the next poll tries again. */
#include "engine/public_files.h"

#include "base/db_async.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "engine/broadcast_live.h"
#include "engine/broadcast_store.h"
#include "engine/public_feed.h"
#include "engine/public_json.h"
#include "engine/public_set.h"
#include "engine/public_store.h"
#include "engine/public_tree.h"

#define QUEUE_MAX       16                   /* statements: a listing and one text */
#define FULL_EVERY_US   (600 * USEC_PER_SEC) /* everything is listed, not only what is recent */
#define LISTS_AT_LATEST 20                   /* alerts written before the lists get their turn */

struct public_files {
    struct public_files_options options;
    struct db_async *db;
    struct public_tree *tree;
    struct public_set *set;
    guint poll, idle;
    bool listing, list_again; /* a listing is out; another one is wanted */
    bool listed_once, full;   /* the one that is out is complete */
    int64_t full_mono_us;     /* when the last complete one was asked for */
    struct public_row *reading;
    bool lists_due, sweep_due;
    unsigned since_lists;   /* alerts written */
    bool failing, unlisted; /* said once */
    bool blocked;           /* the disk refused: until the next poll */
    bool closed;
};

static void schedule(struct public_files *files);

/* The gauge, and the end of a failure. */
static void tell(struct public_files *files)
{
    bool ok = !files->unlisted && public_files_settled(files);

    metric_set(METRIC_PUBLIC_FILES_OK, NULL, ok ? 1 : 0);
    if (ok)
        files->failing = false;
}

/* ---- the disk ---- */

static void failed(struct public_files *files, const GError *error)
{
    if (!files->failing)
        log_event(LOG_LEVEL_ALERT, "public_files_failed", LOG_STR("error", error->message));
    files->failing = files->blocked = true;
    tell(files);
}

/* Takes the text. What cannot be replaced is removed: nginx then asks loa api, and shows no alert
 * that was taken back. */
static bool put(struct public_files *files, const char *name, char *text, int64_t mtime_s)
{
    g_autofree char *owned = text;
    g_autoptr(GError) error = NULL;
    bool written;

    if (!public_tree_put(files->tree, name, owned, mtime_s, &written, &error)) {
        (void)!public_tree_drop(files->tree, name, NULL);
        failed(files, error);
        return false;
    }
    if (written) {
        metric_add(METRIC_PUBLIC_FILES_WRITTEN, NULL, 1);
        log_event(LOG_LEVEL_INFO, "public_file_written", LOG_STR("file", name));
    }
    return true;
}

static bool drop(struct public_files *files, const char *name)
{
    g_autoptr(GError) error = NULL;

    if (public_tree_drop(files->tree, name, &error))
        return true;
    failed(files, error);
    return false;
}

static bool is_known(const char *alert_id, void *user)
{
    const struct public_files *files = user;

    return public_set_alert(files->set, alert_id) != NULL;
}

/* What no alert of ours is was written by somebody else, or is left from another database. */
static void sweep(struct public_files *files)
{
    g_autoptr(GError) error = NULL;
    unsigned removed;

    if (!public_tree_sweep(files->tree, is_known, files, &removed, &error)) {
        failed(files, error);
        return;
    }
    files->sweep_due = false;
    if (removed > 0)
        log_event(LOG_LEVEL_WARN, "public_files_swept", LOG_INT("removed", removed));
}

/* ---- reading ---- */

static void loaded(PGresult *res, const GError *error, void *user)
{
    struct public_files *files = user;
    struct public_row *row = files->reading;
    g_autoptr(GError) why = NULL;
    loa_auto(broadcast) broadcast = NULL;

    files->reading = NULL;
    if (files->closed || error != NULL)
        return; /* the next poll reads it */
    if (PQntuples(res) == 1)
        broadcast = broadcast_decode(res, 0, &why);
    if (broadcast != NULL && !release_verify(broadcast, files->options.keys, &why))
        g_clear_pointer(&broadcast, broadcast_free);
    if (broadcast == NULL)
        log_event(LOG_LEVEL_ERROR, "broadcast_hidden", LOG_INT("broadcast", row->id),
                  LOG_STR("error", why != NULL ? why->message : "the row is gone"));
    public_set_read(row, g_steal_pointer(&broadcast));
    schedule(files);
}

/* Work goes on when the row has come. */
static void read_row(struct public_files *files, struct public_row *row)
{
    struct db_params *params = db_params_new();

    files->reading = row;
    db_param_i64(params, row->id);
    db_async_query(files->db, broadcast_load_sql, params, loaded, files);
}

/* ---- writing ---- */

static void write_alert(struct public_files *files, struct public_alert *alert)
{
    g_autofree char *name = g_strdup_printf("alerts/%s.json", alert->id);
    struct public_row *unread, *row = public_set_pick(files->set, alert, &unread);

    if (unread != NULL) {
        read_row(files, unread);
        return;
    }
    if (row != NULL
            ? put(files, name, public_json_text(public_alert_json(row->broadcast, row->expired)),
                  public_changed_s(row->broadcast, row->expired))
            : drop(files, name)) {
        public_set_done(files->set, alert);
        files->since_lists++;
    }
}

static json_t *alerts_json(const GPtrArray *page)
{
    json_t *alerts = json_array();

    for (guint i = 0; i < page->len; i++) {
        const struct public_row *row = page->pdata[i];
        json_array_append_new(alerts, public_alert_json(row->broadcast, row->expired));
    }
    return alerts;
}

static bool put_list(struct public_files *files, const char *name, const GPtrArray *page,
                     int64_t next, int64_t changed_s)
{
    return put(files, name, public_json_text(public_list_json(alerts_json(page), next)), changed_s);
}

static bool put_feed(struct public_files *files, const GPtrArray *page, int64_t changed_s)
{
    g_autoptr(json_t) alerts = alerts_json(page);

    return put(files, "alerts.atom",
               public_feed_text(alerts, files->options.public_url, files->options.author),
               changed_s);
}

static void write_lists(struct public_files *files)
{
    g_autoptr(GPtrArray) page = g_ptr_array_new(), active = g_ptr_array_new();
    struct public_row *unread = NULL;
    int64_t next, next_active = 0, changed_s;

    next = public_set_page(files->set, false, BROADCAST_PAGE_DEFAULT, page, &unread);
    if (unread == NULL)
        next_active = public_set_page(files->set, true, BROADCAST_PAGE_DEFAULT, active, &unread);
    if (unread != NULL) {
        read_row(files, unread);
        return;
    }
    changed_s = public_set_changed_s(files->set);
    if (put_list(files, "alerts.json", page, next, changed_s) &&
        put_list(files, "alerts-active.json", active, next_active, changed_s) &&
        put_feed(files, page, changed_s)) {
        files->lists_due = false;
        files->since_lists = 0;
        public_set_forget(files->set, page, active);
    }
}

/* One unit of work. */
static gboolean on_idle(void *user)
{
    struct public_files *files = user;
    struct public_alert *alert = public_set_dirty(files->set);

    if (alert != NULL && !(files->lists_due && files->since_lists >= LISTS_AT_LATEST))
        write_alert(files, alert);
    else if (files->lists_due)
        write_lists(files);
    else if (files->sweep_due)
        sweep(files);
    if (files->reading == NULL && !files->blocked && !public_files_settled(files))
        return G_SOURCE_CONTINUE;
    files->idle = 0;
    tell(files);
    return G_SOURCE_REMOVE;
}

static void schedule(struct public_files *files)
{
    if (files->idle == 0 && files->reading == NULL && files->listed_once && !files->blocked)
        files->idle = g_idle_add(on_idle, files);
}

/* ---- listing ---- */

static void list_now(struct public_files *files);

static bool take_over(struct public_files *files, const PGresult *res)
{
    bool news = false;

    if (files->full)
        public_set_begin_full(files->set);
    for (int row = 0; row < PQntuples(res); row++) {
        const struct public_note note = {.id = db_get_i64(res, row, 0),
                                         .alert_id = db_get_text(res, row, 1),
                                         .version = (int)db_get_i64(res, row, 2),
                                         .cancel = db_get_bool(res, row, 3),
                                         .refused = db_get_bool(res, row, 4),
                                         .expired = db_get_bool(res, row, 5),
                                         .correction = db_get_i64(res, row, 6),
                                         .released_s = db_get_utc_us(res, row, 7) / USEC_PER_SEC,
                                         .expires_s = db_get_utc_us(res, row, 8) / USEC_PER_SEC};
        news = public_set_note(files->set, &note) || news;
    }
    if (files->full)
        news = public_set_end_full(files->set) || !files->listed_once || news;
    return news;
}

static void listed(PGresult *res, const GError *error, void *user)
{
    struct public_files *files = user;

    files->listing = false;
    if (files->closed)
        return;
    if (error != NULL) {
        if (!files->unlisted)
            log_event(LOG_LEVEL_ERROR, "public_files_unlisted", LOG_STR("error", error->message));
        files->unlisted = true;
        files->full_mono_us = 0; /* who knows how long it is away */
        tell(files);
        return;
    }
    files->unlisted = false;
    if (take_over(files, res))
        files->lists_due = true;
    files->sweep_due = files->sweep_due || files->full;
    files->listed_once = true;
    schedule(files);
    tell(files);
    if (files->list_again)
        list_now(files);
}

static void list_now(struct public_files *files)
{
    int64_t now_us = files->options.clock->mono_us(files->options.clock);

    files->list_again = files->listing;
    if (files->listing)
        return;
    files->listing = true;
    files->full = files->full_mono_us == 0 || now_us - files->full_mono_us >= FULL_EVERY_US;
    if (files->full)
        files->full_mono_us = now_us;
    public_store_list(files->db, files->full, listed, files);
}

static gboolean on_poll(void *user)
{
    struct public_files *files = user;

    files->blocked = false;
    list_now(files);
    schedule(files);
    return G_SOURCE_CONTINUE;
}

static void on_notify(const char *channel, const char *payload, void *user)
{
    (void)channel, (void)payload;
    list_now(user);
}

struct public_files *public_files_new(const struct public_files_options *options, GError **error)
{
    struct public_tree *tree = public_tree_new(options->folder, error);
    struct public_files *files;

    if (tree == NULL)
        return NULL;
    files = g_new0(struct public_files, 1);
    files->options = *options;
    files->tree = tree;
    files->set = public_set_new();
    files->db = db_async_new(options->conninfo, QUEUE_MAX, options->clock);
    files->poll = g_timeout_add((guint)options->poll_ms, on_poll, files);
    tell(files);
    db_async_listen(files->db, "loa_fanout", on_notify, files);
    list_now(files);
    return files;
}

void public_files_free(struct public_files *files)
{
    if (files == NULL)
        return;
    files->closed = true;
    g_clear_handle_id(&files->poll, g_source_remove);
    g_clear_handle_id(&files->idle, g_source_remove);
    db_async_free(files->db); /* calls back what is out */
    public_set_free(files->set);
    public_tree_free(files->tree);
    g_free(files);
}

bool public_files_settled(const struct public_files *files)
{
    return files->listed_once && public_set_dirty(files->set) == NULL && !files->lists_due &&
           !files->sweep_due;
}
