/* Rows are a few dozen bytes each and kept for ever; texts only while they are needed. */
#include "engine/public_set.h"

#include <string.h>

#include "engine/broadcast_live.h"

struct public_set {
    GHashTable *rows;   /* &row->id → row, owned */
    GHashTable *alerts; /* alert->id → alert, owned */
    GPtrArray *order;   /* rows that have an alert, by id, newest first after sorting */
    bool sorted;
    GQueue *queue; /* dirty alerts */
};

static void row_free(void *data)
{
    struct public_row *row = data;

    broadcast_free(row->broadcast);
    g_free(row);
}

static void alert_free(void *data)
{
    struct public_alert *alert = data;

    g_free(alert->id);
    g_ptr_array_unref(alert->rows);
    g_free(alert);
}

struct public_set *public_set_new(void)
{
    struct public_set *set = g_new0(struct public_set, 1);

    set->rows = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, row_free);
    set->alerts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, alert_free);
    set->order = g_ptr_array_new();
    set->queue = g_queue_new();
    return set;
}

void public_set_free(struct public_set *set)
{
    if (set == NULL)
        return;
    g_queue_free(set->queue);
    g_ptr_array_unref(set->order);
    g_hash_table_unref(set->alerts);
    g_hash_table_unref(set->rows);
    g_free(set);
}

struct public_row *public_set_row(struct public_set *set, int64_t id)
{
    struct public_row *row = g_hash_table_lookup(set->rows, &id);

    if (row == NULL) {
        row = g_new0(struct public_row, 1);
        row->id = id;
        g_hash_table_insert(set->rows, &row->id, row);
    }
    return row;
}

const struct public_alert *public_set_alert(const struct public_set *set, const char *alert_id)
{
    return g_hash_table_lookup(set->alerts, alert_id);
}

static struct public_alert *alert_of(struct public_set *set, const char *alert_id)
{
    struct public_alert *alert = g_hash_table_lookup(set->alerts, alert_id);

    if (alert == NULL) {
        alert = g_new0(struct public_alert, 1);
        alert->id = g_strdup(alert_id);
        alert->rows = g_ptr_array_new();
        g_hash_table_insert(set->alerts, alert->id, alert);
    }
    return alert;
}

static void make_dirty(struct public_set *set, struct public_alert *alert)
{
    if (alert->dirty)
        g_queue_remove(set->queue, alert);
    alert->dirty = true;
    g_queue_push_head(set->queue, alert);
}

bool public_set_note(struct public_set *set, const struct public_note *note)
{
    struct public_row *row = public_set_row(set, note->id);

    row->seen = true;
    if (row->alert == NULL) { /* an id keeps its alert, version and type for ever */
        row->alert = alert_of(set, note->alert_id);
        row->version = note->version;
        row->cancel = note->cancel;
        g_ptr_array_add(row->alert->rows, row);
        g_ptr_array_add(set->order, row);
        set->sorted = false;
    } else if (row->listed && row->refused == note->refused && row->expired == note->expired &&
               row->correction == note->correction) {
        return false;
    }
    row->listed = true;
    row->refused = note->refused;
    row->expired = note->expired;
    row->correction = note->correction;
    row->released_s = note->released_s;
    row->expires_s = note->expires_s;
    make_dirty(set, row->alert);
    return true;
}

void public_set_begin_full(struct public_set *set)
{
    for (guint i = 0; i < set->order->len; i++)
        ((struct public_row *)set->order->pdata[i])->seen = false;
}

bool public_set_end_full(struct public_set *set)
{
    for (guint i = 0; i < set->order->len; i++) {
        struct public_row *row = set->order->pdata[i];
        bool gone = row->listed && !row->seen;
        row->listed = row->seen;
        if ((gone || (row->listed && !row->expired)) && !row->alert->dirty)
            make_dirty(set, row->alert);
    }
    return !g_queue_is_empty(set->queue);
}

struct public_alert *public_set_dirty(const struct public_set *set)
{
    return g_queue_peek_head(set->queue);
}

void public_set_done(struct public_set *set, struct public_alert *alert)
{
    if (alert->dirty)
        g_queue_remove(set->queue, alert);
    alert->dirty = false;
}

void public_set_read(struct public_row *row, struct broadcast *broadcast)
{
    broadcast_free(row->broadcast);
    row->broadcast = broadcast;
    row->verdict = broadcast != NULL ? PUBLIC_GENUINE : PUBLIC_FORGED;
}

/* Not taken back by a genuine correction, genuine, and its text at hand. */
static bool is_shown(struct public_set *set, struct public_row *row, struct public_row **out_unread)
{
    if (row->correction != 0) {
        struct public_row *correction = public_set_row(set, row->correction);
        if (correction->verdict == PUBLIC_UNREAD)
            *out_unread = correction;
        if (correction->verdict != PUBLIC_FORGED)
            return false;
    }
    if (row->verdict == PUBLIC_UNREAD || (row->verdict == PUBLIC_GENUINE && row->broadcast == NULL))
        *out_unread = row;
    return row->verdict == PUBLIC_GENUINE;
}

/* What nobody refused first, then the newest version. */
static int compare_versions(const void *a, const void *b)
{
    const struct public_row *const *x = a, *const *y = b;

    if ((*x)->refused != (*y)->refused)
        return (*x)->refused ? 1 : -1;
    return (*x)->version > (*y)->version ? -1 : (*x)->version < (*y)->version;
}

struct public_row *public_set_pick(struct public_set *set, const struct public_alert *alert,
                                   struct public_row **out_unread)
{
    unsigned looked_at = 0;

    *out_unread = NULL;
    g_ptr_array_sort(alert->rows, compare_versions);
    for (guint i = 0; i < alert->rows->len && looked_at < BROADCAST_VERSIONS_MAX; i++) {
        struct public_row *row = alert->rows->pdata[i];
        bool shown;
        if (!row->listed)
            continue;
        looked_at++;
        shown = is_shown(set, row, out_unread);
        if (*out_unread != NULL)
            return NULL;
        if (shown)
            return row;
    }
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    const struct public_row *const *x = a, *const *y = b;

    return (*x)->id > (*y)->id ? -1 : (*x)->id < (*y)->id;
}

/* The next listed row from *at on, NULL at the end. */
static struct public_row *next_row(const struct public_set *set, guint *at, bool active_only)
{
    while (*at < set->order->len) {
        struct public_row *row = set->order->pdata[(*at)++];
        if (row->listed && !(active_only && (row->expired || row->cancel)))
            return row;
    }
    return NULL;
}

int64_t public_set_page(struct public_set *set, bool active_only, int limit, GPtrArray *page,
                        struct public_row **out_unread)
{
    guint at = 0;
    int64_t last = 0;

    *out_unread = NULL;
    if (!set->sorted)
        g_ptr_array_sort(set->order, compare_ids);
    set->sorted = true;
    for (int try = 0; try < BROADCAST_PAGE_TRIES && (int)page->len < limit; try++) {
        for (int wanted = limit - (int)page->len; wanted > 0; wanted--) {
            struct public_row *row = next_row(set, &at, active_only);
            if (row == NULL)
                return 0;
            last = row->id;
            if (is_shown(set, row, out_unread))
                g_ptr_array_add(page, row);
            if (*out_unread != NULL)
                return 0;
        }
    }
    return last;
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

int64_t public_set_changed_s(const struct public_set *set)
{
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(int64_t));
    int64_t changed_s = 0;

    for (guint i = 0; i < set->order->len; i++) {
        const struct public_row *row = set->order->pdata[i];
        if (row->listed)
            g_array_append_val(times, row->released_s);
        if (row->listed && row->expired)
            g_array_append_val(times, row->expires_s);
    }
    g_array_sort(times, compare_times);
    for (guint i = 0; i < times->len; i++)
        changed_s = MAX(changed_s + 1, g_array_index(times, int64_t, i));
    return changed_s;
}

void public_set_forget(struct public_set *set, const GPtrArray *page, const GPtrArray *other)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, set->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct public_row *row = value;
        if (row->broadcast != NULL && !g_ptr_array_find((GPtrArray *)page, row, NULL) &&
            !g_ptr_array_find((GPtrArray *)other, row, NULL))
            g_clear_pointer(&row->broadcast, broadcast_free);
    }
}
