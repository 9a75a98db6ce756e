/* The province's phones, made up: the same every time, so that two runs can be compared. */
#include <stdio.h>
#include <string.h>

#include "app/dev.h"
#include "app/dev_store.h"
#include "base/crypto.h"
#include "base/error.h"

#define FCM_TOKEN_BLOCKS 4 /* of 32 bytes: about the length of real ones */

/* Of every ten phones six count on FCM, three on APNs, one on MQTT. */
static const char *channel_of(int n)
{
    return n % 10 < 6 ? "fcm" : n % 10 < 9 ? "apns" : "mqtt";
}

static void digest_of(const char *kind, int n, int block, uint8_t out[SHA256_LEN])
{
    char text[64];
    int len = g_snprintf(text, sizeof text, "loa-dev %s %d %d", kind, n, block);

    crypto_sha256(text, (size_t)len, out);
}

/* "22 characters:APA91b…", as Firebase writes them. */
static void append_fcm_token(GString *line, int n)
{
    uint8_t bytes[FCM_TOKEN_BLOCKS * SHA256_LEN];
    g_autofree char *text = NULL;

    for (int block = 0; block < FCM_TOKEN_BLOCKS; block++)
        digest_of("fcm", n, block, bytes + block * SHA256_LEN);
    text = crypto_base64url(bytes, sizeof bytes);
    g_string_append_printf(line, "%.22s:APA91b%.134s", text, text + 22);
}

static void append_apns_token(GString *line, int n)
{
    uint8_t bytes[SHA256_LEN];

    digest_of("apns", n, 0, bytes);
    bytes[0] = 0x10; /* the simulator takes some beginnings for sandbox or retired tokens */
    for (size_t i = 0; i < sizeof bytes; i++)
        g_string_append_printf(line, "%02x", bytes[i]);
}

static void format_line(GString *line, int n, const GPtrArray *communes)
{
    const char *channel = channel_of(n);
    const char *commune = communes->pdata[(guint)n * 7u % communes->len];
    const char *language = n % 33 == 32 ? "en" : "vi";

    g_string_assign(line, channel);
    g_string_append_c(line, ',');
    if (strcmp(channel, "fcm") == 0)
        append_fcm_token(line, n);
    else if (strcmp(channel, "apns") == 0)
        append_apns_token(line, n);
    g_string_append_printf(line, ",loa-dev-phone-%09d,%s,1.0.0,%s,%s\n", n,
                           strcmp(channel, "apns") == 0 ? "iOS 18" : "Android 14", language,
                           commune);
}

static bool write_file(const struct dev *dev, const GPtrArray *communes, GError **error)
{
    g_autoptr(GString) line = g_string_sized_new(256);
    FILE *file = fopen(dev->devices_csv, "we");
    bool ok =
        file != NULL && fputs("platform,token,key,os,app_version,language,commune\n", file) >= 0;

    for (int n = 0; ok && n < dev->options.devices; n++) {
        format_line(line, n, communes);
        ok = fputs(line->str, file) >= 0;
    }
    ok = file != NULL && fclose(file) == 0 && ok;
    if (!ok)
        g_set_error(error, LOA_ERROR, LOA_ERROR_LIMIT, "%s could not be written", dev->devices_csv);
    return ok;
}

bool dev_devices_register(struct dev *dev, GError **error)
{
    g_autoptr(GPtrArray) communes = NULL;
    loa_auto(db) db = NULL;

    if (dev->options.devices == 0)
        return true;
    db = db_open(dev->conninfo, error);
    communes = db != NULL ? dev_store_communes(db, error) : NULL;
    if (communes == NULL)
        return false;
    if (communes->len == 0) {
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INTERNAL, "no communes are loaded");
        return false;
    }
    dev->devices_csv = dev_path(dev, "devices.csv");
    dev->secrets_csv = dev_path(dev, "secrets.csv");
    return write_file(dev, communes, error) &&
           dev_loa(dev, "device-import", true, error, "device", "import", dev->devices_csv,
                   "--proven", "--secrets", dev->secrets_csv, NULL);
}
