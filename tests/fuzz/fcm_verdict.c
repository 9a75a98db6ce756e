/* lib: loa_fcm */
/* FCM's answers. Input: the status as three digits, Retry-After up to a newline, the body. */
#include <assert.h>
#include <string.h>

#include "fcm/fcm_verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size > 3 ? memchr(data + 3, '\n', size - 3) : NULL;
    char retry_after[H2_ANSWER_TEXT_MAX] = "";
    g_autofree char *body = NULL;
    struct verdict verdict;

    if (newline == NULL)
        return 0;
    memcpy(retry_after, data + 3, MIN((size_t)(newline - data) - 3, sizeof(retry_after) - 1));
    size_t len = MIN(size - (size_t)(newline + 1 - data), H2_ANSWER_BODY_MAX);
    body = g_malloc(len + 1); /* its own block: reading past it is seen */
    memcpy(body, newline + 1, len);
    body[len] = '\0';
    fcm_verdict(&(struct h2_answer){.outcome = H2_ANSWERED,
                                    .reason = "",
                                    .status = (data[0] - '0') * 100 + (data[1] - '0') * 10 +
                                              (data[2] - '0'),
                                    .body = body,
                                    .body_len = len,
                                    .retry_after = retry_after},
                &verdict);
    assert(verdict.kind < VERDICT_KINDS && verdict.reason != NULL && *verdict.reason != '\0');
    assert(verdict.retry_after_ms >= 0 && verdict.retry_after_ms <= 3600 * 1000);
    return 0;
}
