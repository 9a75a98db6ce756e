/* Timers are a binary heap whose items know their place, so that a closed stream can take its own
 * out. What a callback frees is freed after the round: another event of the same round may still
 * point to it. */
#include "tests/sim/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"

#define EVENTS_PER_ROUND 64

struct doomed {
    void *user;
    GDestroyNotify free_function;
};

struct loop {
    const struct clock *clock;
    int epoll_fd;
    GPtrArray *timers; /* heap of struct timer; place = index + 1 */
    GPtrArray *again;  /* struct watch */
    GArray *doomed;
    bool stopped;
};

struct loop *loop_new(const struct clock *clock, GError **error)
{
    struct loop *loop;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "epoll_create1: %s", g_strerror(errno));
        return NULL;
    }
    loop = g_new0(struct loop, 1);
    loop->clock = clock;
    loop->epoll_fd = fd;
    loop->timers = g_ptr_array_new();
    loop->again = g_ptr_array_new();
    loop->doomed = g_array_new(FALSE, FALSE, sizeof(struct doomed));
    return loop;
}

static void free_doomed(struct loop *loop)
{
    for (guint i = 0; i < loop->doomed->len; i++) {
        const struct doomed item = g_array_index(loop->doomed, struct doomed, i);
        item.free_function(item.user);
    }
    g_array_set_size(loop->doomed, 0);
}

void loop_free(struct loop *loop)
{
    free_doomed(loop);
    g_ptr_array_free(loop->timers, TRUE);
    g_ptr_array_free(loop->again, TRUE);
    g_array_free(loop->doomed, TRUE);
    close(loop->epoll_fd);
    g_free(loop);
}

void loop_watch(struct loop *loop, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int op = watch->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

    if (events == watch->events)
        return;
    if (epoll_ctl(loop->epoll_fd, op, watch->fd, &event) != 0)
        g_error("epoll_ctl: %s", g_strerror(errno));
    watch->events = events;
    if (events == 0)
        g_ptr_array_remove_fast(loop->again, watch);
}

void loop_again(struct loop *loop, struct watch *watch)
{
    if (!g_ptr_array_find(loop->again, watch, NULL))
        g_ptr_array_add(loop->again, watch);
}

/* ---- timers ---- */

static struct timer *timer_at(const struct loop *loop, guint place)
{
    return g_ptr_array_index(loop->timers, place - 1);
}

static void timer_put(struct loop *loop, struct timer *timer, guint place)
{
    g_ptr_array_index(loop->timers, place - 1) = timer;
    timer->place = place;
}

/* Moves the timer at place to where it belongs. */
static void timer_settle(struct loop *loop, guint place)
{
    struct timer *timer = timer_at(loop, place);
    guint child;

    for (; place > 1 && timer->due_us < timer_at(loop, place / 2)->due_us; place /= 2)
        timer_put(loop, timer_at(loop, place / 2), place);
    for (; (child = place * 2) <= loop->timers->len; place = child) {
        if (child < loop->timers->len &&
            timer_at(loop, child + 1)->due_us < timer_at(loop, child)->due_us)
            child++;
        if (timer->due_us <= timer_at(loop, child)->due_us)
            break;
        timer_put(loop, timer_at(loop, child), place);
    }
    timer_put(loop, timer, place);
}

void loop_timer_set(struct loop *loop, struct timer *timer, int64_t delay_us)
{
    loop_timer_cancel(loop, timer);
    timer->due_us = loop->clock->mono_us(loop->clock) + delay_us;
    g_ptr_array_add(loop->timers, timer);
    timer->place = loop->timers->len;
    timer_settle(loop, timer->place);
}

void loop_timer_cancel(struct loop *loop, struct timer *timer)
{
    guint place = timer->place;
    struct timer *last;

    if (place == 0)
        return;
    timer->place = 0;
    last = timer_at(loop, loop->timers->len);
    g_ptr_array_set_size(loop->timers, (gint)loop->timers->len - 1);
    if (last != timer) {
        timer_put(loop, last, place);
        timer_settle(loop, place);
    }
}

static void fire_timers(struct loop *loop)
{
    int64_t now_us = loop->timers->len > 0 ? loop->clock->mono_us(loop->clock) : 0;

    while (loop->timers->len > 0 && timer_at(loop, 1)->due_us <= now_us) {
        struct timer *timer = timer_at(loop, 1);
        loop_timer_cancel(loop, timer);
        timer->fire(timer);
    }
}

void loop_defer_free(struct loop *loop, void *user, GDestroyNotify free_function)
{
    const struct doomed item = {user, free_function};

    g_array_append_val(loop->doomed, item);
}

/* Milliseconds to sleep, rounded up so that a timer is due when the loop wakes. */
static int sleep_ms(const struct loop *loop)
{
    int64_t left_us;

    if (loop->again->len > 0)
        return 0;
    if (loop->timers->len == 0)
        return -1;
    left_us = timer_at(loop, 1)->due_us - loop->clock->mono_us(loop->clock);
    return (int)CLAMP((left_us + USEC_PER_MSEC - 1) / USEC_PER_MSEC, 0, 60000);
}

void loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_PER_ROUND];

    loop->stopped = false;
    while (!loop->stopped) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_ROUND, sleep_ms(loop));
        g_autoptr(GPtrArray) again = NULL;

        if (loop->again->len > 0) {
            again = g_steal_pointer(&loop->again);
            loop->again = g_ptr_array_new();
        }
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            if (watch->events != 0)
                watch->ready(watch, events[i].events);
        }
        for (guint i = 0; again != NULL && i < again->len; i++) {
            struct watch *watch = g_ptr_array_index(again, i);
            if (watch->events != 0)
                watch->ready(watch, 0);
        }
        fire_timers(loop);
        free_doomed(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}
