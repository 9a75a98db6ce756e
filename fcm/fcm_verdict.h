/* FCM's answer → verdict. Pure: no state, no clock. (Firebase, "ErrorCode" of the HTTP v1 API, and
 * "Scale Firebase Cloud Messaging sends".) */
#ifndef LOA_FCM_VERDICT_H
#define LOA_FCM_VERDICT_H

#include "engine/channel.h"
#include "h2/request.h"

/* out->reason is static: FCM's own word where it is a documented one. */
void fcm_verdict(const struct h2_answer *answer, struct verdict *out);

/* Retry-After in seconds (RFC 9110 §10.2.3) as milliseconds, between 1 s and an hour; 0 when absent
 * or not a number (FCM never sends the date form). */
int64_t fcm_retry_after_ms(const char *header);

#endif
