/* custom_a = broadcast, custom_b = attempt, custom_c = device. */
#include "engine/push_id.h"

void push_id_make(uint8_t out[PUSH_ID_LEN], int64_t broadcast_id, int64_t device_id, int attempt)
{
    uint64_t high = ((uint64_t)broadcast_id << 16) | 0x8000 | ((uint64_t)attempt & 0xfff);
    uint64_t low = (UINT64_C(2) << 62) | ((uint64_t)device_id & ((UINT64_C(1) << 62) - 1));

    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(high >> (56 - 8 * i));
        out[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
}

void push_id_text(const uint8_t id[PUSH_ID_LEN], char out[PUSH_ID_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    char *at = out;

    for (int i = 0; i < PUSH_ID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = hex[id[i] >> 4];
        *at++ = hex[id[i] & 15];
    }
    *at = '\0';
}
