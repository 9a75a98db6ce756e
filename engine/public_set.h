/* Which released broadcasts are public and which of them stand in the list: the rules of
 * engine/broadcast_live.h over rows kept in memory, for engine/public_files.c. Pure: no database,
 * no disk. A row counts only when its text was read and its signature verified; until then the
 * caller is told which row to read. */
#ifndef LOA_ENGINE_PUBLIC_SET_H
#define LOA_ENGINE_PUBLIC_SET_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "engine/broadcast.h"

enum public_verdict {
    PUBLIC_UNREAD,  /* next: genuine, forged */
    PUBLIC_GENUINE, /* final: a released text never changes */
    PUBLIC_FORGED,  /* final: shown to nobody and hides nothing */
};

/* All versions of one alert. */
struct public_alert {
    char *id;
    GPtrArray *rows; /* struct public_row, of the set */
    bool dirty;      /* waits in the set's queue */
};

/* One broadcast; owned by the set. */
struct public_row {
    int64_t id;
    struct public_alert *alert; /* NULL: only known as a correction */
    int version;
    bool cancel;  /* takes another one back: never an active alert */
    bool listed;  /* released in realm live */
    bool seen;    /* since public_set_begin_full */
    bool refused; /* by some process: comes after its other versions */
    bool expired;
    int64_t correction;            /* id of the released row that takes it back; 0 none */
    int64_t released_s, expires_s; /* Unix seconds */
    enum public_verdict verdict;
    struct broadcast *broadcast; /* of a genuine row; NULL: read it again when needed */
};

/* What the database says of one row. */
struct public_note {
    int64_t id;
    const char *alert_id;
    int version;
    bool cancel, refused, expired;
    int64_t correction;
    int64_t released_s, expires_s;
};

struct public_set;
struct public_set *public_set_new(void);
void public_set_free(struct public_set *set);
LOA_AUTO_DEFINE(public_set, public_set_free)

/* Takes one row over, newest last; when it says anything new, its alert becomes dirty and is the
 * first in the queue. Returns whether it did. */
bool public_set_note(struct public_set *set, const struct public_note *note);
/* Around the notes of a complete listing: what it did not name is no longer public. Alerts that are
 * not expired become dirty, so that they are compared with the disk again. true: something is dirty
 * now. */
void public_set_begin_full(struct public_set *set);
bool public_set_end_full(struct public_set *set);

/* The row of this id, made when it is new. Borrowed. */
struct public_row *public_set_row(struct public_set *set, int64_t id);
/* NULL: no such alert is known. Borrowed. */
const struct public_alert *public_set_alert(const struct public_set *set, const char *alert_id);
/* The first alert in the queue, NULL when it is empty; done takes it out. */
struct public_alert *public_set_dirty(const struct public_set *set);
void public_set_done(struct public_set *set, struct public_alert *alert);

/* What came of reading a row: broadcast (taken) when it is genuine, NULL when it is forged. */
void public_set_read(struct public_row *row, struct broadcast *broadcast);

/* The version that is shown for the alert, NULL when none is. *out_unread: a row that must be read
 * before that can be said, else NULL. Borrowed. */
struct public_row *public_set_pick(struct public_set *set, const struct public_alert *alert,
                                   struct public_row **out_unread);
/* The first page of the list, like broadcast_public_list: appends struct public_row to page.
 * Returns the cursor of the next one, 0 = the end. *out_unread as above; page is then incomplete.
 */
int64_t public_set_page(struct public_set *set, bool active_only, int limit, GPtrArray *page,
                        struct public_row **out_unread);
/* When any page last changed, in Unix seconds: the newest release or expiry; each of them counts as
 * at least a second later than the one before, so that two pages never have the same time. */
int64_t public_set_changed_s(const struct public_set *set);
/* Frees the texts of every row that is in none of the two pages. */
void public_set_forget(struct public_set *set, const GPtrArray *page, const GPtrArray *other);

#endif
