/* lib: loa_fcm */
/* Answers of subscription management. Input: the number of registrations as one byte, the body. */
#include <assert.h>
#include <string.h>

#include "fcm/topic.h"

#define REGISTRATIONS 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 400, 401, 403, 404, 409, 429, 503};
    struct fcm_topic_answer out[REGISTRATIONS];
    g_autofree char *body = NULL;
    size_t n = size > 0 ? data[0] : 0;

    if (size == 0)
        return 0;
    memset(out, 0, sizeof(out));
    body = g_malloc(size); /* its own block: reading past it is seen */
    memcpy(body, data + 1, size - 1);
    body[size - 1] = '\0';
    if (fcm_topic_batch_read(body, size - 1, n, out)) {
        for (size_t i = 0; i < n; i++)
            assert(out[i].reason != NULL &&
                   (out[i].result == FCM_TOPIC_DONE) == (*out[i].reason == '\0'));
    } else {
        for (size_t i = 0; i < REGISTRATIONS; i++)
            assert(out[i].reason == NULL); /* untouched */
    }
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        enum fcm_topic_op op = data[0] % 2 == 0 ? FCM_TOPIC_ADD : FCM_TOPIC_REMOVE;
        struct fcm_topic_answer one = fcm_topic_single_read(op, statuses[i], body, size - 1);
        assert(one.reason != NULL && (one.result == FCM_TOPIC_DONE) == (*one.reason == '\0'));
    }
    return 0;
}
