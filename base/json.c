/* JSON reading for bodies from outside. The depth is measured before jansson parses, because
 * jansson recurses 2,048 levels deep; texts are brought to NFC inside the object, so that what a
 * reader hands out lives as long as the object does. */
#include "base/json.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"

#define DEPTH_MAX      16
#define COMPLAINTS_MAX 32 /* an answer that names more helps nobody */

struct complaint {
    char *name;
    char *detail;
};

struct json_reader {
    const json_t *object; /* borrowed */
    GHashTable *known;    /* field names that a reader call has named; owned strings */
    GPtrArray *complaints;
};

/* Nesting as brackets outside of strings tell it; wrong syntax is left to the parser. */
static bool too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[') && ++depth > DEPTH_MAX)
            return true;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return false;
}

json_t *json_parse_object(const char *text, size_t len, size_t max, GError **error)
{
    if (len > max) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "JSON of %zu bytes; at most %zu are accepted", len, max);
        return NULL;
    }
    if (too_deep(text, len)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "JSON nested deeper than %d levels",
                    DEPTH_MAX);
        return NULL;
    }
    json_error_t where;
    g_autoptr(json_t) object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (object == NULL) {
        char *quoted = strstr(where.text, " near '"); /* the sender's own bytes stay out of logs */
        if (quoted != NULL)
            *quoted = '\0';
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "JSON line %d column %d: %s", where.line,
                    where.column, where.text);
        return NULL;
    }
    if (!json_is_object(object)) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, "JSON line 1: not an object");
        return NULL;
    }
    return g_steal_pointer(&object);
}

static void complaint_free(void *data)
{
    struct complaint *complaint = data;
    g_free(complaint->name);
    g_free(complaint->detail);
    g_free(complaint);
}

struct json_reader *json_reader_new(const json_t *object)
{
    struct json_reader *reader = g_new0(struct json_reader, 1);
    reader->object = object;
    reader->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    reader->complaints = g_ptr_array_new_with_free_func(complaint_free);
    return reader;
}

void json_reader_free(struct json_reader *reader)
{
    if (reader == NULL)
        return;
    g_hash_table_unref(reader->known);
    g_ptr_array_unref(reader->complaints);
    g_free(reader);
}

void json_reader_complain(struct json_reader *reader, const char *name, const char *detail)
{
    for (size_t i = 0; i < reader->complaints->len; i++) {
        const struct complaint *old = reader->complaints->pdata[i];
        if (strcmp(old->name, name) == 0 && strcmp(old->detail, detail) == 0)
            return;
    }
    if (reader->complaints->len == COMPLAINTS_MAX)
        return;
    struct complaint *complaint = g_new0(struct complaint, 1);
    complaint->name = g_strdup(name);
    complaint->detail = g_strdup(detail);
    g_ptr_array_add(reader->complaints, complaint);
}

static void complain_printf(struct json_reader *reader, const char *name, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static void complain_printf(struct json_reader *reader, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *detail = g_strdup_vprintf(format, args);
    va_end(args);
    json_reader_complain(reader, name, detail);
}

/* The field's value; NULL when absent, after a complaint if it is required. */
static json_t *field(struct json_reader *reader, const char *name, bool required)
{
    g_hash_table_add(reader->known, g_strdup(name));
    json_t *value = json_object_get(reader->object, name);
    if (value == NULL && required)
        json_reader_complain(reader, name, "is required");
    return value;
}

/* The text in NFC. jansson has checked that it is UTF-8 without NUL. */
static const char *normalised(json_t *value)
{
    const char *text = json_string_value(value);
    if (g_str_is_ascii(text))
        return text;
    g_autofree char *nfc = g_utf8_normalize(text, -1, G_NORMALIZE_NFC);
    if (nfc == NULL || strcmp(nfc, text) == 0)
        return text;
    return json_string_set(value, nfc) == 0 ? json_string_value(value) : NULL;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text = g_utf8_next_char(text)) {
        gunichar c = g_utf8_get_char(text);
        if ((c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0))
            return true;
    }
    return false;
}

const char *json_read_string(struct json_reader *reader, const char *name, size_t max,
                             bool required)
{
    json_t *value = field(reader, name, required);
    if (value == NULL)
        return NULL;
    if (!json_is_string(value)) {
        json_reader_complain(reader, name, "must be a string");
        return NULL;
    }
    const char *text = normalised(value);
    if (text == NULL || has_control(text)) {
        json_reader_complain(reader, name, "must not contain control characters");
        return NULL;
    }
    if (strlen(text) > max) {
        complain_printf(reader, name, "must be at most %zu bytes of UTF-8, has %zu", max,
                        strlen(text));
        return NULL;
    }
    if (required && *text == '\0') {
        json_reader_complain(reader, name, "must not be empty");
        return NULL;
    }
    return text;
}

const char *json_read_word(struct json_reader *reader, const char *name, const char *const *words,
                           bool required)
{
    json_t *value = field(reader, name, required);
    if (value == NULL)
        return NULL;
    const char *text = json_string_value(value); /* NULL when it is no string */
    for (size_t i = 0; text != NULL && words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return words[i];
    g_autofree char *list = g_strjoinv(", ", (char **)words);
    complain_printf(reader, name, "must be one of: %s", list);
    return NULL;
}

int64_t json_read_int(struct json_reader *reader, const char *name, int64_t min, int64_t max,
                      int64_t fallback, bool required)
{
    json_t *value = field(reader, name, required);
    if (value == NULL)
        return fallback;
    if (json_is_integer(value) && json_integer_value(value) >= min &&
        json_integer_value(value) <= max)
        return json_integer_value(value);
    complain_printf(reader, name,
                    "must be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                    (gint64)min, (gint64)max);
    return fallback;
}

bool json_read_bool(struct json_reader *reader, const char *name, bool fallback)
{
    json_t *value = field(reader, name, false);
    if (value == NULL)
        return fallback;
    if (json_is_boolean(value))
        return json_is_true(value);
    json_reader_complain(reader, name, "must be true or false");
    return fallback;
}

void json_reader_end(struct json_reader *reader)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)reader->object, name,
                        value) if (!g_hash_table_contains(reader->known, name))
        json_reader_complain(reader, name, "is not known here; leave it out");
}

size_t json_reader_complaints(const struct json_reader *reader)
{
    return reader->complaints->len;
}

void json_reader_complaint(const struct json_reader *reader, size_t n, const char **out_name,
                           const char **out_detail)
{
    assert(n < reader->complaints->len);
    const struct complaint *complaint = reader->complaints->pdata[n];
    *out_name = complaint->name;
    *out_detail = complaint->detail;
}
