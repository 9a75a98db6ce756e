/* Blocking calls with short limits; the answering processes are on this machine. */
#include "app/dev_control.h"

#include <string.h>

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>

#include "base/error.h"

#define LIMIT_S    5
#define ANSWER_MAX 65536

static GSocketConnection *connect_to(GSocketAddress *address, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();

    g_socket_client_set_timeout(client, LIMIT_S);
    return g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, error);
}

static GSocketAddress *local_port(int port)
{
    return g_inet_socket_address_new_from_string("127.0.0.1", (guint)port);
}

/* Sends text and reads until end (NULL: until the peer closes) or ANSWER_MAX. Owned. */
static char *exchange(GSocketConnection *connection, const char *text, const char *end,
                      GError **error)
{
    GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
    GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    g_autoptr(GString) answer = g_string_new(NULL);
    char part[4096];
    gssize n = 1;

    if (!g_output_stream_write_all(out, text, strlen(text), NULL, NULL, error))
        return NULL;
    while (n > 0 && answer->len < ANSWER_MAX && (end == NULL || strstr(answer->str, end) == NULL)) {
        n = g_input_stream_read(in, part, sizeof part, NULL, error);
        if (n > 0)
            g_string_append_len(answer, part, n);
    }
    return n < 0 ? NULL : g_string_free(g_steal_pointer(&answer), FALSE);
}

json_t *dev_control_call(const char *socket_path, const char *command, GError **error)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(socket_path);
    g_autoptr(GSocketConnection) connection = connect_to(address, error);
    g_autofree char *line = g_strdup_printf("{\"cmd\":\"%s\"}\n", command);
    g_autofree char *answer = connection != NULL ? exchange(connection, line, "\n", error) : NULL;

    return answer != NULL ? json_parse_object(answer, strlen(answer), ANSWER_MAX, error) : NULL;
}

json_t *dev_control_stats(const char *socket_path, GError **error)
{
    return dev_control_call(socket_path, "stats", error);
}

bool dev_control_listens(int port)
{
    g_autoptr(GSocketAddress) address = local_port(port);
    g_autoptr(GSocketConnection) connection = connect_to(address, NULL);

    return connection != NULL;
}

bool dev_control_ready(int port, char **out_body)
{
    g_autoptr(GSocketAddress) address = local_port(port);
    g_autoptr(GSocketConnection) connection = connect_to(address, NULL);
    g_autofree char *request = g_strdup_printf(
        "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", port);
    g_autofree char *answer = connection != NULL ? exchange(connection, request, NULL, NULL) : NULL;
    const char *body = answer != NULL ? strstr(answer, "\r\n\r\n") : NULL;

    *out_body = body != NULL ? g_strdup(body + 4) : NULL;
    return answer != NULL && g_str_has_prefix(answer, "HTTP/1.1 200");
}
