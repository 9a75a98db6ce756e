/* Memory for nghttp2, which asks for five small blocks per request and gives them back with the
 * answer: freed blocks wait, by size, for the next request. Only for h2/session.c. */
#ifndef LOA_H2_BLOCKS_H
#define LOA_H2_BLOCKS_H

#include <stddef.h>

#define BLOCK_STEP  64 /* a block's size is a multiple of it */
#define BLOCK_KINDS 16 /* larger ones come from and go to malloc */

struct block;

struct blocks {
    struct block *spare[BLOCK_KINDS + 1]; /* by size / BLOCK_STEP; [0] stays empty */
};

/* Nothing is held at first: a zeroed struct is ready for use. As malloc and its kin, with 16 bytes
 * of alignment; they end the process when there is no memory. */
void *blocks_alloc(struct blocks *blocks, size_t size);
void *blocks_alloc_zeroed(struct blocks *blocks, size_t n, size_t size);
void *blocks_resize(struct blocks *blocks, void *memory, size_t size);
void blocks_free(struct blocks *blocks, void *memory);
/* Frees what is spare. All blocks were given back before. */
void blocks_clear(struct blocks *blocks);

#endif
