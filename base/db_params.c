/* Statement parameters in PostgreSQL's binary form. Values lie one after another in one buffer and
 * are found by offset, because the buffer moves while it grows. */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "base/db_internal.h"

#define VALUES_BYTES_MAX (64u << 20) /* all parameters of one statement together */
/* PostgreSQL counts from 2000-01-01. */
#define PG_EPOCH_US (INT64_C(946684800) * USEC_PER_SEC)

enum pg_type {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_INT8_ARRAY = 1016,
    PG_TIMESTAMPTZ = 1184,
    PG_TIMESTAMPTZ_ARRAY = 1185,
};

struct db_params {
    int n;
    struct {
        Oid type; /* 0 = left to the server, for null */
        bool null;
        size_t offset;
        size_t len;
    } items[DB_PARAMS_MAX];
    GByteArray *bytes;
    bool too_large;
};

struct db_params *db_params_new(void)
{
    struct db_params *params = g_new0(struct db_params, 1);
    params->bytes = g_byte_array_new();
    return params;
}

void db_params_free(struct db_params *params)
{
    if (params == NULL)
        return;
    g_byte_array_unref(params->bytes);
    g_free(params);
}

/* Opens the next item; its bytes are what is put until item_end. */
static void item_begin(struct db_params *params, enum pg_type type, bool null)
{
    assert(params->n < DB_PARAMS_MAX);
    params->items[params->n].type = (Oid)type;
    params->items[params->n].null = null;
    params->items[params->n].offset = params->bytes->len;
}

static void item_end(struct db_params *params)
{
    params->items[params->n].len = params->bytes->len - params->items[params->n].offset;
    params->n++;
}

static void put(struct db_params *params, const void *data, size_t len)
{
    if (params->too_large || len > VALUES_BYTES_MAX - params->bytes->len) {
        params->too_large = true;
        return;
    }
    if (len > 0)
        g_byte_array_append(params->bytes, data, (guint)len);
}

static void put_i32(struct db_params *params, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    put(params, &wire, sizeof wire);
}

static void put_i64(struct db_params *params, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    put(params, &wire, sizeof wire);
}

void db_param_null(struct db_params *params)
{
    item_begin(params, (enum pg_type)0, true);
    item_end(params);
}

void db_param_i64(struct db_params *params, int64_t value)
{
    item_begin(params, PG_INT8, false);
    put_i64(params, value);
    item_end(params);
}

void db_param_i32(struct db_params *params, int32_t value)
{
    item_begin(params, PG_INT4, false);
    put_i32(params, value);
    item_end(params);
}

void db_param_bool(struct db_params *params, bool value)
{
    item_begin(params, PG_BOOL, false);
    put(params, value ? "\1" : "\0", 1);
    item_end(params);
}

void db_param_text(struct db_params *params, const char *value)
{
    item_begin(params, PG_TEXT, value == NULL);
    if (value != NULL)
        put(params, value, strlen(value));
    item_end(params);
}

void db_param_bytes(struct db_params *params, const void *data, size_t len)
{
    item_begin(params, PG_BYTEA, data == NULL);
    if (data != NULL)
        put(params, data, len);
    item_end(params);
}

/* The extremes stand for ±infinity, as db_get_utc_us reads them. */
static int64_t to_pg_us(int64_t utc_us)
{
    if (utc_us == INT64_MAX || utc_us < INT64_MIN + PG_EPOCH_US)
        return utc_us == INT64_MAX ? INT64_MAX : INT64_MIN;
    return utc_us - PG_EPOCH_US;
}

void db_param_utc_us(struct db_params *params, int64_t utc_us)
{
    item_begin(params, PG_TIMESTAMPTZ, false);
    put_i64(params, to_pg_us(utc_us));
    item_end(params);
}

/* Head of a one-dimensional array; an empty one has no dimension. */
static void put_array_head(struct db_params *params, enum pg_type element, bool nulls, size_t n)
{
    assert(n <= INT32_MAX);
    put_i32(params, n == 0 ? 0 : 1);
    put_i32(params, nulls ? 1 : 0);
    put_i32(params, (int32_t)element);
    if (n > 0) {
        put_i32(params, (int32_t)n);
        put_i32(params, 1); /* lower bound */
    }
}

void db_param_i64_array(struct db_params *params, const int64_t *values, size_t n)
{
    item_begin(params, PG_INT8_ARRAY, false);
    put_array_head(params, PG_INT8, false, n);
    for (size_t i = 0; i < n; i++) {
        put_i32(params, sizeof values[i]);
        put_i64(params, values[i]);
    }
    item_end(params);
}

void db_param_i32_array(struct db_params *params, const int32_t *values, size_t n)
{
    item_begin(params, PG_INT4_ARRAY, false);
    put_array_head(params, PG_INT4, false, n);
    for (size_t i = 0; i < n; i++) {
        put_i32(params, sizeof values[i]);
        put_i32(params, values[i]);
    }
    item_end(params);
}

void db_param_text_array(struct db_params *params, const char *const *values, size_t n)
{
    bool nulls = false;
    for (size_t i = 0; i < n; i++)
        nulls = nulls || values[i] == NULL;
    item_begin(params, PG_TEXT_ARRAY, false);
    put_array_head(params, PG_TEXT, nulls, n);
    for (size_t i = 0; i < n; i++) {
        size_t len = values[i] == NULL ? 0 : strlen(values[i]);
        if (len > VALUES_BYTES_MAX) {
            params->too_large = true;
            break;
        }
        put_i32(params, values[i] == NULL ? -1 : (int32_t)len);
        put(params, values[i], len);
    }
    item_end(params);
}

void db_param_utc_us_array(struct db_params *params, const int64_t *values, size_t n)
{
    item_begin(params, PG_TIMESTAMPTZ_ARRAY, false);
    put_array_head(params, PG_TIMESTAMPTZ, false, n);
    for (size_t i = 0; i < n; i++) {
        put_i32(params, sizeof values[i]);
        put_i64(params, to_pg_us(values[i]));
    }
    item_end(params);
}

bool db_params_wire(const struct db_params *params, struct db_wire *out, GError **error)
{
    out->n = params == NULL ? 0 : params->n;
    if (out->n == 0)
        return true;
    if (params->too_large) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT,
                    "the parameters of one statement exceed %u bytes", VALUES_BYTES_MAX);
        return false;
    }
    for (int i = 0; i < out->n; i++) {
        out->types[i] = params->items[i].type;
        /* An empty value still needs an address: NULL would mean null. */
        const char *base = params->bytes->data == NULL ? "" : (const char *)params->bytes->data;
        out->values[i] = params->items[i].null ? NULL : base + params->items[i].offset;
        out->lengths[i] = (int)params->items[i].len;
        out->formats[i] = 1;
    }
    return true;
}
