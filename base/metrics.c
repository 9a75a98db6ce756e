/* The values of this process behind one mutex: a handful of adds per flight, so contention is no
 * question, and a pthread mutex is one that ThreadSanitizer understands. */
#include "base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

#define VALUES_MAX 64  /* per metric; the last one is "other" */
#define LABEL_MAX  128 /* bytes of a label's value */

enum metric_type { TYPE_counter, TYPE_gauge };

struct declaration {
    const char *name;
    enum metric_type type;
    const char *label; /* "", "a" or "a_b" */
    const char *help;
};

static const struct declaration declarations[METRIC_COUNT] = {
#define METRIC_ROW(id, name, type, label, help) {name, TYPE_##type, label, help},
    METRICS_TABLE(METRIC_ROW)
#undef METRIC_ROW
};

struct value {
    char *label;
    double value;
};

static struct {
    struct value values[VALUES_MAX];
    unsigned n;
} metrics[METRIC_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *other_label(const struct declaration *d)
{
    return strchr(d->label, '_') != NULL ? "other/other" : "other";
}

/* The slot of a label's value, made when missing; lock held. */
static struct value *slot(enum metric metric, const char *label, bool make)
{
    assert(metric < METRIC_COUNT);
    const struct declaration *d = &declarations[metric];
    if (label == NULL)
        label = "";
    assert((label[0] == '\0') == (d->label[0] == '\0'));
    unsigned n = metrics[metric].n;
    for (unsigned i = 0; i < n; i++) {
        if (strncmp(metrics[metric].values[i].label, label, LABEL_MAX) == 0)
            return &metrics[metric].values[i];
    }
    if (!make)
        return NULL;
    if (n == VALUES_MAX)
        return &metrics[metric].values[VALUES_MAX - 1];
    if (n == VALUES_MAX - 1)
        label = other_label(d);
    struct value *v = &metrics[metric].values[metrics[metric].n++];
    *v = (struct value){.label = g_strndup(label, LABEL_MAX)};
    return v;
}

void metric_add(enum metric metric, const char *label, double value)
{
    pthread_mutex_lock(&lock);
    slot(metric, label, true)->value += value;
    pthread_mutex_unlock(&lock);
}

void metric_set(enum metric metric, const char *label, double value)
{
    pthread_mutex_lock(&lock);
    slot(metric, label, true)->value = value;
    pthread_mutex_unlock(&lock);
}

double metric_get(enum metric metric, const char *label)
{
    pthread_mutex_lock(&lock);
    const struct value *v = slot(metric, label, false);
    double value = v == NULL ? 0 : v->value;
    pthread_mutex_unlock(&lock);
    return value;
}

static void append_escaped(GString *out, const char *s, size_t len)
{
    g_autofree char *valid = g_utf8_make_valid(s, (gssize)len);
    for (const char *c = valid; *c != '\0'; c++) {
        if (*c == '\n')
            g_string_append(out, "\\n");
        else if (*c == '"' || *c == '\\')
            g_string_append_printf(out, "\\%c", *c);
        else
            g_string_append_c(out, *c);
    }
}

static void append_label(GString *out, const char *name, size_t name_len, const char *value,
                         size_t value_len)
{
    g_string_append_len(out, name, (gssize)name_len);
    g_string_append(out, "=\"");
    append_escaped(out, value, value_len);
    g_string_append_c(out, '"');
}

/* {a="x",b="y"} from the label "a_b" and the value "x/y": the last slash divides, because a route
 * has slashes of its own. */
static void append_labels(GString *out, const char *label, const char *value)
{
    if (label[0] == '\0')
        return;
    const char *under = strchr(label, '_');
    const char *slash = under != NULL ? strrchr(value, '/') : NULL;
    g_string_append_c(out, '{');
    if (slash == NULL) {
        append_label(out, label, strlen(label), value, strlen(value));
    } else {
        append_label(out, label, (size_t)(under - label), value, (size_t)(slash - value));
        g_string_append_c(out, ',');
        append_label(out, under + 1, strlen(under + 1), slash + 1, strlen(slash + 1));
    }
    g_string_append_c(out, '}');
}

static void append_number(GString *out, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_printf(out, " %s\n", g_ascii_formatd(number, sizeof number, "%.15g", value));
}

static void append_head(GString *out, const char *name, const char *type, const char *help)
{
    g_string_append_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static const char *type_name(enum metric_type type)
{
    return type == TYPE_counter ? "counter" : "gauge";
}

static void append_metric(GString *out, enum metric metric)
{
    const struct declaration *d = &declarations[metric];
    append_head(out, d->name, type_name(d->type), d->help);
    if (d->label[0] == '\0') {
        const struct value *v = slot(metric, NULL, false);
        g_string_append(out, d->name);
        append_number(out, v == NULL ? 0 : v->value);
        return;
    }
    for (unsigned i = 0; i < metrics[metric].n; i++) {
        const struct value *v = &metrics[metric].values[i];
        g_string_append(out, d->name);
        append_labels(out, d->label, v->label);
        append_number(out, v->value);
    }
}

/* 0 when /proc is not there. */
static double resident_bytes(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/statm", &text, NULL, NULL))
        return 0;
    const char *second = strchr(text, ' ');
    return second == NULL
               ? 0
               : (double)g_ascii_strtoull(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / (double)USEC_PER_SEC;
}

char *metrics_text(void)
{
    GString *out = g_string_sized_new(4096);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < METRIC_COUNT; i++)
        append_metric(out, (enum metric)i);
    pthread_mutex_unlock(&lock);
    append_head(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes");
    g_string_append(out, "process_resident_memory_bytes");
    append_number(out, resident_bytes());
    append_head(out, "process_cpu_seconds_total", "counter", "User and system CPU time in seconds");
    g_string_append(out, "process_cpu_seconds_total");
    append_number(out, cpu_seconds());
    return g_string_free(out, FALSE);
}

char *metrics_markdown(void)
{
    GString *out = g_string_new("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct declaration *d = &declarations[i];
        const char *under = strchr(d->label, '_');
        g_string_append_printf(out, "| `%s` | %s | ", d->name, type_name(d->type));
        if (under != NULL)
            g_string_append_printf(out, "%.*s, %s", (int)(under - d->label), d->label, under + 1);
        else
            g_string_append(out, d->label);
        g_string_append_printf(out, " | %s |\n", d->help);
    }
    return g_string_free(out, FALSE);
}
