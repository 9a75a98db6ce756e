#include "tests/support/testwait.h"

#include <glib.h>

#define LOOK_MS 5

static gboolean wake(gpointer user)
{
    (void)user;
    return G_SOURCE_CONTINUE;
}

bool test_wait_until(bool (*done)(void *user), void *user, int timeout_ms)
{
    GMainContext *context = g_main_context_ref_thread_default();
    GSource *ticks = g_timeout_source_new(LOOK_MS);
    g_source_set_callback(ticks, wake, NULL, NULL);
    g_source_attach(ticks, context);
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    bool is_done = done(user);
    while (!is_done && g_get_monotonic_time() < deadline) {
        g_main_context_iteration(context, TRUE);
        is_done = done(user);
    }
    g_source_destroy(ticks);
    g_source_unref(ticks);
    g_main_context_unref(context);
    return is_done;
}
