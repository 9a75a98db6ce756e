/* See the header. Lines come from any thread; declarations from the test's own. */
#include "tests/support/testlog.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <glib.h>

#include "base/log.h"

#define DECLARED_MAX 16
#define LINES_MAX    20000 /* later ones are counted no more */

struct line {
    enum log_level level;
    char *event;
    char *text;
};

static struct {
    const char *event;
    bool required;
} declared[DECLARED_MAX];
static unsigned declared_count;
static GPtrArray *lines;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void line_free(void *p)
{
    struct line *line = p;
    g_free(line->event);
    g_free(line->text);
    g_free(line);
}

static void take(enum log_level level, const char *event, const char *text, void *user)
{
    (void)user;
    pthread_mutex_lock(&lock);
    if (lines->len < LINES_MAX) {
        struct line *line = g_new0(struct line, 1);
        *line = (struct line){level, g_strdup(event), g_strdup(text)};
        g_ptr_array_add(lines, line);
    }
    pthread_mutex_unlock(&lock);
}

int testlog_setup(void **state)
{
    (void)state;
    if (lines == NULL)
        lines = g_ptr_array_new_with_free_func(line_free);
    pthread_mutex_lock(&lock);
    g_ptr_array_set_size(lines, 0);
    pthread_mutex_unlock(&lock);
    declared_count = 0;
    log_init("test", LOG_LEVEL_DEBUG);
    log_set_sink(take, NULL);
    return 0;
}

static void declare(const char *event, bool required)
{
    g_assert(declared_count < DECLARED_MAX);
    declared[declared_count].event = event;
    declared[declared_count++].required = required;
}

void testlog_expect(const char *event)
{
    declare(event, true);
}

void testlog_allow(const char *event)
{
    declare(event, false);
}

unsigned testlog_count(const char *event)
{
    unsigned n = 0;
    pthread_mutex_lock(&lock);
    for (guint i = 0; i < lines->len; i++) {
        const struct line *line = lines->pdata[i];
        n += strcmp(line->event, event) == 0 ? 1 : 0;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

char *testlog_last(const char *event)
{
    char *text = NULL;
    pthread_mutex_lock(&lock);
    for (guint i = lines->len; i > 0 && text == NULL; i--) {
        const struct line *line = lines->pdata[i - 1];
        if (strcmp(line->event, event) == 0)
            text = g_strdup(line->text);
    }
    pthread_mutex_unlock(&lock);
    return text;
}

static bool is_declared(const char *event)
{
    for (unsigned i = 0; i < declared_count; i++) {
        if (strcmp(declared[i].event, event) == 0)
            return true;
    }
    return false;
}

int testlog_teardown(void **state)
{
    (void)state;
    int rc = 0;
    log_set_sink(NULL, NULL);
    for (guint i = 0; i < lines->len; i++) {
        const struct line *line = lines->pdata[i];
        if (line->level < LOG_LEVEL_WARN || is_declared(line->event))
            continue;
        fprintf(stderr, "unexpected log event: %s", line->text);
        rc = -1;
    }
    for (unsigned i = 0; i < declared_count; i++) {
        if (!declared[i].required || testlog_count(declared[i].event) > 0)
            continue;
        fprintf(stderr, "expected log event did not come: %s\n", declared[i].event);
        rc = -1;
    }
    g_clear_pointer(&lines, g_ptr_array_unref);
    return rc;
}
