/* The device file of a fleet. */
#include <string.h>

#include "base/error.h"
#include "mqtt/topic.h"
#include "tests/sim/fleet_shared.h"

static void device_clear(gpointer data)
{
    struct fleet_device *device = data;

    g_free(device->password);
    g_free(device->commune);
    g_free(device->language);
}

GArray *fleet_devices_load(const char *path, GError **error)
{
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(struct fleet_device));
    g_autofree char *text = NULL;

    g_array_set_clear_func(devices, device_clear);
    if (!g_file_get_contents(path, &text, NULL, error))
        return NULL;
    unsigned line_no = 0;
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        line_no++;
        g_strchomp(line);
        if (line[0] == '\0' || (line_no == 1 && g_str_has_prefix(line, "id,")))
            continue;
        g_auto(GStrv) cells = g_strsplit(line, ",", 5);
        struct fleet_device device = {0};
        if (g_strv_length(cells) != 4 || !mqtt_device_id_parse(cells[0], &device.id) ||
            cells[1][0] == '\0') {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                        "%s line %u: write id,password,commune,language", path, line_no);
            return NULL;
        }
        device.password = g_strdup(cells[1]);
        device.commune = g_strdup(cells[2]);
        device.language = g_strdup(cells[3][0] != '\0' ? cells[3] : "vi");
        g_array_append_val(devices, device);
    }
    return g_steal_pointer(&devices);
}
