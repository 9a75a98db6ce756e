/* Commands run inside the loop between two requests, so their answers are exact; a dump of ten
 * million tokens holds the simulators up for some seconds. */
#include "tests/sim/control.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#define ANSWER_TIMEOUT_US (5 * USEC_PER_SEC)

struct control {
    struct watch watch; /* the listening socket */
    struct loop *loop;
    struct service *service;
    char *path;
    GPtrArray *clients;
};

struct client {
    struct watch watch;
    struct control *control;
    GString *in;
};

/* ---- commands ---- */

static json_t *failure(const GError *error)
{
    return json_pack("{s:b,s:s}", "ok", 0, "error", error->message);
}

static json_t *invalid(const char *what)
{
    return json_pack("{s:b,s:s}", "ok", 0, "error", what);
}

static json_t *ok(void)
{
    return json_pack("{s:b}", "ok", 1);
}

static json_t *run_stats(struct service *service, const json_t *command)
{
    (void)command;
    return service_stats(service);
}

/* The books that {"channel":…} names, or NULL. */
static struct ledger *find_ledger(struct service *service, const json_t *command)
{
    enum sim_channel channel;

    if (!sim_channel_parse(json_string_value(json_object_get(command, "channel")), &channel))
        return NULL;
    return service->ledgers[channel];
}

static json_t *run_dump(struct service *service, const json_t *command)
{
    const struct ledger *ledger = find_ledger(service, command);
    const char *file = json_string_value(json_object_get(command, "file"));
    g_autoptr(GError) error = NULL;

    if (ledger == NULL || file == NULL)
        return invalid("expected a channel (fcm, apns) and a file");
    return ledger_dump(ledger, file, &error) ? ok() : failure(error);
}

static json_t *run_alerts(struct service *service, const json_t *command)
{
    const struct ledger *ledger = find_ledger(service, command);

    return ledger != NULL ? ledger_alerts(ledger) : invalid("expected a channel: fcm or apns");
}

/* {"us":…}: how high the sequence number was then. */
static json_t *run_seq_at(struct service *service, const json_t *command)
{
    const json_t *us = json_object_get(command, "us");

    if (!json_is_integer(us))
        return invalid("expected us, an instant in microseconds of UTC");
    return json_pack("{s:b,s:I}", "ok", 1, "seq",
                     (json_int_t)pace_at(&service->pace, json_integer_value(us)));
}

static json_t *run_fault(struct service *service, const json_t *command)
{
    g_autoptr(GError) error = NULL;
    uint64_t id =
        faults_add(service->faults, command, service->clock->mono_us(service->clock), &error);

    if (id == 0)
        return failure(error);
    return json_pack("{s:b,s:I}", "ok", 1, "id", (json_int_t)id);
}

static json_t *run_faults(struct service *service, const json_t *command)
{
    (void)command;
    return json_pack("{s:b,s:o}", "ok", 1, "faults", faults_list(service->faults));
}

static json_t *run_clear(struct service *service, const json_t *command)
{
    json_int_t id = json_integer_value(json_object_get(command, "id"));

    return json_pack("{s:b,s:i}", "ok", 1, "cleared", faults_clear(service->faults, (uint64_t)id));
}

static json_t *run_reset(struct service *service, const json_t *command)
{
    (void)command;
    service_reset(service);
    return ok();
}

/* A token that the channel accepts now, for rehearsals by hand. */
static json_t *run_credential(struct service *service, const json_t *command)
{
    int64_t now_s = service->clock->utc_us(service->clock) / USEC_PER_SEC;
    const char *channel = json_string_value(json_object_get(command, "channel"));
    const struct credential *bearer;
    g_autoptr(GError) error = NULL;
    g_autofree char *token = NULL;

    if (g_strcmp0(channel, "fcm") == 0) {
        bearer = credentials_issue_bearer(service->credentials, now_s);
        token = bearer != NULL ? g_strdup(bearer->bytes) : NULL;
    } else if (g_strcmp0(channel, "apns") == 0) {
        token = credentials_sign_apns(service->credentials, now_s, &error);
        if (token == NULL)
            return failure(error);
    }
    if (token == NULL)
        return invalid("expected a channel: fcm or apns");
    return json_pack("{s:b,s:s}", "ok", 1, "token", token);
}

/* All topics; or those of one registration. */
static json_t *run_topics(struct service *service, const json_t *command)
{
    const char *registration = json_string_value(json_object_get(command, "registration"));

    return registration != NULL
               ? json_pack("{s:o}", "topics", topics_of(service->topics, registration))
               : topics_json(service->topics);
}

static const struct command_row {
    const char *name;
    json_t *(*run)(struct service *service, const json_t *command);
} commands[] = {
    {"stats", run_stats},   {"dump", run_dump},
    {"alerts", run_alerts}, {"fault", run_fault},
    {"faults", run_faults}, {"clear", run_clear},
    {"reset", run_reset},   {"credential", run_credential},
    {"seq_at", run_seq_at}, {"topics", run_topics},
};

json_t *control_execute(struct service *service, const char *line, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) command = json_parse_object(line, len, CONTROL_LINE_MAX, &error);
    const char *name = json_string_value(json_object_get(command, "cmd"));

    if (command == NULL)
        return failure(error);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (g_strcmp0(name, commands[i].name) == 0)
            return commands[i].run(service, command);
    return invalid("cmd: expected stats, dump, alerts, fault, faults, clear, reset, credential, "
                   "seq_at or topics");
}

/* ---- socket ---- */

static void client_free(void *user)
{
    struct client *client = user;

    g_string_free(client->in, TRUE);
    g_free(client);
}

static void client_close(struct client *client)
{
    struct control *control = client->control;

    loop_watch(control->loop, &client->watch, 0);
    close(client->watch.fd);
    g_ptr_array_remove_fast(control->clients, client);
    loop_defer_free(control->loop, client, client_free);
}

/* Answers are written at once: the socket has a send timeout, so that a client that does not read
 * cannot hold the simulators for longer than that. */
static bool send_line(int fd, const json_t *answer)
{
    g_autofree char *text = json_dumps(answer, JSON_COMPACT);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    size_t left = strlen(line), sent = 0;

    while (left > 0) {
        ssize_t len = send(fd, line + sent, left, MSG_NOSIGNAL);
        if (len <= 0)
            return false;
        sent += (size_t)len;
        left -= (size_t)len;
    }
    return true;
}

static bool execute_lines(struct client *client)
{
    const char *newline;

    while ((newline = memchr(client->in->str, '\n', client->in->len)) != NULL) {
        size_t len = (size_t)(newline - client->in->str);
        g_autoptr(json_t) answer = control_execute(client->control->service, client->in->str, len);
        g_string_erase(client->in, 0, (gssize)len + 1);
        if (!send_line(client->watch.fd, answer))
            return false;
    }
    return client->in->len <= CONTROL_LINE_MAX;
}

static void client_ready(struct watch *watch, uint32_t events)
{
    struct client *client = (struct client *)watch;
    char data[4096];
    ssize_t len = recv(watch->fd, data, sizeof(data), MSG_DONTWAIT);

    (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len > 0)
        g_string_append_len(client->in, data, len);
    if (len <= 0 || !execute_lines(client))
        client_close(client);
}

static void accept_ready(struct watch *watch, uint32_t events)
{
    struct control *control = (struct control *)watch;
    const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_US / USEC_PER_SEC};
    struct client *client;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC);

    (void)events;
    if (fd < 0)
        return;
    if (control->clients->len >= CONTROL_CLIENTS_MAX ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0) {
        close(fd);
        return;
    }
    client = g_new0(struct client, 1);
    client->watch = (struct watch){.fd = fd, .ready = client_ready};
    client->control = control;
    client->in = g_string_new(NULL);
    g_ptr_array_add(control->clients, client);
    loop_watch(control->loop, &client->watch, EPOLLIN);
}

static int listen_unix(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%s: longer than %zu bytes", path,
                    sizeof(address.sun_path) - 1);
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 16) != 0) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_CONFLICT, "cannot listen on %s: %s", path,
                    g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

struct control *control_new(struct loop *loop, struct service *service, const char *path,
                            GError **error)
{
    struct control *control;
    int fd = listen_unix(path, error);

    if (fd < 0)
        return NULL;
    control = g_new0(struct control, 1);
    control->watch = (struct watch){.fd = fd, .ready = accept_ready};
    control->loop = loop;
    control->service = service;
    control->path = g_strdup(path);
    control->clients = g_ptr_array_new();
    loop_watch(loop, &control->watch, EPOLLIN);
    return control;
}

void control_free(struct control *control)
{
    while (control->clients->len > 0)
        client_close(g_ptr_array_index(control->clients, control->clients->len - 1));
    loop_watch(control->loop, &control->watch, 0);
    close(control->watch.fd);
    (void)unlink(control->path);
    g_ptr_array_free(control->clients, TRUE);
    g_free(control->path);
    g_free(control);
}
