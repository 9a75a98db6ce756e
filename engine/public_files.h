/* Everything public as files that nginx serves without asking anybody: when half a million phones
 * open an alert within minutes, neither loa api nor PostgreSQL sees them.
 *
 * Under FOLDER/api/v1/, each with its gzip form (NAME.gz) beside it:
 *   alerts/ID.json       every alert of realm live, as the API's /api/v1/alerts/ID
 *   alerts.json          the first page of the list, as /api/v1/alerts
 *   alerts-active.json   the same of what is live now, as /api/v1/alerts?active=true
 *   alerts.atom          the feed, as /api/v1/alerts.atom
 * byte for byte. The modification time follows from the content alone, so that the ETags which
 * nginx makes of time and size agree between machines. Each process keeps a folder of its own. */
#ifndef LOA_ENGINE_PUBLIC_FILES_H
#define LOA_ENGINE_PUBLIC_FILES_H

#include "base/auto.h"
#include "base/clock.h"
#include "engine/release.h"

/* Everything is borrowed and must outlive the files. */
struct public_files_options {
    const char *folder;
    const char *conninfo;
    const struct clock *clock;
    const struct release_keys *keys;
    const char *public_url, *author; /* as in engine/public_feed.h */
    int64_t poll_ms;                 /* beside NOTIFY */
};

struct public_files;
/* Compares everything with the database, at once and whenever something is released, taken back or
 * expires. Runs on the default main context over a connection of its own; writing blocks it for the
 * time of a few fsyncs. DENIED, NOT_FOUND …: the folder cannot be used. Owned. */
struct public_files *public_files_new(const struct public_files_options *options, GError **error);
/* The files stay. */
void public_files_free(struct public_files *files);
LOA_AUTO_DEFINE(public_files, public_files_free)

/* Everything that was public at the last look is on disk. */
bool public_files_settled(const struct public_files *files);

#endif
