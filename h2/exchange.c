/* The life of a request: four queues, linked through the exchange itself. */
#include "h2/exchange.h"

#include <assert.h>
#include <string.h>

#define BUFFERS_KEPT 32 /* answers usually come and go one by one */

void exchanges_init(struct exchanges *all, size_t copy_max)
{
    *all = (struct exchanges){.copy_max = copy_max};
    g_queue_init(&all->open);
    g_queue_init(&all->settled);
    g_queue_init(&all->lingering);
    g_queue_init(&all->spare);
    all->buffers = g_ptr_array_new_with_free_func(g_free);
}

void exchanges_clear(struct exchanges *all)
{
    GList *link;

    assert(all->open.length == 0 && all->settled.length == 0 && all->lingering.length == 0);
    while ((link = g_queue_pop_head_link(&all->spare)) != NULL)
        g_free(link->data);
    g_ptr_array_unref(all->buffers);
}

struct exchange *exchange_take(struct exchanges *all, const struct h2_request *request)
{
    GList *link = g_queue_pop_head_link(&all->spare);
    struct exchange *x =
        link != NULL ? link->data : g_malloc(sizeof(struct exchange) + all->copy_max);

    *x = (struct exchange){.link.data = x,
                           .headers_at = EXCHANGE_UNSERIALISED,
                           .n_pieces = request->n_pieces,
                           .done = request->done,
                           .owner = request->owner,
                           .item = request->item};
    assert(request->n_pieces <= H2_PIECES_MAX);
    for (unsigned i = 0; i < request->n_pieces; i++) {
        x->body[i] = request->body[i];
        x->body_left += request->body[i].len;
    }
    x->answer = (struct h2_answer){
        .body = "", .reason = "", .retry_after = x->retry_after, .tag = request->tag};
    return x;
}

const char *exchange_copy(struct exchanges *all, struct exchange *x, const char *data, size_t len)
{
    char *at = x->copy + x->copied;

    if (len > all->copy_max - x->copied)
        return NULL;
    memcpy(at, data, len);
    x->copied += len;
    return at;
}

void exchange_answer_append(struct exchanges *all, struct exchange *x, const void *data, size_t len)
{
    size_t have = x->answer.body_len;

    if (x->buffer == NULL) {
        if (all->buffers->len > 0)
            x->buffer = g_ptr_array_steal_index_fast(all->buffers, all->buffers->len - 1);
        else
            x->buffer = g_malloc(H2_ANSWER_BODY_MAX + 1);
        x->answer.body = x->buffer;
    }
    len = MIN(len, H2_ANSWER_BODY_MAX - have);
    memcpy(x->buffer + have, data, len);
    x->answer.body_len = have + len;
    x->buffer[have + len] = '\0';
}

void exchange_open(struct exchanges *all, struct exchange *x)
{
    x->state = EXCHANGE_OPEN;
    g_queue_push_tail_link(&all->open, &x->link);
}

void exchange_settle(struct exchanges *all, struct exchange *x, enum h2_outcome outcome,
                     const char *reason)
{
    if (x->state > EXCHANGE_OPEN)
        return;
    if (x->state == EXCHANGE_OPEN)
        g_queue_unlink(&all->open, &x->link);
    x->state = EXCHANGE_SETTLED;
    x->answer.outcome = outcome;
    x->answer.reason = reason;
    if (outcome != H2_ANSWERED)
        x->answer.status = 0;
    g_queue_push_tail_link(&all->settled, &x->link);
}

/* The one used last is taken first: it is warm in the cache. */
static void make_spare(struct exchanges *all, struct exchange *x)
{
    x->state = EXCHANGE_SPARE;
    g_queue_push_head_link(&all->spare, &x->link);
}

void exchange_stream_closed(struct exchanges *all, struct exchange *x)
{
    x->stream_closed = true;
    if (x->state == EXCHANGE_LINGERING) {
        g_queue_unlink(&all->lingering, &x->link);
        make_spare(all, x);
    }
}

void exchanges_streams_closed(struct exchanges *all)
{
    GList *link;

    all->closings++;
    for (link = all->settled.head; link != NULL; link = link->next)
        ((struct exchange *)link->data)->stream_closed = true;
    while ((link = g_queue_pop_head_link(&all->lingering)) != NULL)
        make_spare(all, link->data);
}

static void buffer_give_back(struct exchanges *all, struct exchange *x)
{
    if (x->buffer == NULL)
        return;
    if (all->buffers->len < BUFFERS_KEPT)
        g_ptr_array_add(all->buffers, x->buffer);
    else
        g_free(x->buffer);
    x->buffer = NULL;
}

/* done may send, close the connection or free it (its owner holds a reference meanwhile). */
static void deliver(struct exchanges *all, struct exchange *x)
{
    unsigned closings = all->closings;

    x->state = EXCHANGE_DELIVERING;
    x->done(&x->answer, x->owner, x->item);
    buffer_give_back(all, x);
    if (x->stream_closed || all->closings != closings) {
        make_spare(all, x);
        return;
    }
    x->state = EXCHANGE_LINGERING;
    g_queue_push_tail_link(&all->lingering, &x->link);
}

void exchanges_deliver(struct exchanges *all)
{
    for (guint n = all->settled.length; n > 0 && all->settled.length > 0; n--)
        deliver(all, g_queue_pop_head_link(&all->settled)->data);
}
