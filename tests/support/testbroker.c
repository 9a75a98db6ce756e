/* See the header. The phone is driven from the waiting condition, so no main-loop source is needed
 * for it. */
#include "tests/support/testbroker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mqtt/mosq_io.h"
#include "mqtt/tls.h"
#include "tests/support/testwait.h"

#define WAIT_MS 20000

struct testbroker {
    char *directory;
    char *address;
    int device_port, engine_port;
    bool plain; /* the phones' listener */
    GPid pid;
};

struct testclient {
    struct mosquitto *client;
    struct mqtt_tls *tls;
    int port;
    bool keep_session;
    int reason;         /* of the answer that is waited for; ANSWER_NONE */
    unsigned published; /* answers to publications so far */
    bool closed;
    GPtrArray *messages;
};

#define ANSWER_NONE (-2)

/* --- certificates --- */

static char *pki_directory;

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        g_unlink(child);
    }
    g_rmdir(path);
}

static void pki_remove(void)
{
    remove_tree(pki_directory);
    g_free(pki_directory);
}

const char *testbroker_pki(const char *file)
{
    const char *argv[] = {LOA_SOURCE_DIR "/tests/support/pki.sh", NULL, NULL};
    g_autoptr(GError) error = NULL;
    int status;

    if (pki_directory == NULL) {
        pki_directory = g_dir_make_tmp("loa-pki-XXXXXX", NULL);
        argv[1] = pki_directory;
        if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL,
                          &status, &error) ||
            !g_spawn_check_wait_status(status, &error))
            fail_msg("pki.sh: %s", error->message);
        atexit(pki_remove);
    }
    /* Interned, so that several results may be used side by side. */
    g_autofree char *built = g_build_filename(pki_directory, file, NULL);
    return g_intern_string(built);
}

/* --- brokers --- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

static bool accepts(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(fd);
    return ok;
}

static bool is_listening(void *user)
{
    const struct testbroker *broker = user;

    return accepts(broker->device_port) && accepts(broker->engine_port);
}

static void child_setup(gpointer user)
{
    (void)user;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void testbroker_start(struct testbroker *broker)
{
    g_autofree char *conf = g_build_filename(broker->directory, "mosquitto.conf", NULL);
    const char *argv[] = {"/usr/sbin/mosquitto", "-c", conf, NULL};
    g_autoptr(GError) error = NULL;

    assert_int_equal(broker->pid, 0);
    if (!g_spawn_async(NULL, (char **)argv, NULL,
                       G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL, child_setup, NULL,
                       &broker->pid, &error))
        fail_msg("mosquitto: %s", error->message);
    assert_true(test_wait_until(is_listening, broker, WAIT_MS));
}

void testbroker_kill(struct testbroker *broker)
{
    kill(broker->pid, SIGKILL);
    waitpid(broker->pid, NULL, 0);
    broker->pid = 0;
}

void testbroker_freeze(struct testbroker *broker)
{
    assert_int_equal(kill(broker->pid, SIGSTOP), 0);
}

void testbroker_thaw(struct testbroker *broker)
{
    assert_int_equal(kill(broker->pid, SIGCONT), 0);
}

void testbroker_wipe(struct testbroker *broker)
{
    g_autofree char *state = g_build_filename(broker->directory, "mosquitto.db", NULL);

    assert_int_equal(broker->pid, 0);
    g_unlink(state);
}

void testbroker_append(struct testbroker *broker, const char *file, const char *text)
{
    g_autofree char *path = g_build_filename(broker->directory, file, NULL);
    g_autofree char *old = NULL;

    assert_int_equal(broker->pid, 0);
    assert_true(g_file_get_contents(path, &old, NULL, NULL));
    g_autofree char *all = g_strconcat(old, text, NULL);
    assert_true(g_file_set_contents(path, all, -1, NULL));
}

static struct testbroker *broker_prepare(const struct mosquitto_device *devices, size_t n)
{
    struct testbroker *broker = g_new0(struct testbroker, 1);
    g_autoptr(GError) error = NULL;

    broker->directory = g_dir_make_tmp("loa-broker-XXXXXX", NULL);
    broker->device_port = free_port();
    broker->engine_port = free_port();
    broker->address = g_strdup_printf("127.0.0.1:%d", broker->engine_port);
    const struct mosquitto_options options = {.directory = broker->directory,
                                              .ca_file = testbroker_pki("ca.pem"),
                                              .cert_file = testbroker_pki("broker.pem"),
                                              .key_file = testbroker_pki("broker.key"),
                                              .address = "127.0.0.1",
                                              .device_port = broker->device_port,
                                              .engine_port = broker->engine_port,
                                              .devices_max = 1000 + (unsigned)n,
                                              .run_as = getuid() == 0 ? "root" : NULL};
    if (!mosquitto_files_write(&options, devices, n, &error))
        fail_msg("%s", error->message);
    return broker;
}

struct testbroker *testbroker_new(const struct mosquitto_device *devices, size_t n)
{
    struct testbroker *broker = broker_prepare(devices, n);

    testbroker_start(broker);
    return broker;
}

/* The phones' listener comes first; its four lines about TLS stand together. */
struct testbroker *testbroker_new_plain(const struct mosquitto_device *devices, size_t n)
{
    struct testbroker *broker = broker_prepare(devices, n);
    g_autofree char *path = g_build_filename(broker->directory, "mosquitto.conf", NULL);
    g_autofree char *text = NULL;

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    char *from = strstr(text, "cafile "), *to = strstr(text, "allow_anonymous ");
    assert_true(from != NULL && to > from);
    memmove(from, to, strlen(to) + 1);
    assert_true(g_file_set_contents(path, text, -1, NULL));
    broker->plain = true;
    testbroker_start(broker);
    return broker;
}

int testbroker_pid(const struct testbroker *broker)
{
    return broker->pid;
}

void testbroker_free(struct testbroker *broker)
{
    if (broker->pid != 0)
        testbroker_kill(broker);
    remove_tree(broker->directory);
    g_free(broker->directory);
    g_free(broker->address);
    g_free(broker);
}

const char *testbroker_address(const struct testbroker *broker)
{
    return broker->address;
}

int testbroker_device_port(const struct testbroker *broker)
{
    return broker->device_port;
}

/* --- clients --- */

static void on_connect(struct mosquitto *m, void *user, int reason, int flags,
                       const mosquitto_property *props)
{
    (void)m, (void)flags, (void)props;
    ((struct testclient *)user)->reason = reason;
}

static void on_subscribe(struct mosquitto *m, void *user, int mid, int n, const int *granted,
                         const mosquitto_property *props)
{
    (void)m, (void)mid, (void)n, (void)props;
    ((struct testclient *)user)->reason = granted[0];
}

static void on_publish(struct mosquitto *m, void *user, int mid, int reason,
                       const mosquitto_property *props)
{
    struct testclient *client = user;
    (void)m, (void)mid, (void)props;

    client->reason = reason;
    client->published++;
}

static void on_message(struct mosquitto *m, void *user, const struct mosquitto_message *message,
                       const mosquitto_property *props)
{
    struct testclient *client = user;
    struct testmessage *copy = g_new0(struct testmessage, 1);
    uint32_t expiry_s;
    (void)m;

    copy->topic = g_strdup(message->topic);
    copy->payload = g_strndup(message->payload, (gsize)message->payloadlen);
    copy->retained = message->retain;
    copy->expiry_s = mosquitto_property_read_int32(props, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL,
                                                   &expiry_s, false) != NULL
                         ? (int64_t)expiry_s
                         : -1;
    g_ptr_array_add(client->messages, copy);
}

static void message_free(gpointer data)
{
    struct testmessage *message = data;

    g_free(message->topic);
    g_free(message->payload);
    g_free(message);
}

static struct testclient *client_new(int port, const char *id, bool keep_session)
{
    struct testclient *client = g_new0(struct testclient, 1);

    mosquitto_lib_init();
    client->port = port;
    client->keep_session = keep_session;
    client->messages = g_ptr_array_new_with_free_func(message_free);
    client->client = mosquitto_new(id, !keep_session, client);
    mosquitto_int_option(client->client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_connect_v5_callback_set(client->client, on_connect);
    mosquitto_subscribe_v5_callback_set(client->client, on_subscribe);
    mosquitto_publish_v5_callback_set(client->client, on_publish);
    mosquitto_message_v5_callback_set(client->client, on_message);
    return client;
}

static void use_tls(struct testclient *client, const char *cert, const char *key)
{
    g_autoptr(GError) error = NULL;

    client->tls = mqtt_tls_new("127.0.0.1", testbroker_pki("ca.pem"), cert, key, &error);
    if (client->tls == NULL)
        fail_msg("%s", error->message);
    mqtt_tls_use(client->tls, client->client);
}

static struct testclient *device_new(const struct testbroker *broker, const char *user,
                                     const char *password, const char *client_id, bool keep_session)
{
    struct testclient *client = client_new(broker->device_port, client_id, keep_session);

    if (!broker->plain)
        use_tls(client, "", "");
    mosquitto_username_pw_set(client->client, user, password);
    return client;
}

struct testclient *testclient_device(const struct testbroker *broker, const char *user,
                                     const char *password)
{
    return device_new(broker, user, password, user, false);
}

struct testclient *testclient_device_kept(const struct testbroker *broker, const char *user,
                                          const char *password)
{
    return device_new(broker, user, password, user, true);
}

struct testclient *testclient_device_as(const struct testbroker *broker, const char *user,
                                        const char *password, const char *client_id)
{
    return device_new(broker, user, password, client_id, false);
}

struct testclient *testclient_engine(const struct testbroker *broker, const char *certificate)
{
    struct testclient *client = client_new(broker->engine_port, "engine-test", false);
    g_autofree char *cert = g_strdup_printf("%s.pem", certificate);
    g_autofree char *key = g_strdup_printf("%s.key", certificate);

    if (certificate[0] == '\0')
        use_tls(client, "", "");
    else
        use_tls(client, testbroker_pki(cert), testbroker_pki(key));
    return client;
}

void testclient_free(struct testclient *client)
{
    mosquitto_destroy(client->client);
    g_clear_pointer(&client->tls, mqtt_tls_free);
    g_ptr_array_unref(client->messages);
    g_free(client);
}

struct waiting {
    struct testclient *client;
    bool (*done)(void *user);
    void *user;
};

static bool step(void *user)
{
    struct waiting *waiting = user;
    struct testclient *client = waiting->client;

    if (!client->closed && mosq_io_run(client->client, true) != MOSQ_ERR_SUCCESS)
        client->closed = true;
    return waiting->done(waiting->user);
}

void testclient_until(struct testclient *client, bool (*done)(void *user), void *user)
{
    struct waiting waiting = {.client = client, .done = done, .user = user};

    assert_true(test_wait_until(step, &waiting, WAIT_MS));
}

static bool is_answered(void *user)
{
    const struct testclient *client = user;

    return client->reason != ANSWER_NONE || client->closed;
}

static int answer(struct testclient *client)
{
    testclient_until(client, is_answered, client);
    return client->reason != ANSWER_NONE ? client->reason : -1;
}

int testclient_connect(struct testclient *client)
{
    mosquitto_property *props = NULL;

    if (client->keep_session)
        mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3600);
    client->reason = ANSWER_NONE;
    client->closed = mosquitto_connect_bind_v5(client->client, "127.0.0.1", client->port, 60, NULL,
                                               props) != MOSQ_ERR_SUCCESS;
    mosquitto_property_free_all(&props);
    return answer(client);
}

static bool is_closed(void *user)
{
    const struct testclient *client = user;

    return client->closed || mosquitto_socket(client->client) == -1;
}

void testclient_disconnect(struct testclient *client)
{
    mosquitto_disconnect_v5(client->client, 0, NULL);
    testclient_until(client, is_closed, client);
}

void testclient_cut(struct testclient *client)
{
    assert_int_equal(shutdown(mosquitto_socket(client->client), SHUT_RDWR), 0);
    client->closed = true;
}

void testclient_subscribe_qos(struct testclient *client, const char *filter, int qos)
{
    client->reason = ANSWER_NONE;
    assert_int_equal(mosquitto_subscribe_v5(client->client, NULL, filter, qos, 0, NULL), 0);
    assert_int_equal(answer(client), qos);
}

void testclient_subscribe(struct testclient *client, const char *filter)
{
    testclient_subscribe_qos(client, filter, 1);
}

int testclient_publish(struct testclient *client, const char *topic, const char *payload,
                       bool retain)
{
    client->reason = ANSWER_NONE;
    if (mosquitto_publish_v5(client->client, NULL, topic, (int)strlen(payload), payload, 1, retain,
                             NULL) != MOSQ_ERR_SUCCESS)
        return -1;
    return answer(client);
}

struct publications {
    const struct testclient *client;
    unsigned wanted;
};

static bool are_answered(void *user)
{
    const struct publications *publications = user;

    return publications->client->published >= publications->wanted || publications->client->closed;
}

void testclient_publish_many(struct testclient *client, const char *topic, const char *payload,
                             bool retain, unsigned n)
{
    struct publications publications = {.client = client, .wanted = client->published + n};

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(mosquitto_publish_v5(client->client, NULL, topic, (int)strlen(payload),
                                              payload, 1, retain, NULL),
                         MOSQ_ERR_SUCCESS);
    testclient_until(client, are_answered, &publications);
    assert_false(client->closed);
}

const GPtrArray *testclient_messages(const struct testclient *client)
{
    return client->messages;
}

struct count {
    const struct testclient *client;
    unsigned n;
};

static bool has_messages(void *user)
{
    const struct count *count = user;

    return count->client->messages->len >= count->n;
}

void testclient_until_messages(struct testclient *client, unsigned n)
{
    struct count count = {.client = client, .n = n};

    testclient_until(client, has_messages, &count);
}
