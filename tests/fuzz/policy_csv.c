/* lib: loa_feedback */
/* The legal constants: a file that is taken has a rule of sane numbers wherever it has one. */
#include <stdint.h>
#include <stdlib.h>

#include "feedback/day.h"
#include "feedback/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    loa_auto(policy) policy = policy_parse((const char *)data, size, &error);

    if ((policy == NULL) != (error != NULL))
        abort();
    for (int kind = 0; policy != NULL && kind < DEADLINE_KINDS; kind++) {
        g_autoptr(GError) none = NULL;
        const struct policy_rule *rule =
            policy_find(policy, (enum deadline_kind)kind, day_from_date(2026, 11, 24), &none);
        if ((rule == NULL) != (none != NULL))
            abort();
        if (rule != NULL && (rule->amount < 1 || rule->urgent_target_min < 0 ||
                             rule->to < rule->from || rule->citation[0] == '\0'))
            abort();
    }
    return 0;
}
