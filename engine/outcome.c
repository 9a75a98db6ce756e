/* Names and counts of outcome bytes; everything follows from OUTCOME_TABLE. */
#include "engine/outcome.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    const char *reason;
} rows[256] = {
#define OUTCOME_ROW(id, byte, name_, reason_) [byte] = {name_, reason_},
    OUTCOME_TABLE(OUTCOME_ROW)
#undef OUTCOME_ROW
};

const char *outcome_name(uint8_t byte)
{
    return byte == OUTCOME_RETRY ? "RETRY" : rows[byte].name;
}

const char *outcome_reason(uint8_t byte)
{
    return rows[byte].reason != NULL ? rows[byte].reason : "";
}

void outcome_tally_add(struct outcome_tally *tally, const uint8_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tally->by_byte[codes[i]]++;
}

uint64_t outcome_tally_name(const struct outcome_tally *tally, const char *name)
{
    uint64_t sum = 0;

    for (size_t byte = 0; byte < 256; byte++)
        if (rows[byte].name != NULL && strcmp(rows[byte].name, name) == 0)
            sum += tally->by_byte[byte];
    return sum;
}

uint64_t outcome_tally_final(const struct outcome_tally *tally)
{
    uint64_t sum = 0;

    for (size_t byte = 0; byte < 256; byte++)
        if (rows[byte].name != NULL)
            sum += tally->by_byte[byte];
    return sum;
}

const char *const *outcome_names(void)
{
    static const char *const names[] = {"ACCEPTED",        "DEAD_TOKEN",   "REJECTED_PAYLOAD",
                                        "REJECTED_CONFIG", "UNKNOWN_SENT", "EXPIRED",
                                        "SUPPRESSED",      "CANCELLED",    NULL};
    return names;
}
