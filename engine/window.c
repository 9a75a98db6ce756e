/* See the header. Positive feedback 1 per answer, negative 1/4 per failure. */
#include "engine/window.h"

#define NEGATIVE_FEEDBACK 0.25

void window_init(struct window *window, unsigned max)
{
    window->max = max < 1 ? 1 : max;
    window->size = max < WINDOW_INITIAL ? (double)window->max : WINDOW_INITIAL;
    window->failure = 0;
}

unsigned window_limit(const struct window *window)
{
    return (unsigned)window->size;
}

void window_good(struct window *window, unsigned in_flight)
{
    if ((double)in_flight + WINDOW_INITIAL < window->size)
        return; /* not really used: no evidence that more would be taken */
    window->failure = 0;
    if (window->size < (double)window->max)
        window->size += 1;
}

void window_bad(struct window *window)
{
    window->failure -= NEGATIVE_FEEDBACK;
    while (window->failure < 0 && window->size > 1) {
        window->size -= 1;
        window->failure += 1;
    }
}
