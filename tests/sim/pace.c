/* One entry per step in which something arrived; half of a full list is dropped at once. */
#include "tests/sim/pace.h"

struct pace_step {
    int64_t utc_us;
    uint64_t seq;
};

void pace_init(struct pace *pace)
{
    pace->steps = g_array_new(FALSE, FALSE, sizeof(struct pace_step));
}

void pace_clear(struct pace *pace)
{
    g_array_unref(pace->steps);
}

void pace_note(struct pace *pace, int64_t now_us, uint64_t seq)
{
    struct pace_step step = {now_us, seq};
    guint len = pace->steps->len;

    if (len > 0 &&
        g_array_index(pace->steps, struct pace_step, len - 1).utc_us + PACE_STEP_US > now_us)
        return;
    if (len == PACE_MAX)
        g_array_remove_range(pace->steps, 0, PACE_MAX / 2);
    g_array_append_val(pace->steps, step);
}

uint64_t pace_at(const struct pace *pace, int64_t utc_us)
{
    guint low = 0, high = pace->steps->len; /* the first step after utc_us lies in low … high */

    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (g_array_index(pace->steps, struct pace_step, middle).utc_us <= utc_us)
            low = middle + 1;
        else
            high = middle;
    }
    /* What came within the step is not told apart: the next step begins after it. */
    return low == 0 ? 0 : g_array_index(pace->steps, struct pace_step, low - 1).seq;
}
