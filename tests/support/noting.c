/* See the header. */
#include "tests/support/noting.h"

static bool judge_note(struct script_channel *self, const struct push *push, struct verdict *out)
{
    (void)out;
    g_array_append_val((GArray *)self->user, push->broadcast_id);
    return true;
}

struct script_channel *noting_channel_new(const char *name)
{
    struct script_channel *script = script_channel_new(name);

    script->judge = judge_note;
    script->user = g_array_new(FALSE, FALSE, sizeof(int64_t));
    return script;
}

void noting_channel_free(struct script_channel *script)
{
    g_array_unref(script->user);
    script->channel.ops->free(&script->channel);
}

int noting_count(const struct script_channel *script)
{
    return (int)((const GArray *)script->user)->len;
}

static bool is_of(const struct script_channel *script, int place, int64_t id)
{
    return g_array_index((const GArray *)script->user, int64_t, (guint)place) == id;
}

int noting_first(const struct script_channel *script, int64_t id)
{
    for (int i = 0; i < noting_count(script); i++)
        if (is_of(script, i, id))
            return i;
    return -1;
}

int noting_last(const struct script_channel *script, int64_t id)
{
    int i = noting_count(script) - 1;

    while (i >= 0 && !is_of(script, i, id))
        i--;
    return i;
}

int noting_since(const struct script_channel *script, int64_t id, int place)
{
    int n = 0;

    for (int i = place; i < noting_count(script); i++)
        n += is_of(script, i, id);
    return n;
}

bool noting_sent_some(void *script)
{
    return ((struct script_channel *)script)->sent >= 100;
}

void noting_let_run(int64_t ms)
{
    int64_t end = g_get_monotonic_time() + ms * USEC_PER_MSEC;

    while (g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, false);
        g_usleep(200);
    }
}
