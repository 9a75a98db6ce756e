/* A piece of somebody else's bytes: not terminated, not owned. */
#ifndef LOA_SIM_TEXT_H
#define LOA_SIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text {
    const char *at; /* borrowed from whoever made it; NULL = absent */
    size_t len;
};

#define TEXT_LITERAL(s) ((struct text){(s), sizeof(s) - 1})

static inline bool text_equal(struct text a, struct text b)
{
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static inline bool text_is(struct text a, const char *word)
{
    return a.at != NULL && a.len == strlen(word) && memcmp(a.at, word, a.len) == 0;
}

static inline bool text_has_prefix(struct text a, const char *prefix)
{
    size_t len = strlen(prefix);

    return a.at != NULL && a.len >= len && memcmp(a.at, prefix, len) == 0;
}

#endif
