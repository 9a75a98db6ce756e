/* Released broadcasts as outsiders read them over HTTP: the live alerts of a phone that registers,
 * and the public list. Only a broadcast whose release signature verifies is shown: a row written by
 * hand warns nobody. */
#ifndef LOA_ENGINE_BROADCAST_LIVE_H
#define LOA_ENGINE_BROADCAST_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/db.h"
#include "base/json.h"
#include "engine/release.h"

#define BROADCAST_LIVE_MAX     50  /* alerts in one answer to a device */
#define BROADCAST_PAGE_MAX     100 /* alerts of one page of the public list */
#define BROADCAST_PAGE_DEFAULT 20  /* alerts of a page when nobody says how many */
#define BROADCAST_PAGE_TRIES   8   /* queries for one page: hidden rows leave gaps */
#define BROADCAST_VERSIONS_MAX 16  /* of one alert: Loa writes two, others are forged */

/* Verified broadcasts by id, at most 256 kept: a released text never changes, so it is decoded and
 * verified once. Which ones are live is asked of the database every time: an alert released in the
 * same instant as a registration must not be missed. Thread safe; the db is the caller's own. */
struct broadcast_shelf;
/* keys are borrowed and must outlive it. Owned. */
struct broadcast_shelf *broadcast_shelf_new(const struct release_keys *keys);
void broadcast_shelf_free(struct broadcast_shelf *shelf);
LOA_AUTO_DEFINE(broadcast_shelf, broadcast_shelf_free)

/* JSON array of the payloads (the fields of a push, in this language, else Vietnamese; signature
 * included) of every alert and correction of the realm that is released, not expired, not taken
 * back, and for the whole province or this commune (NULL: none). Newest first. Owned. */
json_t *broadcast_live(struct broadcast_shelf *shelf, struct db *db, const char *realm,
                       const char *commune, const char *language,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One page of the public list, newest first: the newest version of every alert of realm live, with
 * all languages and "state": "active", "cancelled" or "expired". before_id: cursor, 0 = from the
 * newest. active_only: neither expired nor taken back. *out_next: next cursor, 0 = the end. Owned.
 */
json_t *broadcast_public_list(struct broadcast_shelf *shelf, struct db *db, bool active_only,
                              int64_t before_id, int limit, int64_t *out_next,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The newest version of one alert of realm live; NOT_FOUND. Owned. */
json_t *broadcast_public_get(struct broadcast_shelf *shelf, struct db *db, const char *alert_id,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
