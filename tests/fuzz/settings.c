/* lib: loa_base */
/* loa.conf: whatever stands in it, it is either read or refused with a message. */
#include <stdlib.h>

#include "base/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    loa_auto(settings) settings = settings_parse((const char *)data, size, "/nonexistent", &error);
    if ((settings == NULL) != (error != NULL) ||
        (error != NULL && !g_utf8_validate(error->message, -1, NULL)))
        abort();
    return 0;
}
