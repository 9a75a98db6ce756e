/* JSON log events on standard error, one per line, journald-friendly:
 * {"ts":"2026-11-23T01:02:03.456789Z","level":"info","event":"chunk_claimed","broadcast":7,…}
 * Event names are noun_pastverb. Never log personal data, tokens, secrets or message bodies. */
#ifndef LOA_BASE_LOG_H
#define LOA_BASE_LOG_H

#include <stdint.h>

#include "base/clock.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,  /* somebody should look in working hours */
    LOG_LEVEL_ERROR, /* something failed and its caller was told */
    LOG_LEVEL_ALERT, /* page the operator now */
};

enum log_type { LOG_TYPE_END, LOG_TYPE_INT, LOG_TYPE_STR, LOG_TYPE_BOOL, LOG_TYPE_DOUBLE };

struct log_field {
    const char *name;
    enum log_type type;
    int64_t i;
    double d;
    const char *s; /* borrowed; control bytes and invalid UTF-8 are escaped; cut at 512 bytes */
};

#define LOG_INT(n, v)    ((struct log_field){.name = (n), .type = LOG_TYPE_INT, .i = (int64_t)(v)})
#define LOG_STR(n, v)    ((struct log_field){.name = (n), .type = LOG_TYPE_STR, .s = (v)})
#define LOG_BOOL(n, v)   ((struct log_field){.name = (n), .type = LOG_TYPE_BOOL, .i = (v) ? 1 : 0})
#define LOG_DOUBLE(n, v) ((struct log_field){.name = (n), .type = LOG_TYPE_DOUBLE, .d = (v)})
#define LOG_END          ((struct log_field){.type = LOG_TYPE_END})

/* log_event(LOG_LEVEL_INFO, "chunk_claimed", LOG_INT("broadcast", id), LOG_STR("channel", "fcm"));
 */
#define log_event(level, event, ...)                                                               \
    log_write((level), (event), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ) LOG_END})

/* Role and process id are put on every line. Call once, before any thread starts. */
void log_init(const char *role, enum log_level minimum);
/* The role given to log_init ("loa" before it). Borrowed for ever. */
const char *log_role(void);
/* Thread safe; one write(2) per line; never fails, never blocks on a lock held across I/O. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* Receives every line instead of standard error; line ends with \n and is borrowed. Called on the
 * logging thread. For tests; set before threads start, NULL restores standard error. */
typedef void (*log_sink)(enum log_level level, const char *event, const char *line, void *user);
void log_set_sink(log_sink sink, void *user);

#endif
