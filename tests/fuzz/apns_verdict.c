/* lib: loa_apns */
/* APNs' answers. Input: the status as three digits, then the body. */
#include <assert.h>
#include <string.h>

#include "apns/apns_verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *body = NULL;
    struct verdict verdict;

    if (size < 3)
        return 0;
    size_t len = MIN(size - 3, H2_ANSWER_BODY_MAX);
    body = g_malloc(len + 1); /* its own block: reading past it is seen */
    memcpy(body, data + 3, len);
    body[len] = '\0';
    apns_verdict(&(struct h2_answer){.outcome = H2_ANSWERED,
                                     .reason = "",
                                     .status = (data[0] - '0') * 100 + (data[1] - '0') * 10 +
                                               (data[2] - '0'),
                                     .body = body,
                                     .body_len = len,
                                     .retry_after = ""},
                 &verdict);
    assert(verdict.kind < VERDICT_KINDS && verdict.reason != NULL && *verdict.reason != '\0');
    assert(verdict.retry_after_ms >= 0 && verdict.dead_since_utc_us >= 0);
    assert(verdict.dead_since_utc_us == 0 || verdict.kind == VERDICT_DEAD_TOKEN);
    return 0;
}
