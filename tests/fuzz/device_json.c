/* lib: loa_engine */
/* The body of a registration and of a refresh: parsed, read, merged. */
#include <assert.h>
#include <stdint.h>

#include "engine/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void merge(const json_t *body, bool registering, const struct device_state *before,
                  GHashTable *communes)
{
    loa_auto(json_reader) reader = json_reader_new(body);
    struct device_told told;
    struct device_state after;

    device_told_read(reader, registering, &told);
    json_reader_end(reader);
    device_merge(before, &told, communes, reader, &after);
    if (json_reader_complaints(reader) == 0) {
        /* What the table's CHECK constraints demand. */
        bool push = g_str_equal(after.channel, "fcm") || g_str_equal(after.channel, "apns");
        assert(push == (after.push_token != NULL) && push == (after.id_kind != NULL));
        assert(g_str_equal(after.channel, "apns") == (after.apns_environment != NULL));
        assert(!g_str_equal(after.channel, "mqtt") || after.mqtt);
        assert(after.os != NULL && after.app_version != NULL && after.language != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GHashTable *communes;
    const struct device_state before = {.channel = "apns",
                                        .id_kind = "token",
                                        .push_token = "00",
                                        .apns_environment = "sandbox",
                                        .os = "",
                                        .app_version = "",
                                        .language = "vi"};
    g_autoptr(json_t) body = json_parse_object((const char *)data, size, DEVICE_BODY_MAX, NULL);

    if (body == NULL)
        return 0;
    if (communes == NULL) {
        communes = g_hash_table_new(g_str_hash, g_str_equal);
        g_hash_table_add(communes, (gpointer) "01273");
    }
    merge(body, true, NULL, communes);
    merge(body, false, &before, communes);
    return 0;
}
