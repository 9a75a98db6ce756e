/* The body of messages:send, judged field by field as Google documents it. */
#ifndef LOA_SIM_FCM_MESSAGE_H
#define LOA_SIM_FCM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/sim/text.h"

#define FCM_PAYLOAD_MAX       4096 /* bytes of keys and values */
#define FCM_TOPIC_PAYLOAD_MAX 2048
#define FCM_TOKEN_MAX         512 /* a real one has about 150 bytes */
#define FCM_DATA_KEYS_MAX     128 /* of the simulator; the provider documents none */

enum fcm_target {
    FCM_TARGET_NONE,
    FCM_TARGET_TOKEN,
    FCM_TARGET_FID,
    FCM_TARGET_TOPIC,
    FCM_TARGET_CONDITION,
};

struct fcm_message {
    enum fcm_target target;
    struct text address; /* token, fid, topic or condition; borrowed from body or from here */
    struct text alert;   /* data.alert, or absent */
    struct text version; /* data.v, or absent */
    size_t payload_len;  /* keys and values of data and notification */
    bool validate_only;
    bool too_big;        /* refused without a field, as the provider does */
    const char *field;   /* what was refused, "message.android.ttl"; NULL = whole body */
    const char *problem; /* why, in the provider's words; static */
    char unescaped[3][FCM_TOKEN_MAX]; /* address, alert, version when they were escaped */
};

/* False: out->field and out->problem say why; address is set when it was read before. */
bool fcm_message_read(const char *body, size_t len, struct fcm_message *out);

#endif
