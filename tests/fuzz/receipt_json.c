/* lib: loa_engine */
/* One receipt, as MQTT brings it. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct receipt receipt;

    if (receipt_parse((const char *)data, size, 7, &receipt, NULL)) {
        assert(receipt.device_id == 7 && receipt.version >= 1);
        assert(strlen(receipt.alert_id) >= 1 && strlen(receipt.alert_id) <= RECEIPT_ALERT_ID_MAX);
        assert(receipt.event == RECEIPT_SHOWN || receipt.event == RECEIPT_OPENED);
    }
    return 0;
}
