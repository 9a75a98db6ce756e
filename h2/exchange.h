/* A request between send and done, and the pool it comes from: nothing is allocated per request
 * once the pool has grown to what is open at once. Only for h2/. */
#ifndef LOA_H2_EXCHANGE_H
#define LOA_H2_EXCHANGE_H

#include <glib.h>

#include "h2/request.h"

#define EXCHANGE_UNSERIALISED UINT64_MAX

enum exchange_state {
    EXCHANGE_NEW,        /* in no queue → OPEN, SETTLED */
    EXCHANGE_OPEN,       /* sent or about to be → SETTLED */
    EXCHANGE_SETTLED,    /* its end is known → DELIVERING */
    EXCHANGE_DELIVERING, /* done runs; in no queue → LINGERING, SPARE */
    EXCHANGE_LINGERING,  /* done has run, its stream is still open (time-out) → SPARE */
    EXCHANGE_SPARE,
};

struct exchange {
    GList link; /* data = the exchange; in the queue of its state */
    enum exchange_state state;
    int32_t stream_id;
    int64_t deadline_us;
    uint64_t headers_at; /* offset of its HEADERS in the connection's output */
    bool stream_closed;  /* nghttp2 knows it no more */
    bool complete;       /* the answer's END_STREAM has come */
    struct h2_piece body[H2_PIECES_MAX];
    unsigned n_pieces, piece; /* piece and offset: what goes out next */
    size_t offset, body_left;
    void (*done)(const struct h2_answer *answer, void *owner, void *item);
    void *owner, *item;
    struct h2_answer answer;
    char retry_after[H2_ANSWER_TEXT_MAX];
    char *buffer; /* H2_ANSWER_BODY_MAX + 1 bytes while a body comes, else NULL */
    size_t copied;
    char copy[]; /* header values */
};

struct exchanges {
    size_t copy_max;
    unsigned closings; /* how often all streams were closed */
    GQueue open;       /* oldest first, so the time-outs stand in order */
    GQueue settled;
    GQueue lingering;
    GQueue spare;
    GPtrArray *buffers; /* spare answer buffers */
};

void exchanges_init(struct exchanges *all, size_t copy_max);
/* Nothing may be open or settled. */
void exchanges_clear(struct exchanges *all);

/* An exchange for the request, in no queue yet. */
struct exchange *exchange_take(struct exchanges *all, const struct h2_request *request);
/* Copies len bytes to keep until the exchange is spare; NULL when there is no place left. */
const char *exchange_copy(struct exchanges *all, struct exchange *x, const char *data, size_t len);
/* Part of the answer's body; what is above the limit is dropped. */
void exchange_answer_append(struct exchanges *all, struct exchange *x, const void *data,
                            size_t len);
/* From NEW or OPEN to SETTLED; no-op later. */
void exchange_settle(struct exchanges *all, struct exchange *x, enum h2_outcome outcome,
                     const char *reason);
void exchange_open(struct exchanges *all, struct exchange *x);
/* nghttp2 has forgotten its stream. */
void exchange_stream_closed(struct exchanges *all, struct exchange *x);
/* nghttp2 has forgotten all streams. */
void exchanges_streams_closed(struct exchanges *all);
/* Calls done of everything that is settled now; what is settled meanwhile waits for the next call,
 * so that a done that sends again cannot hold the loop. */
void exchanges_deliver(struct exchanges *all);

#endif
