/* What the two receipt loaders share: their options, the clock of the schedule, the last line. */
#ifndef LOA_TESTS_BENCH_RECEIPTS_LOAD_H
#define LOA_TESTS_BENCH_RECEIPTS_LOAD_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib.h>

#include "base/clock.h"

#define LOAD_LIMIT_US  (900 * USEC_PER_SEC) /* then it gives up */
#define LOAD_REPEAT_US (2 * USEC_PER_SEC)   /* a phone would wait a minute */

struct load {
    /* options */
    int port, count, width; /* width: connections of HTTP, unconfirmed receipts of MQTT */
    int64_t first;          /* device id; the others follow */
    double rate;            /* a second, on a fixed schedule; 0 = as fast as it goes */
    char *alert, *key;
    /* results */
    int64_t start_us;
    int next, confirmed;
    uint64_t repeated, refused;
    uint32_t *waited_us; /* per device: from its due time, or else from its sending */
    int64_t *since_us;
};

static inline int64_t load_now(void)
{
    return clock_system()->mono_us(clock_system());
}

static inline bool load_parse(struct load *load, int argc, char **argv)
{
    GOptionEntry entries[] = {
        {"port", 0, 0, G_OPTION_ARG_INT, &load->port, "Of the server on 127.0.0.1", "P"},
        {"first", 0, 0, G_OPTION_ARG_INT64, &load->first, "The first device's id", "ID"},
        {"count", 0, 0, G_OPTION_ARG_INT, &load->count, "Devices; one receipt each", "N"},
        {"width", 0, 0, G_OPTION_ARG_INT, &load->width, "At most so many at once", "N"},
        {"rate", 0, 0, G_OPTION_ARG_DOUBLE, &load->rate, "A second (0 = flat out)", "R"},
        {"alert", 0, 0, G_OPTION_ARG_STRING, &load->alert, "The alert's id", "ID"},
        {"key", 0, 0, G_OPTION_ARG_FILENAME, &load->key, "The device key (HTTP)", "FILE"},
        {NULL}};
    GOptionContext *context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    bool ok;

    g_option_context_add_main_entries(context, entries, NULL);
    ok = g_option_context_parse(context, &argc, &argv, &error) && load->port > 0 &&
         load->count > 0 && load->width > 0 && load->first > 0 && load->alert != NULL;
    if (!ok)
        fprintf(stderr, "%s\n", error != NULL ? error->message : "an option is missing");
    g_option_context_free(context);
    load->waited_us = g_new0(uint32_t, (gsize)MAX(load->count, 1));
    load->since_us = g_new0(int64_t, (gsize)MAX(load->count, 1));
    load->start_us = load_now();
    return ok;
}

/* When the next new receipt is due; INT64_MAX: all have been sent. */
static inline int64_t load_due(const struct load *load)
{
    if (load->next >= load->count)
        return INT64_MAX;
    return load->rate > 0 ? load->start_us + (int64_t)((double)load->next * 1e6 / load->rate) : 0;
}

/* Takes the next new receipt: its index. */
static inline int load_take(struct load *load)
{
    load->since_us[load->next] = load->rate > 0 ? load_due(load) : load_now();
    return load->next++;
}

static inline void load_confirm(struct load *load, int index)
{
    if (load->waited_us[index] != 0)
        return; /* confirmed twice, after a repeat */
    load->waited_us[index] = (uint32_t)MAX(load_now() - load->since_us[index], 1);
    load->confirmed++;
}

static inline bool load_over(const struct load *load)
{
    return load->confirmed == load->count || load_now() - load->start_us > LOAD_LIMIT_US;
}

static inline int load_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Numbers for a script: sent confirmed repeated refused seconds p50_ms p99_ms. */
static inline void load_print(struct load *load)
{
    double seconds = (double)(load_now() - load->start_us) / 1e6;
    int skip = load->count - load->confirmed;

    qsort(load->waited_us, (size_t)load->count, sizeof(uint32_t), load_compare);
    int last = MAX(load->confirmed - 1, 0);
    printf("%d %d %" PRIu64 " %" PRIu64 " %.3f %.2f %.2f\n", load->next, load->confirmed,
           load->repeated, load->refused, seconds,
           load->waited_us[MIN(skip + last / 2, load->count - 1)] / 1e3,
           load->waited_us[MIN(skip + (int)(last * 0.99), load->count - 1)] / 1e3);
    g_free(load->waited_us);
    g_free(load->since_us);
    g_free(load->alert);
    g_free(load->key);
}

#endif
