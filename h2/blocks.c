/* The last block freed is the first one taken: it is warm in the cache. As many blocks are kept as
 * were in use at once, which the limit of open streams bounds. */
#include "h2/blocks.h"

#include <stdalign.h>
#include <string.h>

#include <glib.h>

struct block {
    alignas(16) size_t kind; /* size / BLOCK_STEP; 0 = larger than BLOCK_KINDS * BLOCK_STEP */
    struct block *next;      /* spare */
    alignas(16) char memory[];
};

static struct block *block_of(void *memory)
{
    return (struct block *)((char *)memory - offsetof(struct block, memory));
}

void *blocks_alloc(struct blocks *blocks, size_t size)
{
    size_t kind = size == 0 ? 1 : (size - 1) / BLOCK_STEP + 1;
    struct block *block;

    if (kind > BLOCK_KINDS) {
        block = g_malloc(offsetof(struct block, memory) + size);
        block->kind = 0;
        return block->memory;
    }
    block = blocks->spare[kind];
    if (block != NULL) {
        blocks->spare[kind] = block->next;
        return block->memory;
    }
    block = g_malloc(offsetof(struct block, memory) + kind * BLOCK_STEP);
    block->kind = kind;
    return block->memory;
}

void *blocks_alloc_zeroed(struct blocks *blocks, size_t n, size_t size)
{
    size_t all = 0;
    void *memory;

    if (!g_size_checked_mul(&all, n, size))
        g_error("out of memory");
    memory = blocks_alloc(blocks, all);
    memset(memory, 0, all);
    return memory;
}

void *blocks_resize(struct blocks *blocks, void *memory, size_t size)
{
    struct block *block;
    void *larger;

    if (memory == NULL)
        return blocks_alloc(blocks, size);
    block = block_of(memory);
    if (block->kind == 0) {
        block = g_realloc(block, offsetof(struct block, memory) + size);
        return block->memory;
    }
    if (size <= block->kind * BLOCK_STEP)
        return memory;
    larger = blocks_alloc(blocks, size);
    memcpy(larger, memory, block->kind * BLOCK_STEP);
    blocks_free(blocks, memory);
    return larger;
}

void blocks_free(struct blocks *blocks, void *memory)
{
    struct block *block;

    if (memory == NULL)
        return;
    block = block_of(memory);
    if (block->kind == 0) {
        g_free(block);
        return;
    }
    block->next = blocks->spare[block->kind];
    blocks->spare[block->kind] = block;
}

void blocks_clear(struct blocks *blocks)
{
    for (size_t kind = 0; kind <= BLOCK_KINDS; kind++)
        while (blocks->spare[kind] != NULL) {
            struct block *block = blocks->spare[kind];
            blocks->spare[kind] = block->next;
            g_free(block);
        }
}
