/* The shelf keeps verified broadcasts behind one mutex; loading, verifying and rendering happen
 * outside it, on references.
 * What does not verify is left out and logged once: deliver raises the alarm. */
#include "engine/broadcast_live.h"

#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "engine/broadcast_live_store.h"
#include "engine/broadcast_store.h"
#include "engine/public_json.h"

#define SHELF_MAX 256

/* A verified broadcast, or the knowledge that one does not verify (broadcast NULL). */
struct shelf_item {
    int64_t id;
    struct broadcast *broadcast;
    unsigned refs; /* the shelf's own and one per reader; under the shelf's lock */
};

struct broadcast_shelf {
    const struct release_keys *keys;
    pthread_mutex_t lock;
    GHashTable *by_id; /* &item->id → item */
    GQueue *order;     /* the same items, oldest first */
};

struct broadcast_shelf *broadcast_shelf_new(const struct release_keys *keys)
{
    struct broadcast_shelf *shelf = g_new0(struct broadcast_shelf, 1);

    shelf->keys = keys;
    pthread_mutex_init(&shelf->lock, NULL);
    shelf->by_id = g_hash_table_new(g_int64_hash, g_int64_equal);
    shelf->order = g_queue_new();
    return shelf;
}

/* Under the lock. */
static void item_unref(struct shelf_item *item)
{
    if (--item->refs > 0)
        return;
    if (item->broadcast != NULL)
        broadcast_free(item->broadcast);
    g_free(item);
}

static void item_drop(struct broadcast_shelf *shelf, struct shelf_item *item)
{
    pthread_mutex_lock(&shelf->lock);
    item_unref(item);
    pthread_mutex_unlock(&shelf->lock);
}

void broadcast_shelf_free(struct broadcast_shelf *shelf)
{
    if (shelf == NULL)
        return;
    for (GList *link = shelf->order->head; link != NULL; link = link->next)
        item_unref(link->data);
    g_queue_free(shelf->order);
    g_hash_table_unref(shelf->by_id);
    pthread_mutex_destroy(&shelf->lock);
    g_free(shelf);
}

/* A reference for the caller, or NULL: not on the shelf. */
static struct shelf_item *shelf_find(struct broadcast_shelf *shelf, int64_t id)
{
    struct shelf_item *item;

    pthread_mutex_lock(&shelf->lock);
    item = g_hash_table_lookup(shelf->by_id, &id);
    if (item != NULL)
        item->refs++;
    pthread_mutex_unlock(&shelf->lock);
    return item;
}

/* Puts a broadcast (taken) on the shelf; the oldest makes room. A reference for the caller. */
static struct shelf_item *shelf_put(struct broadcast_shelf *shelf, int64_t id,
                                    struct broadcast *broadcast)
{
    struct shelf_item *item = g_new0(struct shelf_item, 1);

    item->id = id;
    item->broadcast = broadcast;
    item->refs = 1;
    pthread_mutex_lock(&shelf->lock);
    if (!g_hash_table_contains(shelf->by_id, &id)) { /* else another thread was faster */
        if (g_queue_get_length(shelf->order) >= SHELF_MAX) {
            struct shelf_item *oldest = g_queue_pop_head(shelf->order);
            g_hash_table_remove(shelf->by_id, &oldest->id);
            item_unref(oldest);
        }
        item->refs++;
        g_hash_table_insert(shelf->by_id, &item->id, item);
        g_queue_push_tail(shelf->order, item);
    }
    pthread_mutex_unlock(&shelf->lock);
    return item;
}

/* Loads and verifies one; *out is NULL when it does not verify. false: the database failed. */
static bool load_verified(struct broadcast_shelf *shelf, struct db *db, int64_t id,
                          struct broadcast **out, GError **error)
{
    g_autoptr(GError) failure = NULL;
    loa_auto(broadcast) broadcast = broadcast_load(db, id, &failure);

    if (broadcast != NULL && release_verify(broadcast, shelf->keys, &failure)) {
        *out = g_steal_pointer(&broadcast);
        return true;
    }
    /* INTERNAL: not a row that Loa can have written, the same as a wrong signature. */
    if (broadcast == NULL && !g_error_matches(failure, LOA_ERROR, LOA_ERROR_INTERNAL)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    log_event(LOG_LEVEL_ERROR, "broadcast_hidden", LOG_INT("broadcast", id),
              LOG_STR("error", failure->message));
    *out = NULL;
    return true;
}

/* A reference to the item of this id, loaded when needed. NULL: the database failed. */
static struct shelf_item *shelf_get(struct broadcast_shelf *shelf, struct db *db, int64_t id,
                                    GError **error)
{
    struct shelf_item *item = shelf_find(shelf, id);
    struct broadcast *broadcast = NULL;

    if (item != NULL)
        return item;
    if (!load_verified(shelf, db, id, &broadcast, error))
        return NULL;
    return shelf_put(shelf, id, broadcast);
}

static json_t *payload_json(const struct broadcast *broadcast, const char *language, bool expired)
{
    struct message message;

    (void)expired;
    broadcast_message(broadcast, language, &message);
    return message_to_json(&message, NULL);
}

static json_t *public_json(const struct broadcast *broadcast, const char *language, bool expired)
{
    (void)language; /* all of them */
    return public_alert_json(broadcast, expired);
}

/* Row i of ids, when it verifies and no genuine correction hides it; else *out is NULL. false: the
 * database failed. */
static bool get_shown(struct broadcast_shelf *shelf, struct db *db, const PGresult *ids, int i,
                      struct shelf_item **out, GError **error)
{
    struct shelf_item *item, *correction;
    bool hidden = false;

    *out = NULL;
    if (!db_is_null(ids, i, 2)) {
        correction = shelf_get(shelf, db, db_get_i64(ids, i, 2), error);
        if (correction == NULL)
            return false;
        hidden = correction->broadcast != NULL;
        item_drop(shelf, correction);
    }
    if (hidden)
        return true;
    item = shelf_get(shelf, db, db_get_i64(ids, i, 0), error);
    if (item == NULL)
        return false;
    if (item->broadcast != NULL)
        *out = item;
    else
        item_drop(shelf, item);
    return true;
}

/* Appends the listed broadcasts to array, without those that are not shown. */
static bool render(struct broadcast_shelf *shelf, struct db *db, const PGresult *ids,
                   const char *language,
                   json_t *(*to_json)(const struct broadcast *, const char *, bool), json_t *array,
                   GError **error)
{
    for (int i = 0; i < PQntuples(ids); i++) {
        struct shelf_item *item;
        if (!get_shown(shelf, db, ids, i, &item, error))
            return false;
        if (item == NULL)
            continue;
        json_array_append_new(array, to_json(item->broadcast, language, db_get_bool(ids, i, 1)));
        item_drop(shelf, item);
    }
    return true;
}

json_t *broadcast_live(struct broadcast_shelf *shelf, struct db *db, const char *realm,
                       const char *commune, const char *language, GError **error)
{
    g_autoptr(PGresult) ids = broadcast_live_ids(db, realm, commune, BROADCAST_LIVE_MAX, error);
    g_autoptr(json_t) list = json_array();

    if (ids == NULL || !render(shelf, db, ids, language, payload_json, list, error))
        return NULL;
    return g_steal_pointer(&list);
}

json_t *broadcast_public_list(struct broadcast_shelf *shelf, struct db *db, bool active_only,
                              int64_t before_id, int limit, int64_t *out_next, GError **error)
{
    g_autoptr(json_t) list = json_array();

    *out_next = before_id > 0 ? before_id : INT64_MAX;
    for (int try = 0; try < BROADCAST_PAGE_TRIES && (int)json_array_size(list) < limit; try++) {
        int wanted = limit - (int)json_array_size(list);
        g_autoptr(PGresult) ids = broadcast_public_ids(db, active_only, *out_next, wanted, error);
        if (ids == NULL || !render(shelf, db, ids, "vi", public_json, list, error))
            return NULL;
        if (PQntuples(ids) < wanted) {
            *out_next = 0;
            break;
        }
        *out_next = db_get_i64(ids, wanted - 1, 0);
    }
    return g_steal_pointer(&list);
}

/* What an alert id may look like; anything else (also bytes that are not UTF-8) names no alert. */
static bool alert_id_valid(const char *id)
{
    size_t len = strlen(id);

    return len >= 1 && len <= 32 && strspn(id, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-") == len;
}

json_t *broadcast_public_get(struct broadcast_shelf *shelf, struct db *db, const char *alert_id,
                             GError **error)
{
    g_autoptr(PGresult) ids = NULL;
    g_autoptr(json_t) list = json_array();

    if (alert_id_valid(alert_id)) {
        ids = broadcast_public_id(db, alert_id, BROADCAST_VERSIONS_MAX, error);
        if (ids == NULL || !render(shelf, db, ids, "vi", public_json, list, error))
            return NULL;
    }
    if (json_array_size(list) > 0)
        return json_incref(json_array_get(list, 0));
    g_set_error(error, LOA_ERROR, LOA_ERROR_NOT_FOUND, "there is no such alert");
    return NULL;
}
