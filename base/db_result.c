/* Readers of binary results. A wrong row, column or type is a mistake in the calling store, found
 * by its first test: asserted. What lies inside an array value is read with bounds all the same. */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"

#define PG_EPOCH_US (INT64_C(946684800) * USEC_PER_SEC)

/* The value, NULL when null. Nine columns a device are read here: libpq itself checks res, row and
 * column, and is asked no more often than needed. */
static const char *value_at(const PGresult *res, int row, int col)
{
    assert(PQfformat(res, col) == 1); /* 0 for a wrong column */
    if (PQgetisnull(res, row, col) == 0)
        return PQgetvalue(res, row, col);
    assert(row >= 0 && row < PQntuples(res)); /* a wrong row reads as null */
    return NULL;
}

bool db_is_null(const PGresult *res, int row, int col)
{
    return value_at(res, row, col) == NULL;
}

static int32_t read_i32(const char *p)
{
    uint32_t wire;
    memcpy(&wire, p, sizeof wire);
    return (int32_t)be32toh(wire);
}

static int64_t read_i64(const char *p)
{
    uint64_t wire;
    memcpy(&wire, p, sizeof wire);
    return (int64_t)be64toh(wire);
}

int64_t db_get_i64(const PGresult *res, int row, int col)
{
    const char *p = value_at(res, row, col);
    if (p == NULL)
        return 0;
    int len = PQgetlength(res, row, col);
    if (len == 8)
        return read_i64(p);
    if (len == 4)
        return read_i32(p);
    assert(len == 2);
    uint16_t wire;
    memcpy(&wire, p, sizeof wire);
    return (int16_t)be16toh(wire);
}

bool db_get_bool(const PGresult *res, int row, int col)
{
    const char *p = value_at(res, row, col);
    if (p == NULL)
        return false;
    assert(PQgetlength(res, row, col) == 1);
    return *p != 0;
}

const char *db_get_text(const PGresult *res, int row, int col)
{
    return value_at(res, row, col);
}

const void *db_get_bytes(const PGresult *res, int row, int col, size_t *out_len)
{
    const char *p = value_at(res, row, col);
    *out_len = p == NULL ? 0 : (size_t)PQgetlength(res, row, col);
    return p;
}

int64_t db_get_utc_us(const PGresult *res, int row, int col)
{
    const char *p = value_at(res, row, col);
    if (p == NULL)
        return 0;
    assert(PQgetlength(res, row, col) == 8);
    int64_t us = read_i64(p);
    if (us == INT64_MIN || us > INT64_MAX - PG_EPOCH_US)
        return us == INT64_MIN ? INT64_MIN : INT64_MAX;
    return us + PG_EPOCH_US;
}

/* A null item reads as "". */
char **db_get_text_array(const PGresult *res, int row, int col)
{
    const char *p = value_at(res, row, col);
    if (p == NULL)
        return NULL;
    const char *end = p + PQgetlength(res, row, col);
    g_autoptr(GPtrArray) items = g_ptr_array_new();
    assert(end - p >= 12);
    if (read_i32(p) != 0) {
        assert(read_i32(p) == 1 && end - p >= 20);
        int32_t n = read_i32(p + 12);
        p += 20;
        for (int32_t i = 0; i < n; i++) {
            assert(end - p >= 4);
            int32_t len = MAX(read_i32(p), 0);
            p += 4;
            assert(end - p >= len);
            g_ptr_array_add(items, g_strndup(p, (gsize)len));
            p += len;
        }
    }
    g_ptr_array_add(items, NULL);
    return (char **)g_ptr_array_steal(items, NULL);
}
