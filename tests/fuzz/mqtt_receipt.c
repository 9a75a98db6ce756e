/* lib: loa_mqtt */
/* A device's receipt publication: topic, NUL, payload. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt/receipts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *split = memchr(data, '\0', size);
    struct receipt receipt;

    if (split == NULL)
        return 0;
    const char *payload = (const char *)split + 1;
    size_t len = size - (size_t)(split + 1 - data);
    if (mqtt_receipt_read((const char *)data, payload, len, &receipt, NULL)) {
        const struct receipt *one = &receipt;
        char *confirmation = mqtt_receipt_confirmation(&one, 1);
        if (confirmation == NULL || receipt.device_id < 1 || receipt.version < 1)
            __builtin_trap();
        free(confirmation);
    }
    return 0;
}
