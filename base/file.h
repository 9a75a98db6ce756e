/* Files that others read while they are replaced: a reader sees the old one or the new one, whole,
 * also after a crash. Calls block for as long as the disk takes. */
#ifndef LOA_BASE_FILE_H
#define LOA_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define FILE_STAGED_PREFIX ".staged-" /* of every name that file_stage makes */

/* Writes a new file in the folder of path: readable by all, with this modification time (Unix
 * seconds), durable. Returns its path, owned; rename(2) it over path, or unlink it. LIMIT: no room;
 * DENIED, NOT_FOUND, INTERNAL. */
char *file_stage(const char *path, const void *data, size_t len, int64_t mtime_s,
                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The staged file takes the place of path; on failure it is removed. */
bool file_commit(const char *staged, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes a file; that there is none is fine. */
bool file_remove(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Makes the names in a folder durable: after file_commit and file_remove. */
bool file_sync_folder(const char *folder, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A folder that everybody may enter, whatever the umask; its parent must exist. One that is there
 * stays as it is. */
bool file_make_folder(const char *folder, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether path is a plain file readable by all, with exactly these bytes and this modification
 * time. */
bool file_is(const char *path, const void *data, size_t len, int64_t mtime_s);

#endif
