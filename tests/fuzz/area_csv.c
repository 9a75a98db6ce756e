/* lib: loa_engine */
/* The list of communes: all of a file that follows the form, nothing of any other. */
#include <stdint.h>
#include <stdlib.h>

#include "engine/area_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    loa_auto(area_list) list = area_csv_parse((const char *)data, size, &error);
    if ((list == NULL) != (error != NULL))
        abort();
    if (list != NULL && (list->codes->len == 0 || list->codes->len != list->names->len ||
                         list->codes->len > AREA_ROWS_MAX))
        abort();
    return 0;
}
