/* How many requests may be open on one connection: Postfix's concurrency feedback
 * (SCHEDULER_README): growth by one per answer while the window is really used, reduction by a
 * quarter per failure, so that overload is corrected at once and one bad back-end behind a load
 * balancer does not close the window. */
#ifndef LOA_ENGINE_WINDOW_H
#define LOA_ENGINE_WINDOW_H

struct window {
    double size;    /* 1 … max */
    double failure; /* credit left before the next reduction */
    unsigned max;
};

#define WINDOW_INITIAL 32

void window_init(struct window *window, unsigned max);
/* Requests that may be open now. */
unsigned window_limit(const struct window *window);
/* The provider answered for this device (accepted, dead token, …). */
void window_good(struct window *window, unsigned in_flight);
/* Overload, time-out, lost connection. */
void window_bad(struct window *window);

#endif
