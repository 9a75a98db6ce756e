/* An APNs notification rendered once: body and the headers that are the same for all devices. */
#ifndef LOA_APNS_PAYLOAD_H
#define LOA_APNS_PAYLOAD_H

#include <stdbool.h>

#include "engine/channel.h"
#include "h2/request.h"

#define APNS_PAYLOAD_MAX 4096 /* bytes of the body */
#define APNS_TOKEN_MAX   400  /* characters; Apple says: do not assume a length */

#define APNS_PAYLOAD_HEADERS 3 /* apns-priority, apns-expiration, apns-collapse-id */

struct channel_payload {
    char *body;
    size_t body_len;
    char expiration[24]; /* apns-expiration: Unix seconds, "0" = now or never */
    const char *priority;
    char collapse_id[65];
    struct h2_header headers[APNS_PAYLOAD_HEADERS]; /* they borrow the values above */
};

struct apns_style {
    bool critical_alerts; /* the app has the entitlement */
    char *fallback_level; /* of an emergency without it */
};

/* INVALID when it does not fit. Owned: apns_payload_free. */
struct channel_payload *apns_payload_render(const struct message *message,
                                            const struct apns_style *style,
                                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
void apns_payload_free(struct channel_payload *payload);

/* The length of a device token that can stand in the request's path as it is; 0 when it cannot. */
size_t apns_token_length(const char *token);

#endif
