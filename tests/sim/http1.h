/* The reader of an HTTP/1.1 request, apart from the connection so that it can be fuzzed. */
#ifndef LOA_SIM_HTTP1_H
#define LOA_SIM_HTTP1_H

#include "tests/sim/exchange.h"
#include "tests/sim/request_head.h"

#define HTTP1_REQUEST_MAX 32768 /* head and body together */

enum http1_result {
    HTTP1_PARTIAL, /* more bytes are needed */
    HTTP1_DONE,    /* out_request is complete; its texts are borrowed from head and data */
    HTTP1_BAD,     /* answer 400 */
};

enum http1_result http1_read(const char *data, size_t len, struct request_head *head,
                             struct request *out_request);

#endif
