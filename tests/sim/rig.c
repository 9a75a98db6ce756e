/* The server runs in a child that ends with its parent; the client is one blocking loop around
 * poll, so that a test reads like a conversation. */
#include "tests/sim/rig.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "tests/sim/commands.h"

/* ---- server ---- */

char *rig_path(const struct rig *rig, const char *name)
{
    return g_build_filename(rig->dir, name, NULL);
}

char *rig_file(const struct rig *rig, const char *name)
{
    g_autofree char *path = rig_path(rig, name);
    char *text = NULL;

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static G_GNUC_NORETURN void serve_in_child(const struct rig *rig, const char *const *extra, int out)
{
    const char *argv[32] = {"serve",       "--pki",          rig->dir,      "--control",
                            rig->control,  "--fcm",          "127.0.0.1:0", "--apns",
                            "127.0.0.1:0", "--apns-sandbox", "127.0.0.1:0", "--oauth",
                            "127.0.0.1:0", "--iid",          "127.0.0.1:0", "--with-parent"};
    int argc = 16;

    for (; extra != NULL && *extra != NULL; extra++)
        argv[argc++] = *extra;
    dup2(out, STDOUT_FILENO);
    exit(serve_main(argc, (char **)argv));
}

static int port_of(const json_t *ports, const char *name)
{
    return (int)json_integer_value(json_object_get(ports, name));
}

void rig_start(struct rig *rig, const char *const *extra)
{
    char *pki[] = {"pki", rig->dir, NULL};
    char line[256] = "";
    int pipes[2];
    ssize_t len;
    g_autoptr(json_t) ports = NULL;

    memset(rig, 0, sizeof(*rig));
    crypto_init();
    g_snprintf(rig->dir, sizeof(rig->dir), "/tmp/loa-rig-XXXXXX");
    assert_non_null(g_mkdtemp(rig->dir));
    g_snprintf(rig->control, sizeof(rig->control), "%s/control", rig->dir);
    assert_int_equal(pki_main(2, pki), 0);
    assert_int_equal(pipe(pipes), 0);
    rig->pid = fork();
    assert_true(rig->pid >= 0);
    if (rig->pid == 0)
        serve_in_child(rig, extra, pipes[1]);
    close(pipes[1]);
    len = read(pipes[0], line, sizeof(line) - 1);
    close(pipes[0]);
    assert_true(len > 0);
    ports = json_loads(line, 0, NULL);
    assert_non_null(ports);
    rig->fcm = port_of(ports, "fcm");
    rig->apns = port_of(ports, "apns");
    rig->sandbox = port_of(ports, "apns_sandbox");
    rig->oauth = port_of(ports, "oauth");
    rig->iid = port_of(ports, "iid");
}

void rig_stop(struct rig *rig)
{
    GDir *dir = g_dir_open(rig->dir, 0, NULL);
    const char *name;
    int status = 0;

    kill(rig->pid, SIGTERM);
    assert_int_equal(waitpid(rig->pid, &status, 0), rig->pid);
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = rig_path(rig, name);
        g_unlink(path);
    }
    if (dir != NULL)
        g_dir_close(dir);
    g_rmdir(rig->dir);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

json_t *rig_ctl(const struct rig *rig, const char *format, ...)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_autofree char *command = NULL;
    g_autofree char *line = NULL;
    GString *answer = g_string_new(NULL);
    char data[4096];
    ssize_t len;
    json_t *json;
    va_list args;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    line = g_strconcat(command, "\n", NULL);
    g_strlcpy(address.sun_path, rig->control, sizeof(address.sun_path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    while (strchr(answer->str, '\n') == NULL && (len = read(fd, data, sizeof(data))) > 0)
        g_string_append_len(answer, data, len);
    close(fd);
    json = json_loads(answer->str, 0, NULL);
    assert_non_null(json);
    g_string_free(answer, TRUE);
    return json;
}

void rig_fresh(const struct rig *rig)
{
    json_decref(rig_ctl(rig, "{\"cmd\":\"clear\"}"));
    json_decref(rig_ctl(rig, "{\"cmd\":\"reset\"}"));
}

void rig_fault(const struct rig *rig, const char *json)
{
    g_autoptr(json_t) answer = rig_ctl(rig, "{\"cmd\":\"fault\",%s}", json);

    if (!json_is_true(json_object_get(answer, "ok")))
        fail_msg("%s: %s", json, json_string_value(json_object_get(answer, "error")));
}

int64_t rig_stat(const struct rig *rig, const char *channel, const char *name, const char *reason)
{
    g_autoptr(json_t) stats = rig_ctl(rig, "{\"cmd\":\"stats\"}");
    const json_t *value = json_object_get(json_object_get(stats, channel), name);

    return json_integer_value(reason != NULL ? json_object_get(value, reason) : value);
}

char *rig_authorization(const struct rig *rig, const char *channel)
{
    g_autoptr(json_t) answer = rig_ctl(rig, "{\"cmd\":\"credential\",\"channel\":\"%s\"}", channel);
    const char *token = json_string_value(json_object_get(answer, "token"));

    assert_non_null(token);
    return g_strconcat("bearer ", token, NULL);
}

/* ---- client ---- */

static struct reply *reply_of(struct client *client, int32_t id)
{
    return id > 0 && id / 2 < RIG_STREAMS ? &client->replies[id / 2] : NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct reply *reply = reply_of(user, frame->hd.stream_id);
    g_autofree char *key = g_strndup((const char *)name, name_len);
    g_autofree char *text = g_strndup((const char *)value, value_len);

    (void)session;
    (void)flags;
    if (strcmp(key, ":status") == 0)
        reply->status = (int)g_ascii_strtoll(text, NULL, 10);
    else if (strcmp(key, "retry-after") == 0)
        g_strlcpy(reply->retry_after, text, sizeof(reply->retry_after));
    else if (strcmp(key, "apns-id") == 0)
        g_strlcpy(reply->apns_id, text, sizeof(reply->apns_id));
    else if (strcmp(key, "content-type") == 0)
        g_strlcpy(reply->content_type, text, sizeof(reply->content_type));
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct reply *reply = reply_of(user, id);

    (void)session;
    (void)flags;
    assert_true(reply->body_len + len < sizeof(reply->body));
    memcpy(reply->body + reply->body_len, data, len);
    reply->body_len += len;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct reply *reply = reply_of(user, id);

    (void)session;
    reply->closed = true;
    reply->reset_code = code;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct client *client = user;

    (void)session;
    if (frame->hd.type == NGHTTP2_SETTINGS) {
        for (size_t i = 0; i < frame->settings.niv; i++)
            if (frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                client->max_streams = frame->settings.iv[i].value;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->goaway = true;
        client->goaway_last = frame->goaway.last_stream_id;
        client->goaway_code = frame->goaway.error_code;
        g_snprintf(client->goaway_data, sizeof(client->goaway_data), "%.*s",
                   (int)frame->goaway.opaque_data_len, (const char *)frame->goaway.opaque_data);
    }
    return 0;
}

static int connect_port(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static bool start_tls(struct client *client, const struct rig *rig, int port)
{
    g_autofree char *ca = rig_path(rig, "ca.pem");

    client->tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(client->tls, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_CTX_load_verify_locations(client->tls, ca, NULL), 1);
    client->ssl = SSL_new(client->tls);
    SSL_set_alpn_protos(client->ssl, (const unsigned char *)"\x02h2", 3);
    SSL_set1_host(client->ssl, "localhost");
    client->fd = connect_port(port);
    SSL_set_fd(client->ssl, client->fd);
    return SSL_connect(client->ssl) == 1;
}

struct client *client_new(const struct rig *rig, int port)
{
    loa_auto(client) client = g_new0(struct client, 1);
    nghttp2_session_callbacks *callbacks;

    client->max_streams = -1;
    if (!start_tls(client, rig, port))
        return NULL;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_client_new(&client->session, callbacks, client);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
    return g_steal_pointer(&client);
}

void client_free(struct client *client)
{
    nghttp2_session_del(client->session);
    SSL_free(client->ssl);
    SSL_CTX_free(client->tls);
    close(client->fd);
    g_free(client);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct client *client = user;
    const char *body = client->bodies[id / 2] + client->body_sent[id / 2];
    size_t len = MIN(strlen(body), max);

    (void)session;
    (void)source;
    memcpy(out, body, len);
    client->body_sent[id / 2] += len;
    if (body[len] == '\0')
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

/* Appends the pseudo headers, or the others: HTTP/2 wants them in this order. */
static size_t add_headers(nghttp2_nv *list, size_t count, const char *const *headers, bool pseudo)
{
    for (; headers[0] != NULL; headers += 2)
        if ((headers[0][0] == ':') == pseudo)
            list[count++] = nv(headers[0], headers[1]);
    return count;
}

static bool has_header(const char *const *headers, const char *name)
{
    for (; headers[0] != NULL; headers += 2)
        if (strcmp(headers[0], name) == 0)
            return true;
    return false;
}

int client_submit(struct client *client, const char *const *headers, const char *body)
{
    const nghttp2_data_provider provider = {.read_callback = read_body};
    nghttp2_nv list[32] = {nv(":scheme", "https"), nv(":authority", "localhost")};
    size_t count = 2;
    int32_t id;

    if (!has_header(headers, ":method"))
        list[count++] = nv(":method", "POST");
    count = add_headers(list, count, headers, true);
    count = add_headers(list, count, headers, false);
    id = nghttp2_submit_request(client->session, NULL, list, count, body != NULL ? &provider : NULL,
                                NULL);
    assert_true(id > 0 && id / 2 < RIG_STREAMS);
    client->bodies[id / 2] = body;
    return id / 2;
}

void client_flush(struct client *client)
{
    const uint8_t *data;
    ssize_t len;

    while (!client->closed && (len = nghttp2_session_mem_send(client->session, &data)) > 0)
        client->closed = SSL_write(client->ssl, data, (int)len) <= 0;
}

/* Sends, then reads what comes within the time that is left. False = nothing came. */
static bool step(struct client *client, int64_t deadline_us)
{
    struct pollfd ready = {.fd = client->fd, .events = POLLIN};
    const struct clock *clock = clock_system();
    int64_t left_ms = (deadline_us - clock->mono_us(clock)) / USEC_PER_MSEC;
    uint8_t data[16384];
    int len;

    client_flush(client);
    if (SSL_pending(client->ssl) == 0 && (left_ms <= 0 || poll(&ready, 1, (int)left_ms) <= 0))
        return false;
    len = SSL_read(client->ssl, data, sizeof(data));
    if (len <= 0)
        client->closed = true;
    else
        assert_true(nghttp2_session_mem_recv(client->session, data, (size_t)len) >= 0);
    return true;
}

static int64_t deadline(void)
{
    const struct clock *clock = clock_system();

    return clock->mono_us(clock) + RIG_WAIT_MS * USEC_PER_MSEC;
}

const struct reply *client_wait(struct client *client, int n)
{
    int64_t until_us = deadline();

    while (!client->replies[n].closed && !client->closed && step(client, until_us))
        ;
    return &client->replies[n];
}

bool client_wait_closed(struct client *client)
{
    int64_t until_us = deadline();

    while (!client->closed && step(client, until_us))
        ;
    return client->closed;
}

bool client_wait_limit(struct client *client, int64_t limit)
{
    int64_t until_us = deadline();

    while (client->max_streams != limit && !client->closed && step(client, until_us))
        ;
    client_flush(client); /* the acknowledgement */
    return client->max_streams == limit;
}

const struct reply *client_ask(struct client *client, const char *const *headers, const char *body)
{
    return client_wait(client, client_submit(client, headers, body));
}

char *reply_text(const struct reply *reply, const char *path)
{
    g_autoptr(json_t) body = json_loadb(reply->body, reply->body_len, JSON_DECODE_ANY, NULL);
    g_auto(GStrv) names = g_strsplit(path, ".", 8);
    const json_t *at = body;

    for (size_t i = 0; names[i] != NULL; i++)
        at = json_is_array(at) ? json_array_get(at, (size_t)g_ascii_strtoll(names[i], NULL, 10))
                               : json_object_get(at, names[i]);
    if (json_is_string(at))
        return g_strdup(json_string_value(at));
    return json_is_integer(at)
               ? g_strdup_printf("%" G_GINT64_FORMAT, (gint64)json_integer_value(at))
               : g_strdup("");
}
