/* Two open-addressing tables without deletion: tokens (index into blocks of rows, token bytes in an
 * arena) and pairs of (token row, alert number), which tell a first delivery from a repeat. GLib's
 * tables cost three allocations and 100 bytes an entry; ten million tokens must fit beside the
 * system under test. */
#include "tests/sim/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"

#define ROWS_PER_BLOCK 65536
#define ARENA_BLOCK    (1024 * 1024)
#define NONE           UINT32_MAX

struct row {
    const char *token; /* in the arena */
    uint32_t token_len;
    uint32_t hash;
    uint32_t accepted, requests;
    uint64_t first_seq, last_seq;
};

struct alert {
    char *name; /* "ID/VERSION"; owned by the table of names */
    uint64_t requests, accepted, distinct;
    uint64_t first_seq, last_seq;
    uint64_t first_entry, last_entry; /* counted in this ledger only */
};

struct ledger {
    size_t tokens_max;
    GPtrArray *blocks; /* of ROWS_PER_BLOCK rows */
    size_t rows_len;
    uint32_t *slots; /* row number or NONE */
    size_t slots_len;
    uint64_t *pairs; /* (row + 1) << 32 | alert, 0 = empty */
    size_t pairs_len, pairs_used;
    GPtrArray *arena;
    size_t arena_used; /* of the last block */
    GArray *alerts;    /* struct alert */
    GHashTable *names; /* "ID/VERSION" → number */
    uint32_t last_alert;
    char last_name[160];
    size_t last_name_len;
    struct ledger_totals totals;
    uint64_t entries;
};

static void tables_init(struct ledger *ledger)
{
    ledger->blocks = g_ptr_array_new_with_free_func(g_free);
    ledger->arena = g_ptr_array_new_with_free_func(g_free);
    ledger->arena_used = ARENA_BLOCK;
    ledger->rows_len = 0;
    ledger->slots_len = 4096;
    ledger->slots = g_new(uint32_t, ledger->slots_len);
    memset(ledger->slots, 0xff, ledger->slots_len * sizeof(*ledger->slots));
    ledger->pairs_len = 4096;
    ledger->pairs_used = 0;
    ledger->pairs = g_new0(uint64_t, ledger->pairs_len);
    ledger->alerts = g_array_new(FALSE, TRUE, sizeof(struct alert));
    ledger->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    ledger->last_alert = NONE;
    ledger->last_name_len = 0;
    ledger->totals = (struct ledger_totals){0};
    ledger->entries = 0;
}

static void tables_clear(struct ledger *ledger)
{
    g_ptr_array_free(ledger->blocks, TRUE);
    g_ptr_array_free(ledger->arena, TRUE);
    g_free(ledger->slots);
    g_free(ledger->pairs);
    g_array_free(ledger->alerts, TRUE);
    g_hash_table_destroy(ledger->names);
}

struct ledger *ledger_new(size_t tokens_max)
{
    struct ledger *ledger = g_new0(struct ledger, 1);

    ledger->tokens_max = MIN(tokens_max, LEDGER_TOKENS_MAX);
    tables_init(ledger);
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    tables_clear(ledger);
    g_free(ledger);
}

void ledger_reset(struct ledger *ledger)
{
    tables_clear(ledger);
    tables_init(ledger);
}

const struct ledger_totals *ledger_totals(const struct ledger *ledger)
{
    return &ledger->totals;
}

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= UINT64_C(0xd6e8feb86659fd93);
    return value ^ value >> 32;
}

static uint32_t hash_bytes(const char *at, size_t len)
{
    uint64_t hash = len, word;

    for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        hash = mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, at, len);
    return (uint32_t)mix(hash ^ word);
}

static struct row *row_at(const struct ledger *ledger, size_t number)
{
    struct row *block = g_ptr_array_index(ledger->blocks, number / ROWS_PER_BLOCK);

    return &block[number % ROWS_PER_BLOCK];
}

static const char *arena_copy(struct ledger *ledger, struct text token)
{
    char *block;

    if (ARENA_BLOCK - ledger->arena_used < token.len) {
        g_ptr_array_add(ledger->arena, g_malloc(ARENA_BLOCK));
        ledger->arena_used = 0;
    }
    block = g_ptr_array_index(ledger->arena, ledger->arena->len - 1);
    block += ledger->arena_used;
    memcpy(block, token.at, token.len);
    ledger->arena_used += token.len;
    return block;
}

static void slots_grow(struct ledger *ledger)
{
    size_t mask = ledger->slots_len * 2 - 1;

    g_free(ledger->slots);
    ledger->slots_len *= 2;
    ledger->slots = g_new(uint32_t, ledger->slots_len);
    memset(ledger->slots, 0xff, ledger->slots_len * sizeof(*ledger->slots));
    for (size_t number = 0; number < ledger->rows_len; number++) {
        size_t slot = row_at(ledger, number)->hash & mask;
        while (ledger->slots[slot] != NONE)
            slot = (slot + 1) & mask;
        ledger->slots[slot] = (uint32_t)number;
    }
}

static uint32_t row_add(struct ledger *ledger, struct text token, uint32_t hash)
{
    struct row *row;

    if (ledger->rows_len == ledger->tokens_max || token.len > ARENA_BLOCK)
        return NONE;
    if (ledger->rows_len % ROWS_PER_BLOCK == 0)
        g_ptr_array_add(ledger->blocks, g_new0(struct row, ROWS_PER_BLOCK));
    row = row_at(ledger, ledger->rows_len);
    row->token = arena_copy(ledger, token);
    row->token_len = (uint32_t)token.len;
    row->hash = hash;
    return (uint32_t)ledger->rows_len++;
}

/* The token's row number, a new one at first sight; NONE when the ledger is full. */
static uint32_t row_find(struct ledger *ledger, struct text token)
{
    uint32_t hash = hash_bytes(token.at, token.len);
    size_t slot;

    if (ledger->rows_len * 2 >= ledger->slots_len)
        slots_grow(ledger);
    slot = hash & (ledger->slots_len - 1);
    for (; ledger->slots[slot] != NONE; slot = (slot + 1) & (ledger->slots_len - 1)) {
        const struct row *row = row_at(ledger, ledger->slots[slot]);
        if (row->hash == hash && row->token_len == token.len &&
            memcmp(row->token, token.at, token.len) == 0)
            return ledger->slots[slot];
    }
    return ledger->slots[slot] = row_add(ledger, token, hash);
}

static void pair_put(uint64_t *pairs, size_t len, uint64_t pair, bool *out_new)
{
    size_t slot = mix(pair * UINT64_C(0x9e3779b97f4a7c15)) & (len - 1);

    while (pairs[slot] != 0 && pairs[slot] != pair)
        slot = (slot + 1) & (len - 1);
    *out_new = pairs[slot] == 0;
    pairs[slot] = pair;
}

/* True when this token has not been accepted for this alert before. */
static bool pair_is_first(struct ledger *ledger, uint32_t row, uint32_t alert)
{
    bool is_new;

    if (ledger->pairs_used * 2 >= ledger->pairs_len) {
        uint64_t *grown = g_new0(uint64_t, ledger->pairs_len * 2);
        for (size_t i = 0; i < ledger->pairs_len; i++)
            if (ledger->pairs[i] != 0)
                pair_put(grown, ledger->pairs_len * 2, ledger->pairs[i], &is_new);
        g_free(ledger->pairs);
        ledger->pairs = grown;
        ledger->pairs_len *= 2;
    }
    pair_put(ledger->pairs, ledger->pairs_len, ((uint64_t)row + 1) << 32 | alert, &is_new);
    ledger->pairs_used += is_new;
    return is_new;
}

/* Appends at most 64 bytes of a text. */
static size_t put_text(char *at, struct text text)
{
    size_t len = MIN(text.len, 64);

    if (len > 0)
        memcpy(at, text.at, len);
    return len;
}

/* Number of (alert, version). Broadcasts come in runs of one alert: the last is remembered. */
static uint32_t alert_find(struct ledger *ledger, const struct ledger_entry *entry)
{
    char name[sizeof(ledger->last_name)];
    size_t len = put_text(name, entry->alert);
    gpointer number;
    struct alert alert = {0};

    name[len++] = '/';
    len += put_text(name + len, entry->version);
    name[len] = '\0';
    if (ledger->last_alert != NONE && ledger->last_name_len == len &&
        memcmp(ledger->last_name, name, len) == 0)
        return ledger->last_alert;
    if (g_hash_table_lookup_extended(ledger->names, name, NULL, &number)) {
        ledger->last_alert = GPOINTER_TO_UINT(number);
    } else if (ledger->alerts->len < LEDGER_ALERTS_MAX) {
        alert.name = g_strdup(name);
        ledger->last_alert = ledger->alerts->len;
        g_array_append_val(ledger->alerts, alert);
        g_hash_table_insert(ledger->names, alert.name, GUINT_TO_POINTER(ledger->last_alert));
    } else {
        return ledger->alerts->len - 1;
    }
    memcpy(ledger->last_name, name, len + 1);
    ledger->last_name_len = len;
    return ledger->last_alert;
}

static void count_accepted(struct ledger *ledger, const struct ledger_entry *entry,
                           struct alert *alert, bool is_first)
{
    struct ledger_totals *totals = &ledger->totals;

    totals->accepted++;
    totals->distinct += is_first;
    totals->duplicates += !is_first;
    if (totals->first_us == 0)
        totals->first_us = entry->now_us;
    totals->last_us = entry->now_us;
    alert->accepted++;
    alert->distinct += is_first;
}

void ledger_enter(struct ledger *ledger, const struct ledger_entry *entry)
{
    uint32_t number = row_find(ledger, entry->token);
    uint32_t alert_number = alert_find(ledger, entry);
    struct alert *alert = &g_array_index(ledger->alerts, struct alert, alert_number);
    struct row *row;

    if (number == NONE) {
        ledger->totals.untracked++;
        ledger->totals.accepted += entry->accepted;
        return;
    }
    row = row_at(ledger, number);
    row->requests++;
    row->accepted += entry->accepted;
    row->first_seq = row->first_seq != 0 ? row->first_seq : entry->seq;
    row->last_seq = entry->seq;
    alert->requests++;
    alert->first_seq = alert->first_seq != 0 ? alert->first_seq : entry->seq;
    alert->last_seq = entry->seq;
    alert->last_entry = ++ledger->entries;
    alert->first_entry = alert->first_entry != 0 ? alert->first_entry : ledger->entries;
    if (entry->accepted)
        count_accepted(ledger, entry, alert, pair_is_first(ledger, number, alert_number));
}

bool ledger_dump(const struct ledger *ledger, const char *path, GError **error)
{
    FILE *file = fopen(path, "we");
    bool written = file != NULL;

    for (size_t number = 0; written && number < ledger->rows_len; number++) {
        const struct row *row = row_at(ledger, number);
        written = fwrite(row->token, 1, row->token_len, file) == row->token_len &&
                  fprintf(file, "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu64 "\n",
                          row->accepted, row->requests, row->first_seq, row->last_seq) > 0;
    }
    if (file != NULL && fclose(file) != 0)
        written = false;
    if (!written)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "cannot write %s: %s", path,
                    g_strerror(errno));
    return written;
}

json_t *ledger_alerts(const struct ledger *ledger)
{
    json_t *all = json_object();

    for (guint i = 0; i < ledger->alerts->len; i++) {
        const struct alert *alert = &g_array_index(ledger->alerts, struct alert, i);
        json_object_set_new(
            all, alert->name,
            json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)alert->requests,
                      "accepted", (json_int_t)alert->accepted, "distinct",
                      (json_int_t)alert->distinct, "duplicates",
                      (json_int_t)(alert->accepted - alert->distinct), "first_seq",
                      (json_int_t)alert->first_seq, "last_seq", (json_int_t)alert->last_seq,
                      "others_between",
                      (json_int_t)(alert->last_entry - alert->first_entry + 1 - alert->requests)));
    }
    return all;
}
