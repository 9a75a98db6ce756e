/* The folder that nginx serves: FOLDER/api/v1/alerts/ID.json, FOLDER/api/v1/alerts.json and so on,
 * each with its gzip form beside it (NAME.gz). Never half a file, and never a text beside the gzip
 * form of another one. Calls block for as long as the disk takes. */
#ifndef LOA_ENGINE_PUBLIC_TREE_H
#define LOA_ENGINE_PUBLIC_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

struct public_tree;
/* Makes the folders that are missing, readable by all; the parent of folder must exist. Owned. */
struct public_tree *public_tree_new(const char *folder, GError **error);
void public_tree_free(struct public_tree *tree);
LOA_AUTO_DEFINE(public_tree, public_tree_free)

/* FOLDER/api/v1/NAME gets this text and modification time (Unix seconds); nothing is written when
 * both forms are there already. *out_written tells. Errors as base/file.h. */
bool public_tree_put(struct public_tree *tree, const char *name, const char *text, int64_t mtime_s,
                     bool *out_written, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes both forms; that there are none is fine. */
bool public_tree_drop(struct public_tree *tree, const char *name,
                      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes what lies about: files that a crash left half written, and everything under alerts/ that
 * is not ID.json or ID.json.gz of an id for which keep says true. *out_removed counts. */
bool public_tree_sweep(struct public_tree *tree, bool (*keep)(const char *alert_id, void *user),
                       void *user, unsigned *out_removed, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
