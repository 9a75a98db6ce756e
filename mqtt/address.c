/* The last colon divides; an IPv6 address stands in brackets. */
#include "mqtt/address.h"

#include <string.h>

#include "base/error.h"

bool mqtt_address_parse(const char *address, char **out_host, int *out_port, GError **error)
{
    const char *colon = strrchr(address, ':');
    guint64 port = 0;
    size_t host_len = colon != NULL ? (size_t)(colon - address) : 0;

    if (host_len == 0 || !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "broker '%s': write host:port, for example mqtt1.example.vn:8884", address);
        return false;
    }
    if (address[0] == '[' && address[host_len - 1] == ']')
        *out_host = g_strndup(address + 1, host_len - 2);
    else
        *out_host = g_strndup(address, host_len);
    *out_port = (int)port;
    return true;
}
