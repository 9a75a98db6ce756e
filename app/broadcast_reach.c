/* Columns are as wide as their numbers need, so that a province fits a terminal. */
#include "app/broadcast_reach.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS 4
#define GROUPS  (1 + REACH_CHANNELS) /* all, then each channel */
#define COLUMNS (NUMBERS * GROUPS)

static const char *const heads[NUMBERS] = {"targeted", "accepted", "shown", "opened"};

struct table {
    int name_width;
    int width[COLUMNS];
    bool used[GROUPS];
};

static const char *name_of(const struct reach_commune *commune, GHashTable *names)
{
    const char *name = g_hash_table_lookup(names, commune->code);

    if (commune->code[0] == '\0')
        return "(no commune)";
    return name != NULL ? name : commune->code;
}

static void numbers_of(const struct reach_commune *commune, uint64_t out[COLUMNS])
{
    for (int group = 0; group < GROUPS; group++) {
        struct reach_count count =
            group == 0 ? reach_commune_total(commune) : commune->channels[group - 1];
        uint64_t *at = out + group * NUMBERS;
        at[0] = count.targeted;
        at[1] = count.accepted;
        at[2] = count.shown;
        at[3] = count.opened;
    }
}

static int digits(uint64_t number)
{
    int n = 1;

    while (number >= 10) {
        number /= 10;
        n++;
    }
    return n;
}

static void append_name(GString *out, const char *name, int width)
{
    g_string_append(out, name);
    for (glong i = g_utf8_strlen(name, -1); i < width; i++)
        g_string_append_c(out, ' ');
}

static void append_row(GString *out, const struct table *table, const char *name,
                       const uint64_t numbers[COLUMNS])
{
    append_name(out, name, table->name_width);
    for (int i = 0; i < COLUMNS; i++)
        if (table->used[i / NUMBERS])
            g_string_append_printf(out, "%s%*" PRIu64, i % NUMBERS == 0 ? " │ " : " ",
                                   table->width[i], numbers[i]);
    g_string_append_c(out, '\n');
}

static void append_heads(GString *out, const struct table *table)
{
    append_name(out, "", table->name_width);
    for (int group = 0; group < GROUPS; group++) {
        int width = NUMBERS - 1;
        for (int i = 0; i < NUMBERS; i++)
            width += table->width[group * NUMBERS + i];
        if (table->used[group])
            g_string_append_printf(
                out, " │ %-*s", width,
                group == 0 ? "all" : reach_channel_name((enum reach_channel)(group - 1)));
    }
    g_string_append_c(out, '\n');
    append_name(out, "commune", table->name_width);
    for (int i = 0; i < COLUMNS; i++)
        if (table->used[i / NUMBERS])
            g_string_append_printf(out, "%s%*s", i % NUMBERS == 0 ? " │ " : " ", table->width[i],
                                   heads[i % NUMBERS]);
    g_string_append_c(out, '\n');
}

/* Every sum is at least as wide as what it adds up. */
static void measure(struct table *table, const uint64_t sums[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        table->width[i] = MAX((int)strlen(heads[i % NUMBERS]), digits(sums[i]));
        table->used[i / NUMBERS] = table->used[i / NUMBERS] || i < NUMBERS || sums[i] > 0;
    }
}

void broadcast_reach_append(GString *out, const struct reach *reach, GHashTable *names)
{
    g_autoptr(GPtrArray) list = reach_list(reach);
    struct table table = {.name_width = (int)strlen("commune")};
    uint64_t sums[COLUMNS] = {0}, numbers[COLUMNS];

    for (guint i = 0; i < list->len; i++) {
        int width = (int)g_utf8_strlen(name_of(list->pdata[i], names), -1);
        table.name_width = MAX(table.name_width, width);
        numbers_of(list->pdata[i], numbers);
        for (int column = 0; column < COLUMNS; column++)
            sums[column] += numbers[column];
    }
    measure(&table, sums);
    append_heads(out, &table);
    for (guint i = 0; i < list->len; i++) {
        numbers_of(list->pdata[i], numbers);
        append_row(out, &table, name_of(list->pdata[i], names), numbers);
    }
    append_row(out, &table, "all", sums);
}

static json_t *count_json(const struct reach_count *count)
{
    return json_pack("{s:I, s:I, s:I, s:I}", heads[0], (json_int_t)count->targeted, heads[1],
                     (json_int_t)count->accepted, heads[2], (json_int_t)count->shown, heads[3],
                     (json_int_t)count->opened);
}

json_t *broadcast_reach_json(const struct reach *reach, GHashTable *names)
{
    g_autoptr(GPtrArray) list = reach_list(reach);
    json_t *array = json_array();

    for (guint i = 0; i < list->len; i++) {
        const struct reach_commune *commune = list->pdata[i];
        struct reach_count total = reach_commune_total(commune);
        json_t *object = count_json(&total);
        json_t *channels = json_object();
        const char *name = g_hash_table_lookup(names, commune->code);
        for (int c = 0; c < REACH_CHANNELS; c++)
            json_object_set_new(channels, reach_channel_name((enum reach_channel)c),
                                count_json(&commune->channels[c]));
        json_object_set_new(object, "commune", json_string(commune->code));
        json_object_set_new(object, "name", json_string(name != NULL ? name : ""));
        json_object_set_new(object, "channels", channels);
        json_array_append_new(array, object);
    }
    return array;
}
