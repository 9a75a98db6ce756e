/* APNs' answer → verdict. Pure: no state, no clock. (Apple, "Handling notification responses from
 * APNs".) */
#ifndef LOA_APNS_VERDICT_H
#define LOA_APNS_VERDICT_H

#include "engine/channel.h"
#include "h2/request.h"

/* out->reason is static: Apple's own word where it is a documented one. */
void apns_verdict(const struct h2_answer *answer, struct verdict *out);

#endif
