/* One JSON object per line, built in memory and written with one write(2): lines of several
 * threads and processes never mix, and no lock is held while writing. The process-wide state (role,
 * minimum, sink) is set before threads start and only read afterwards. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

#define STRING_MAX     512  /* bytes of one value, before escaping */
#define LINE_BYTES_MAX 8192 /* later fields of a longer line are left out, and the line says so */
#define ROLE_MAX       32

static struct {
    char role[ROLE_MAX];
    enum log_level minimum;
    log_sink sink;
    void *sink_user;
} state = {.role = "loa", .minimum = LOG_LEVEL_INFO};

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_ALERT] = "alert",
};

void log_init(const char *role, enum log_level minimum)
{
    g_strlcpy(state.role, role, sizeof state.role);
    state.minimum = minimum;
}

const char *log_role(void)
{
    return state.role;
}

void log_set_sink(log_sink sink, void *user)
{
    state.sink = sink;
    state.sink_user = user;
}

/* One JSON string. A byte that is not UTF-8 becomes U+FFFD: the reader sees that something was
 * there, and the line stays valid JSON. */
static void append_string(GString *line, const char *s)
{
    size_t len = strnlen(s, STRING_MAX + 1);
    bool cut = len > STRING_MAX;
    const char *end = s + MIN(len, (size_t)STRING_MAX);
    g_string_append_c(line, '"');
    while (s < end) {
        gunichar c = g_utf8_get_char_validated(s, end - s);
        if (c == (gunichar)-2 && cut)
            break; /* the cut went through a character */
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append(line, "\\ufffd");
            s++;
            continue;
        }
        if (c == '"' || c == '\\')
            g_string_append_printf(line, "\\%c", (int)c);
        else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
            g_string_append_printf(line, "\\u%04x", (unsigned)c);
        else
            g_string_append_unichar(line, c);
        s = g_utf8_next_char(s);
    }
    g_string_append(line, cut ? "…\"" : "\"");
}

static void append_field(GString *line, const struct log_field *field)
{
    g_string_append_c(line, ',');
    append_string(line, field->name);
    g_string_append_c(line, ':');
    switch (field->type) {
    case LOG_TYPE_INT:
        g_string_append_printf(line, "%" G_GINT64_FORMAT, (gint64)field->i);
        break;
    case LOG_TYPE_BOOL:
        g_string_append(line, field->i ? "true" : "false");
        break;
    case LOG_TYPE_DOUBLE: {
        char number[G_ASCII_DTOSTR_BUF_SIZE];
        /* JSON has no word for them. */
        g_string_append(line, isfinite(field->d)
                                  ? g_ascii_formatd(number, sizeof number, "%.6g", field->d)
                                  : "null");
        break;
    }
    case LOG_TYPE_STR:
        if (field->s == NULL)
            g_string_append(line, "null");
        else
            append_string(line, field->s);
        break;
    case LOG_TYPE_END:
        break;
    }
}

static void append_time(GString *line)
{
    int64_t now = clock_system()->utc_us(clock_system());
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    struct tm tm;
    char text[32] = "";
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    g_string_append_printf(line, "{\"ts\":\"%s.%06dZ\"", text, (int)(now % USEC_PER_SEC));
}

static void write_line(const GString *line)
{
    size_t done = 0;
    while (done < line->len) {
        ssize_t n = write(STDERR_FILENO, line->str + done, line->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere to complain */
        done += (size_t)n;
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    assert(level <= LOG_LEVEL_ALERT);
    if (level < state.minimum)
        return;
    int saved_errno = errno;
    GString *line = g_string_sized_new(512);
    append_time(line);
    g_string_append_printf(line, ",\"level\":\"%s\",\"event\":", level_names[level]);
    append_string(line, event);
    g_string_append(line, ",\"role\":");
    append_string(line, state.role);
    g_string_append_printf(line, ",\"pid\":%d", (int)getpid());
    for (; fields->type != LOG_TYPE_END; fields++) {
        size_t before = line->len;
        append_field(line, fields);
        if (line->len > LINE_BYTES_MAX) {
            g_string_truncate(line, before);
            g_string_append(line, ",\"cut\":true");
            break;
        }
    }
    g_string_append(line, "}\n");
    if (state.sink != NULL)
        state.sink(level, event, line->str, state.sink_user);
    else
        write_line(line);
    g_string_free(line, TRUE);
    errno = saved_errno;
}
