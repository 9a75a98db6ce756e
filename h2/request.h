/* One request and its answer, as the users of h2/ see them. */
#ifndef LOA_H2_REQUEST_H
#define LOA_H2_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_HEADERS_MAX     16   /* of one request */
#define H2_PIECES_MAX      3    /* of one body */
#define H2_ANSWER_BODY_MAX 4096 /* bytes of an answer that are kept; the rest is dropped */
#define H2_ANSWER_TEXT_MAX 40   /* bytes of one answer header that are kept, with NUL */

/* Whether a header may enter HPACK's table (RFC 7541 §6.2). */
enum h2_index {
    H2_INDEX,       /* constant or often repeated values */
    H2_INDEX_NEVER, /* secrets, and values that differ each time */
    H2_INDEX_FIRST, /* on a connection's first request only, so that the name is in the table */
};

struct h2_header {
    const char *name; /* lower case; lives for ever */
    const char *value;
    uint16_t name_len;
    uint16_t value_len;
    enum h2_index index;
    bool copy; /* the value is copied by send; otherwise borrowed until done */
};

struct h2_piece {
    const void *data;
    size_t len;
};

/* What came of a request. */
enum h2_outcome {
    H2_ANSWERED,  /* the whole answer is here */
    H2_NOT_SENT,  /* surely not processed: it may be sent again at once */
    H2_UNCERTAIN, /* it may have been processed; no answer will come */
    H2_UNUSABLE,  /* its user found it unfit (h2_pool_settle) */
};

struct h2_answer {
    enum h2_outcome outcome;
    const char *reason;      /* static; why there is no answer, "" when there is one */
    int status;              /* of H2_ANSWERED, else 0 */
    const char *body;        /* borrowed until done returns; NUL-terminated; "" when empty, and of
                                a 2xx, which nobody reads */
    size_t body_len;         /* at most H2_ANSWER_BODY_MAX */
    const char *retry_after; /* header as it came, "" when absent; borrowed like body */
    uint32_t tag;            /* the request's */
};

struct h2_request {
    const struct h2_header *headers; /* at most H2_HEADERS_MAX; the array is read by send only */
    size_t n_headers;
    struct h2_piece body[H2_PIECES_MAX]; /* sent one after the other; borrowed until done */
    unsigned n_pieces;
    uint32_t tag; /* the user's; comes back in the answer */
    /* Runs exactly once, never from inside send, whatever happens. It may send again. */
    void (*done)(const struct h2_answer *answer, void *owner, void *item);
    void *owner, *item; /* the user's, for done */
};

#endif
