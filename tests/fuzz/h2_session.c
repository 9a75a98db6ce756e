/* lib: loa_h2 */
/* A provider that sends any bytes: every request still ends exactly once. The input is fed in two
 * halves, with the answers delivered and output made between them. */
#include <assert.h>
#include <string.h>

#include "h2/session.h"

#define REQUESTS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_done(const struct h2_answer *answer, void *owner, void *item)
{
    unsigned *done = owner;

    (void)item;
    assert(answer->body_len <= H2_ANSWER_BODY_MAX && answer->body[answer->body_len] == '\0');
    assert(strlen(answer->retry_after) < H2_ANSWER_TEXT_MAX);
    assert((answer->outcome == H2_ANSWERED) == (answer->status >= 200));
    done[answer->tag]++;
}

static void write_all(struct h2_session *session)
{
    size_t len;

    while (h2_session_fill(session)) {
        (void)h2_session_output(session, &len);
        if (len == 0)
            break;
        h2_session_wrote(session, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct h2_header headers[] = {
        {":method", "POST", 7, 4, H2_INDEX, false},
        {":scheme", "https", 7, 5, H2_INDEX, false},
        {":authority", "localhost", 10, 9, H2_INDEX, false},
        {":path", "/3/device/ab", 5, 12, H2_INDEX_NEVER, true},
    };
    unsigned done[REQUESTS] = {0};
    struct h2_session *session = h2_session_new(REQUESTS, 64, 1000);

    h2_session_open(session);
    for (uint32_t i = 0; i < REQUESTS; i++)
        h2_session_send(session,
                        &(struct h2_request){.headers = headers,
                                             .n_headers = G_N_ELEMENTS(headers),
                                             .body = {{"{}", 2}},
                                             .n_pieces = 1,
                                             .tag = i,
                                             .done = on_done,
                                             .owner = done},
                        0);
    write_all(session);
    if (h2_session_receive(session, data, size / 2)) {
        h2_session_deliver(session);
        write_all(session);
        if (h2_session_receive(session, data + size / 2, size - size / 2))
            write_all(session);
        h2_session_expire(session, 500);
    }
    h2_session_close(session, "end");
    while (h2_session_has_settled(session))
        h2_session_deliver(session);
    h2_session_free(session);
    for (int i = 0; i < REQUESTS; i++)
        assert(done[i] == 1);
    return 0;
}
