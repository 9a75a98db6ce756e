/* An epoll loop with timers, for one thread. */
#ifndef LOA_SIM_LOOP_H
#define LOA_SIM_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/clock.h"

/* Embed one per descriptor; it must outlive its time in the loop. */
struct watch {
    int fd;
    uint32_t events; /* EPOLLIN … asked for; 0 = not in the loop */
    void (*ready)(struct watch *watch, uint32_t events);
};

/* Embed one per wait. */
struct timer {
    int64_t due_us; /* monotonic */
    void (*fire)(struct timer *timer);
    uint32_t place; /* in the heap, from 1; 0 = not set */
};

struct loop;
struct loop *loop_new(const struct clock *clock, GError **error);
void loop_free(struct loop *loop);
LOA_AUTO_DEFINE(loop, loop_free)

/* Asks for events (level triggered); 0 takes the descriptor out. */
void loop_watch(struct loop *loop, struct watch *watch, uint32_t events);
/* Calls ready(watch, 0) once more before the loop sleeps: for bytes a TLS layer has already read.
 */
void loop_again(struct loop *loop, struct watch *watch);
/* Fires once, after delay_us. */
void loop_timer_set(struct loop *loop, struct timer *timer, int64_t delay_us);
void loop_timer_cancel(struct loop *loop, struct timer *timer);
/* Calls free_function(user) when the current callbacks have returned. */
void loop_defer_free(struct loop *loop, void *user, GDestroyNotify free_function);
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
