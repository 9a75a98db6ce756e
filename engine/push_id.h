/* The id of one attempt, derived instead of stored: a UUIDv8 (RFC 9562 §5.8) of the broadcast (48
 * bits), the attempt (12 bits) and the device (62 bits). APNs gets it as apns-id. */
#ifndef LOA_ENGINE_PUSH_ID_H
#define LOA_ENGINE_PUSH_ID_H

#include <stdint.h>

#define PUSH_ID_LEN  16
#define PUSH_ID_TEXT 37 /* 8-4-4-4-12 and NUL */

void push_id_make(uint8_t out[PUSH_ID_LEN], int64_t broadcast_id, int64_t device_id, int attempt);
void push_id_text(const uint8_t id[PUSH_ID_LEN], char out[PUSH_ID_TEXT]);

#endif
