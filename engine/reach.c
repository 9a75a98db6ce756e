/* One struct per commune, found by its code; a chunk looks each of its codes up once. */
#include "engine/reach.h"

#include <string.h>

#include "engine/member_communes.h"
#include "engine/outcome.h"

struct reach {
    GHashTable *communes; /* code (the struct's) → struct reach_commune */
};

static const char *const channel_names[REACH_CHANNELS] = {
    [REACH_FCM] = "fcm", [REACH_APNS] = "apns", [REACH_MQTT] = "mqtt", [REACH_NONE] = "none"};

const char *reach_channel_name(enum reach_channel channel)
{
    return channel_names[channel];
}

enum reach_channel reach_channel_find(const char *name)
{
    for (int i = 0; i < REACH_NONE; i++)
        if (strcmp(channel_names[i], name) == 0)
            return (enum reach_channel)i;
    return REACH_NONE;
}

void reach_count_add(struct reach_count *sum, const struct reach_count *more)
{
    sum->targeted += more->targeted;
    sum->accepted += more->accepted;
    sum->shown += more->shown;
    sum->opened += more->opened;
}

struct reach_count reach_commune_total(const struct reach_commune *commune)
{
    struct reach_count sum = {0};

    for (int i = 0; i < REACH_CHANNELS; i++)
        reach_count_add(&sum, &commune->channels[i]);
    return sum;
}

static void commune_free(void *data)
{
    struct reach_commune *commune = data;

    g_free(commune->code);
    g_free(commune);
}

struct reach *reach_new(void)
{
    struct reach *reach = g_new0(struct reach, 1);

    reach->communes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, commune_free);
    return reach;
}

void reach_free(struct reach *reach)
{
    if (reach == NULL)
        return;
    g_hash_table_unref(reach->communes);
    g_free(reach);
}

/* Made when it is new. */
static struct reach_commune *get(struct reach *reach, const char *code)
{
    struct reach_commune *commune = g_hash_table_lookup(reach->communes, code);

    if (commune == NULL) {
        commune = g_new0(struct reach_commune, 1);
        commune->code = g_strdup(code);
        g_hash_table_insert(reach->communes, commune->code, commune);
    }
    return commune;
}

void reach_copy(struct reach *to, const struct reach *from)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_remove_all(to->communes);
    g_hash_table_iter_init(&iter, from->communes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct reach_commune *old = value;
        memcpy(get(to, old->code)->channels, old->channels, sizeof(old->channels));
    }
}

static gint by_code(gconstpointer a, gconstpointer b)
{
    const struct reach_commune *x = *(const struct reach_commune *const *)a;
    const struct reach_commune *y = *(const struct reach_commune *const *)b;

    if ((x->code[0] == '\0') != (y->code[0] == '\0'))
        return x->code[0] == '\0' ? 1 : -1;
    return strcmp(x->code, y->code);
}

GPtrArray *reach_list(const struct reach *reach)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, reach->communes);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(list, value);
    g_ptr_array_sort(list, by_code);
    return list;
}

bool reach_add_chunk(struct reach *reach, const struct reach_chunk *chunk, GError **error)
{
    size_t n = chunk->communes != NULL ? g_strv_length((char **)chunk->communes) : 0;
    g_autofree uint16_t *index = g_new0(uint16_t, chunk->members);
    g_autofree struct reach_count **counts = g_new(struct reach_count *, MAX(n, 1));

    if (n > 0 &&
        !member_communes_decode(chunk->index, chunk->index_len, n, index, chunk->members, error))
        return false;
    counts[0] = &get(reach, n > 0 ? chunk->communes[0] : "")->channels[chunk->channel];
    for (size_t i = 1; i < n; i++)
        counts[i] = &get(reach, chunk->communes[i])->channels[chunk->channel];
    for (size_t i = 0; i < chunk->members; i++) {
        struct reach_count *count = counts[index[i]];
        count->targeted++;
        if (i < chunk->codes_len && chunk->codes[i] == OUTCOME_ACCEPTED)
            count->accepted++;
    }
    return true;
}

void reach_add_receipts(struct reach *reach, const char *commune, enum reach_channel channel,
                        uint64_t shown, uint64_t opened)
{
    struct reach_count *count = &get(reach, commune)->channels[channel];

    count->shown += shown;
    count->opened += opened;
}

void reach_clear_receipts(struct reach *reach)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, reach->communes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct reach_commune *commune = value;
        for (int i = 0; i < REACH_CHANNELS; i++)
            commune->channels[i].shown = commune->channels[i].opened = 0;
    }
}
