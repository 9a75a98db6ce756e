/* JSON through jansson, with readers that name the field when they refuse it. */
#ifndef LOA_BASE_JSON_H
#define LOA_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

/* Parses one object of at most max bytes, depth ≤ 16, duplicate keys refused, no NUL in strings.
 * INVALID with line and column. Owned. */
json_t *json_parse_object(const char *text, size_t len, size_t max, GError **error);

/* Collects what is wrong with a body so that one answer names every bad field. */
struct json_reader; /* borrowed object + list of complaints */
struct json_reader *json_reader_new(const json_t *object);
void json_reader_free(struct json_reader *reader);
LOA_AUTO_DEFINE(json_reader, json_reader_free)

/* Each returns the value, or a default after noting a complaint (at most 32 are kept; null is not
 * "absent"). Strings are borrowed as long as the object lives, valid UTF-8 brought to NFC (in the
 * object itself), without control characters other than \n and \t, at most max bytes; a required
 * one is not empty. */
const char *json_read_string(struct json_reader *reader, const char *name, size_t max,
                             bool required);
/* One of the NULL-terminated words, else a complaint that lists them. */
const char *json_read_word(struct json_reader *reader, const char *name, const char *const *words,
                           bool required);
int64_t json_read_int(struct json_reader *reader, const char *name, int64_t min, int64_t max,
                      int64_t fallback, bool required);
bool json_read_bool(struct json_reader *reader, const char *name, bool fallback);
/* Notes a complaint of the caller's own. */
void json_reader_complain(struct json_reader *reader, const char *name, const char *detail);
/* Complains about every field that no reader call has named. */
void json_reader_end(struct json_reader *reader);
size_t json_reader_complaints(const struct json_reader *reader);
/* n-th complaint; borrowed. */
void json_reader_complaint(const struct json_reader *reader, size_t n, const char **out_name,
                           const char **out_detail);

#endif
