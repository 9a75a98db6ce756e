/* The headers that matter, copied out of the frames; shared by HTTP/2 and HTTP/1.1. */
#ifndef LOA_SIM_REQUEST_HEAD_H
#define LOA_SIM_REQUEST_HEAD_H

#include "tests/sim/exchange.h"

struct request_head {
    size_t len;
    char bytes[REQUEST_HEADERS_MAX];
};

/* Takes one header: names in lower case, ":method" and ":path" as in HTTP/2. Others are dropped. */
void request_head_add(struct request_head *head, struct request *request, struct text name,
                      struct text value);

#endif
