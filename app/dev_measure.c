/* Counting after a demo. Nothing here trusts Loa's word alone: every accepted push is compared with
 * what the other side saw. */
#include "app/dev_measure.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/dev_control.h"
#include "app/dev_store.h"
#include "base/error.h"
#include "base/json.h"

/* --- /proc --- */

/* The n-th word of /proc/PID/stat after the name in brackets, which may hold anything. */
static int64_t stat_word(pid_t pid, unsigned n)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;
    char *rest;

    if (!g_file_get_contents(path, &text, NULL, NULL) || (rest = strrchr(text, ')')) == NULL)
        return 0;
    g_auto(GStrv) words = g_strsplit(rest + 2, " ", -1);
    return g_strv_length(words) > n ? g_ascii_strtoll(words[n], NULL, 10) : 0;
}

double measure_cpu_s(const struct dev *dev, const char *role)
{
    int64_t ticks = 0;

    for (size_t i = 0; i < supervisor_count(dev->supervisor); i++) {
        struct process_view p = supervisor_get(dev->supervisor, i);
        if (strcmp(p.role, role) == 0 && p.pid != 0)
            ticks += stat_word(p.pid, 11) + stat_word(p.pid, 12); /* utime, stime */
    }
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* VmHWM in MiB; 0 for a process that is gone. */
static double peak_mb(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *text = NULL;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, NULL) || (line = strstr(text, "VmHWM:")) == NULL)
        return 0;
    return (double)g_ascii_strtoll(line + strlen("VmHWM:"), NULL, 10) / 1024;
}

/* --- reading --- */

static int64_t number(const json_t *object, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(object, name));
}

static struct seen_push seen_push(const json_t *stats, const char *channel)
{
    const json_t *object = json_object_get(stats, channel);

    return (struct seen_push){.accepted = number(object, "accepted"),
                              .distinct = number(object, "distinct"),
                              .duplicates = number(object, "duplicates"),
                              .first_utc_us = number(object, "first_us"),
                              .last_utc_us = number(object, "last_us")};
}

static bool read_phones(const struct dev *dev, struct measure *out, GError **error)
{
    g_autoptr(json_t) stats = NULL;

    if (dev->connected == 0)
        return true;
    stats = dev_control_stats(dev->fleet_control, error);
    if (stats == NULL)
        return false;
    out->phones_seen = number(stats, "distinct");
    out->phone_duplicates = number(stats, "duplicates");
    out->phone_receipts = number(stats, "receipts_confirmed");
    out->bad_signatures = number(stats, "bad_signatures");
    return true;
}

bool measure_read(struct dev *dev, struct measure *out, GError **error)
{
    g_autoptr(json_t) stats = dev_control_stats(dev->sim_control, error);
    loa_auto(db) db = NULL;

    if (stats == NULL || !read_phones(dev, out, error))
        return false;
    out->fcm = seen_push(stats, "fcm");
    out->apns = seen_push(stats, "apns");
    for (size_t i = 0; i < supervisor_count(dev->supervisor); i++) {
        struct process_view p = supervisor_get(dev->supervisor, i);
        if (strcmp(p.role, "deliver") == 0 && p.pid != 0)
            out->rss_mb = MAX(out->rss_mb, peak_mb(p.pid));
    }
    db = db_open(dev->conninfo, error);
    out->progress = progress_new(dev->broadcast_id);
    return db != NULL && progress_store_read(db, out->progress, true, error) &&
           dev_store_release_commit(db, dev->broadcast_id, &out->commit_utc_us, error);
}

void measure_clear(struct measure *measure)
{
    g_clear_pointer(&measure->progress, progress_free);
}

/* --- derived numbers --- */

struct totals {
    uint64_t targeted, retry;
    int64_t unaccounted;
    struct outcome_tally tally;
    double first_ms, last_ms, per_s, cpu_per_million;
    int64_t duplicates;
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static struct totals total_of(const struct measure *m)
{
    struct totals t = {.duplicates = m->fcm.duplicates + m->apns.duplicates + m->phone_duplicates};
    int64_t first = earlier(m->fcm.first_utc_us, m->apns.first_utc_us);
    int64_t last = MAX(m->fcm.last_utc_us, m->apns.last_utc_us);
    double pushes = (double)(m->fcm.accepted + m->apns.accepted);

    for (int i = 0; i < PROGRESS_CHANNELS; i++) {
        const struct progress_channel *c = &m->progress->channels[i];
        t.targeted += c->targeted;
        t.retry += c->tally.by_byte[OUTCOME_RETRY];
        /* What is still on its way after the end would be lost, too. */
        t.unaccounted += llabs(progress_unaccounted(c)) + (int64_t)(c->sending + c->not_sent);
        for (int byte = 0; byte < 256; byte++)
            t.tally.by_byte[byte] += c->tally.by_byte[byte];
    }
    if (first != 0) {
        t.first_ms = (double)(first - m->commit_utc_us) / 1000;
        t.last_ms = (double)(last - m->commit_utc_us) / 1000;
        t.per_s = last > first ? pushes * 1e6 / (double)(last - first) : 0;
        t.cpu_per_million = pushes > 0 ? m->cpu_s * 1e6 / pushes : 0;
    }
    return t;
}

static uint64_t accepted_on(const struct measure *m, const char *channel)
{
    for (int i = 0; i < PROGRESS_CHANNELS; i++)
        if (strcmp(m->progress->channels[i].name, channel) == 0)
            return outcome_tally_name(&m->progress->channels[i].tally, "ACCEPTED");
    return 0;
}

bool measure_adds_up(const struct dev *dev, const struct measure *m, GError **error)
{
    const struct totals t = total_of(m);
    const uint64_t fcm = accepted_on(m, "fcm"), apns = accepted_on(m, "apns");

    if (t.targeted != (uint64_t)dev->options.devices || t.retry != 0 || t.unaccounted != 0)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                    "of %d devices %" PRIu64 " were targeted, %" PRIu64
                    " wait for a retry, %" PRId64 " have no outcome",
                    dev->options.devices, t.targeted, t.retry, t.unaccounted);
    else if ((uint64_t)m->fcm.distinct != fcm || (uint64_t)m->apns.distinct != apns)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                    "accepted by Loa's account: %" PRIu64 " FCM, %" PRIu64
                    " APNs; seen by the providers: %" PRId64 ", %" PRId64,
                    fcm, apns, m->fcm.distinct, m->apns.distinct);
    else if (m->phones_seen != dev->connected || m->bad_signatures != 0)
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                    "%" PRId64 " of %d connected phones show the alert, %" PRId64
                    " found a wrong signature",
                    m->phones_seen, dev->connected, m->bad_signatures);
    else
        return true;
    return false;
}

/* --- output --- */

static void print_channels(const struct dev *dev, const struct measure *m)
{
    uint64_t mqtt = accepted_on(m, "mqtt");

    printf("  FCM   %8" PRIu64 " accepted; the simulator saw %" PRId64 " phones, %" PRId64
           " repeats\n",
           accepted_on(m, "fcm"), m->fcm.distinct, m->fcm.duplicates);
    printf("  APNs  %8" PRIu64 " accepted; the simulator saw %" PRId64 " phones, %" PRId64
           " repeats\n",
           accepted_on(m, "apns"), m->apns.distinct, m->apns.duplicates);
    printf("  MQTT  %8" PRIu64 " accepted: %s acknowledged the alert;\n"
           "                 %d of these phones are really connected: %" PRId64 " show it, %" PRId64
           " receipts confirmed\n",
           mqtt, dev->options.brokers == 1 ? "the broker has" : "all brokers have", dev->connected,
           m->phones_seen, m->phone_receipts);
}

void measure_print(const struct dev *dev, const struct measure *m)
{
    const struct totals t = total_of(m);

    printf("\n%" PRIu64 " devices targeted:", t.targeted);
    for (const char *const *name = outcome_names(); *name != NULL; name++) {
        uint64_t n = outcome_tally_name(&t.tally, *name);
        if (n > 0)
            printf(" %" PRIu64 " %s,", n, *name);
    }
    printf(" %" PRIu64 " to be retried, %" PRId64 " unaccounted for.\n", t.retry, t.unaccounted);
    print_channels(dev, m);
    printf("First push %.1f ms and last push %.0f ms after the release was committed: %.0f "
           "pushes/s,\n%.1f CPU seconds per million pushes, %.0f MiB at most per deliver process."
           "\n\n",
           t.first_ms, t.last_ms, t.per_s, t.cpu_per_million, m->rss_mb);
}

/* One digit behind the point is enough. */
static json_t *rounded(double value)
{
    return json_real((double)(int64_t)(value * 10 + (value < 0 ? -0.5 : 0.5)) / 10);
}

void measure_print_json(const struct dev *dev, const struct measure *m)
{
    const struct totals t = total_of(m);
    json_t *outcomes = json_object();

    for (const char *const *name = outcome_names(); *name != NULL; name++)
        json_object_set_new(outcomes, *name,
                            json_integer((json_int_t)outcome_tally_name(&t.tally, *name)));
    g_autoptr(json_t) line =
        json_pack("{s:i, s:I, s:o, s:I, s:I, s:{s:I, s:I, s:I}, s:i, s:I, s:o, s:o, s:o, s:o, s:o}",
                  "devices", dev->options.devices, "targeted", (json_int_t)t.targeted, "outcomes",
                  outcomes, "retry", (json_int_t)t.retry, "unaccounted", (json_int_t)t.unaccounted,
                  "seen", "fcm", (json_int_t)m->fcm.distinct, "apns", (json_int_t)m->apns.distinct,
                  "mqtt", (json_int_t)m->phones_seen, "mqtt_connected", dev->connected,
                  "duplicates", (json_int_t)t.duplicates, "first_push_ms", rounded(t.first_ms),
                  "last_push_ms", rounded(t.last_ms), "pushes_per_s", rounded(t.per_s),
                  "cpu_s_per_million", rounded(t.cpu_per_million), "rss_mb", rounded(m->rss_mb));
    g_autofree char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(12));
    puts(text);
    fflush(stdout);
}
