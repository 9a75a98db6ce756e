/* state.json: what a script needs to know of a running `loa dev`. */
#include <unistd.h>

#include "app/dev.h"
#include "base/json.h"
#include "base/log.h"

static json_t *processes(const struct dev *dev)
{
    json_t *list = json_array();

    for (size_t i = 0; i < supervisor_count(dev->supervisor); i++) {
        struct process_view p = supervisor_get(dev->supervisor, i);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:i, s:i}", "name", p.name, "role", p.role,
                                        "pid", (int)p.pid, "restarts", (int)p.restarts));
    }
    return list;
}

static json_t *ports(const struct dev *dev)
{
    json_t *object = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "api", dev->options.port, "fcm", dev->fcm_port,
        "apns", dev->apns_port, "apns_sandbox", dev->sandbox_port, "oauth", dev->oauth_port, "iid",
        dev->iid_port, "mqtt_status", dev->mqtt_status_port, "tick_status", dev->tick_status_port);
    json_t *delivers = json_array(), *brokers = json_array();

    for (int i = 0; i < dev->options.delivers; i++)
        json_array_append_new(delivers, json_integer(dev->deliver_status_port[i]));
    for (int i = 0; i < dev->options.brokers; i++)
        json_array_append_new(brokers, json_pack("{s:i, s:i}", "device", dev->broker[i].device_port,
                                                 "engine", dev->broker[i].engine_port));
    json_object_set_new(object, "deliver_status", delivers);
    json_object_set_new(object, "brokers", brokers);
    return object;
}

void dev_state_write(struct dev *dev)
{
    g_autofree char *path = dev_path(dev, "state.json");
    g_autoptr(json_t) state = json_pack(
        "{s:i, s:b, s:s, s:s?, s:s?, s:s?, s:s?, s:i, s:i, s:I, s:o, s:o}", "pid", (int)getpid(),
        "ready", dev->ready, "dir", dev->dir, "config", dev->config, "conninfo", dev->conninfo,
        "sim_control", dev->sim_control, "fleet_control", dev->fleet_control, "devices",
        dev->options.devices, "connected", dev->connected, "broadcast",
        (json_int_t)dev->broadcast_id, "ports", ports(dev), "processes", processes(dev));
    g_autofree char *text = json_dumps(state, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    g_autoptr(GError) error = NULL;

    if (!g_file_set_contents(path, text, -1, &error))
        log_event(LOG_LEVEL_ERROR, "state_not_written", LOG_STR("error", error->message));
}
