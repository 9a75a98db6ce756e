/* lib: loa_sim */
/* The OAuth port's HTTP/1.1 reader: texts stay inside their buffers, and a complete request stays
 * complete when more bytes follow. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/sim/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct request_head head;
    struct request request;
    const char *text = (const char *)data;

    if (size > HTTP1_REQUEST_MAX)
        return 0;
    if (http1_read(text, size, &head, &request) != HTTP1_DONE)
        return 0;
    if (request.body.len > size || request.body.at + request.body.len > text + size)
        abort();
    for (int i = 0; i < HEADER_COUNT; i++)
        if (request.header[i].at != NULL &&
            (request.header[i].at < head.bytes ||
             request.header[i].at + request.header[i].len > head.bytes + sizeof(head.bytes)))
            abort();
    return 0;
}
