/* One mutex guards the list of connections. It is held while a socket is written or shut down, so
 * http_watch_remove, which the library calls before it closes the descriptor, waits for that. */
#include "base/http_watch.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_problem.h"
#include "base/metrics.h"

#define LINGER_S 2

enum watched_state {
    WATCHED_IDLE,      /* no request line yet → RECEIVING, CUT */
    WATCHED_RECEIVING, /* head or body on the way → ANSWERING, CUT */
    WATCHED_ANSWERING, /* with the handler or being written; the idle limit holds → IDLE */
    WATCHED_CUT,       /* answered by the watch; waiting for the client to close */
};

struct http_watched {
    struct http_watch *watch;
    struct http_watched *prev, *next;
    int fd;
    bool counted; /* in watch->active */
    enum watched_state state;
    int64_t due_us; /* INT64_MAX = none */
};

struct http_watch {
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* the scanning thread */
    pthread_cond_t idle; /* active has become 0 */
    pthread_t thread;
    bool has_thread;
    bool stop;
    unsigned idle_s, request_s;
    struct http_watched *head;
    unsigned active;
    int64_t scan_us; /* no deadline is before this */
};

static int64_t now_us(void)
{
    return clock_system()->mono_us(clock_system());
}

struct http_watch *http_watch_new(unsigned idle_s, unsigned request_s)
{
    struct http_watch *watch = g_new0(struct http_watch, 1);
    pthread_condattr_t attr;
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->wake, &attr);
    pthread_cond_init(&watch->idle, &attr);
    pthread_condattr_destroy(&attr);
    watch->idle_s = idle_s;
    watch->request_s = request_s;
    watch->scan_us = INT64_MAX;
    return watch;
}

void http_watch_free(struct http_watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->stop = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->mutex);
    if (watch->has_thread)
        pthread_join(watch->thread, NULL);
    assert(watch->head == NULL);
    pthread_cond_destroy(&watch->wake);
    pthread_cond_destroy(&watch->idle);
    pthread_mutex_destroy(&watch->mutex);
    g_free(watch);
}

/* Under the mutex. */
static void set_due(struct http_watched *watched, enum watched_state state, unsigned seconds)
{
    struct http_watch *watch = watched->watch;
    watched->state = state;
    watched->due_us = seconds == 0 ? INT64_MAX : now_us() + seconds * USEC_PER_SEC;
    if (watched->due_us < watch->scan_us) {
        watch->scan_us = watched->due_us;
        pthread_cond_signal(&watch->wake);
    }
}

struct http_watched *http_watch_add(struct http_watch *watch, int fd)
{
    struct http_watched *watched = g_new0(struct http_watched, 1);
    watched->watch = watch;
    watched->fd = fd;
    pthread_mutex_lock(&watch->mutex);
    watched->next = watch->head;
    if (watch->head != NULL)
        watch->head->prev = watched;
    watch->head = watched;
    set_due(watched, WATCHED_IDLE, watch->idle_s + watch->request_s);
    pthread_mutex_unlock(&watch->mutex);
    return watched;
}

void http_watch_remove(struct http_watched *watched)
{
    struct http_watch *watch = watched->watch;
    pthread_mutex_lock(&watch->mutex);
    if (watched->prev != NULL)
        watched->prev->next = watched->next;
    else
        watch->head = watched->next;
    if (watched->next != NULL)
        watched->next->prev = watched->prev;
    pthread_mutex_unlock(&watch->mutex);
    g_free(watched);
}

void http_watch_begin(struct http_watched *watched)
{
    struct http_watch *watch = watched->watch;
    pthread_mutex_lock(&watch->mutex);
    if (watched->state != WATCHED_CUT)
        set_due(watched, WATCHED_RECEIVING, watch->request_s);
    pthread_mutex_unlock(&watch->mutex);
}

bool http_watch_received(struct http_watched *watched)
{
    struct http_watch *watch = watched->watch;
    pthread_mutex_lock(&watch->mutex);
    bool in_time = watched->state != WATCHED_CUT;
    if (in_time) {
        assert(!watched->counted);
        watched->counted = true;
        watch->active++;
        set_due(watched, WATCHED_ANSWERING, 0);
    }
    pthread_mutex_unlock(&watch->mutex);
    return in_time;
}

void http_watch_end(struct http_watched *watched)
{
    struct http_watch *watch = watched->watch;
    pthread_mutex_lock(&watch->mutex);
    if (watched->counted && --watch->active == 0)
        pthread_cond_broadcast(&watch->idle);
    watched->counted = false;
    if (watched->state != WATCHED_CUT)
        set_due(watched, WATCHED_IDLE, watch->idle_s + watch->request_s);
    pthread_mutex_unlock(&watch->mutex);
}

/* Under the mutex. The answer is a few hundred bytes on a socket that has sent nothing yet: it
 * fits, or the client is not listening. */
static void answer(struct http_watched *watched, enum http_verdict verdict)
{
    const struct http_verdict_text *text = http_verdict_text(verdict);
    g_autofree char *wire = http_problem_wire(text->status, text->type, text->title, text->detail);
    (void)!send(watched->fd, wire, strlen(wire), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(watched->fd, SHUT_WR);
    set_due(watched, WATCHED_CUT, LINGER_S);
    metric_add(METRIC_HTTP_REFUSED, text->type, 1);
}

void http_watch_refuse(struct http_watched *watched, enum http_verdict verdict)
{
    pthread_mutex_lock(&watched->watch->mutex);
    if (watched->state != WATCHED_CUT)
        answer(watched, verdict);
    pthread_mutex_unlock(&watched->watch->mutex);
}

/* Under the mutex. */
static void cut(struct http_watched *watched)
{
    if (watched->state == WATCHED_RECEIVING) {
        answer(watched, HTTP_VERDICT_TIMEOUT);
        return;
    }
    shutdown(watched->fd, SHUT_RDWR);
    watched->due_us = INT64_MAX; /* the library closes it now */
    watched->state = WATCHED_CUT;
}

int64_t http_watch_scan(struct http_watch *watch, int64_t mono_us)
{
    pthread_mutex_lock(&watch->mutex);
    int64_t next = INT64_MAX;
    for (struct http_watched *w = watch->head; w != NULL; w = w->next) {
        if (w->due_us <= mono_us)
            cut(w);
        next = MIN(next, w->due_us);
    }
    watch->scan_us = next;
    pthread_mutex_unlock(&watch->mutex);
    return next;
}

int64_t http_watch_due(struct http_watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    int64_t due = watch->scan_us;
    pthread_mutex_unlock(&watch->mutex);
    return due;
}

static struct timespec timespec_of(int64_t mono_us)
{
    return (struct timespec){.tv_sec = mono_us / USEC_PER_SEC,
                             .tv_nsec = mono_us % USEC_PER_SEC * 1000};
}

static void *scan_for_ever(void *user)
{
    struct http_watch *watch = user;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->stop) {
        if (watch->scan_us <= now_us()) {
            pthread_mutex_unlock(&watch->mutex);
            http_watch_scan(watch, now_us());
            pthread_mutex_lock(&watch->mutex);
        } else if (watch->scan_us == INT64_MAX) {
            pthread_cond_wait(&watch->wake, &watch->mutex);
        } else {
            struct timespec until = timespec_of(watch->scan_us);
            pthread_cond_timedwait(&watch->wake, &watch->mutex, &until);
        }
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

bool http_watch_thread_start(struct http_watch *watch, GError **error)
{
    if (pthread_create(&watch->thread, NULL, scan_for_ever, watch) == 0) {
        watch->has_thread = true;
        return true;
    }
    g_set_error_literal(error, LOA_ERROR, LOA_ERROR_LIMIT, "no thread for the HTTP server");
    return false;
}

unsigned http_watch_active(struct http_watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    unsigned active = watch->active;
    pthread_mutex_unlock(&watch->mutex);
    return active;
}

void http_watch_wait_idle(struct http_watch *watch, int64_t until_us)
{
    struct timespec until = timespec_of(until_us);
    pthread_mutex_lock(&watch->mutex);
    while (watch->active > 0 && pthread_cond_timedwait(&watch->idle, &watch->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&watch->mutex);
}
