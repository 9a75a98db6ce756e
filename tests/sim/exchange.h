/* One request as the judges see it and the answer they write; HTTP/2 knows nothing of FCM and APNs,
 * and they know nothing of frames. */
#ifndef LOA_SIM_EXCHANGE_H
#define LOA_SIM_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/text.h"

enum request_header {
    HEADER_METHOD, /* :method */
    HEADER_PATH,   /* :path */
    HEADER_CONTENT_TYPE,
    HEADER_AUTHORIZATION,
    HEADER_APNS_ID,
    HEADER_APNS_TOPIC,
    HEADER_APNS_PUSH_TYPE,
    HEADER_APNS_PRIORITY,
    HEADER_APNS_EXPIRATION,
    HEADER_APNS_COLLAPSE_ID,
    HEADER_ACCESS_TOKEN_AUTH,
    HEADER_COUNT, /* none of these */
};

#define REQUEST_HEADERS_MAX 2560    /* bytes of the headers above */
#define REQUEST_BODY_MAX    65536   /* more is not read */
#define IID_BODY_MAX        1048576 /* the same of a batch of subscriptions */

struct request {
    struct text header[HEADER_COUNT]; /* absent: at == NULL */
    struct text body;
    bool duplicate_header; /* one of the headers stood twice */
    bool headers_too_big;  /* REQUEST_HEADERS_MAX */
    bool body_too_big;     /* REQUEST_BODY_MAX; body is its beginning */
};

#define ANSWER_BODY_MAX 1400
#define UUID_TEXT_LEN   36

enum answer_type {
    ANSWER_EMPTY, /* no body, no content-type */
    ANSWER_JSON,
    ANSWER_HTML,
};

struct answer {
    int status;
    enum answer_type type;
    size_t body_len;
    int64_t retry_after_s;           /* < 0 = none */
    char apns_id[UUID_TEXT_LEN + 1]; /* "" = none */

    /* what the connection does */
    int64_t delay_us;       /* before the answer */
    uint32_t rst_code;      /* instead of the answer; 0 = none */
    int max_streams;        /* SETTINGS_MAX_CONCURRENT_STREAMS; 0 = unchanged */
    bool goaway;            /* after the answer */
    bool no_answer;         /* leave the stream open */
    bool close;             /* close without a word */
    char goaway_reason[48]; /* opaque data of GOAWAY; "" = none */

    char *long_body; /* instead of body, when it does not fit there; owned by the stream */
    char body[ANSWER_BODY_MAX];
};

static inline const char *answer_body(const struct answer *answer)
{
    return answer->long_body != NULL ? answer->long_body : answer->body;
}

/* Everything but the body's bytes to "200, nothing". */
static inline void answer_init(struct answer *answer)
{
    memset(answer, 0, offsetof(struct answer, body));
    answer->status = 200;
    answer->retry_after_s = -1;
}

/* What the judges remember about a connection. */
struct peer {
    struct credential *credential; /* last one that was right; borrowed from its table */
    int64_t updated_us;            /* monotonic time of its last change; 0 = never changed */
    bool sandbox;                  /* connected to the sandbox port */
    bool proven;                   /* APNs: a valid token was answered */
    bool wedged;                   /* APNs: has shown an expired token */
};

#endif
