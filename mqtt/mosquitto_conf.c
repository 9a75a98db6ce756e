/* The generated files say why, because operators read them; the same text is etc/mosquitto/. */
#include "mqtt/mosquitto_conf.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"

#define PACKET_SIZE_MAX 73728 /* above MQTT_PAYLOAD_MAX: room for the topic and the properties */

static const char conf_head[] =
    "# mosquitto for Loa. Written by loa; changes here are overwritten by `loa dev`.\n"
    "# Each listener has rules of its own.\n"
    "per_listener_settings true\n"
    "# A retained alert stays valid when its publisher is not known any more (broker restart).\n"
    "check_retain_source false\n"
    "\n"
    "# Bounds. A phone has one queue, and when it is full the broker drops the newest. Phones\n"
    "# therefore subscribe to information with QoS 0: it never enters the queue, and is dropped\n"
    "# for a phone when so many packets wait for its connection. Emergencies have QoS 1: they\n"
    "# share the queue only with what is addressed to this phone. All that Loa keeps live fits\n"
    "# at once (500).\n"
    "max_inflight_messages 100\n"
    "max_queued_messages 1000\n"
    "max_queued_bytes 0\n"
    "queue_qos0_messages false\n";

static const char conf_state[] =
    "# A phone that was off for longer gets what is still live as retained messages.\n"
    "persistent_client_expiration 7d\n"
    "max_keepalive 1800\n"
    "set_tcp_nodelay true\n"
    "\n"
    "# Retained alerts survive a restart; Loa also publishes them again when it reconnects.\n"
    "persistence true\n"
    "autosave_interval 60\n";

static const char conf_log[] = "\n"
                               "# One line per connection is too much for a province's phones.\n"
                               "log_dest stderr\n"
                               "log_type error\n"
                               "log_type warning\n"
                               "log_type notice\n"
                               "connection_messages false\n";

static void append_listener(GString *text, const struct mosquitto_options *o, int port)
{
    g_string_append_printf(text,
                           "listener %d%s%s\n"
                           "cafile %s\n"
                           "certfile %s\n"
                           "keyfile %s\n"
                           "tls_version tlsv1.2\n"
                           "allow_anonymous false\n"
                           "allow_zero_length_clientid false\n"
                           "max_qos 1\n",
                           port, o->address[0] != '\0' ? " " : "", o->address, o->ca_file,
                           o->cert_file, o->key_file);
}

char *mosquitto_conf_text(const struct mosquitto_options *o)
{
    GString *text = g_string_new(conf_head);

    g_string_append_printf(text, "max_packet_size %d\n", PACKET_SIZE_MAX);
    g_string_append(text, conf_state);
    g_string_append_printf(text, "persistence_location %s/\n", o->directory);
    if (o->run_as != NULL)
        g_string_append_printf(text, "user %s\n", o->run_as);
    g_string_append(text, conf_log);

    g_string_append(text,
                    "\n# Devices: user name = device id, password = device secret. The client id\n"
                    "# is the user name, so nobody can push another phone off its session.\n");
    append_listener(text, o, o->device_port);
    g_string_append_printf(text,
                           "max_connections %u\n"
                           "use_username_as_clientid true\n"
                           "# Until Loa's broker plugin checks device secrets by HMAC, they stand\n"
                           "# here, hashed; SIGHUP makes the broker read both files again.\n"
                           "password_file %s/devices.passwd\n"
                           "acl_file %s/devices.acl\n",
                           o->devices_max, o->directory, o->directory);

    g_string_append(text, "\n# The engine: known by its client certificate alone.\n");
    append_listener(text, o, o->engine_port);
    g_string_append_printf(text,
                           "max_connections 64\n"
                           "require_certificate true\n"
                           "use_identity_as_username true\n"
                           "acl_file %s/engine.acl\n",
                           o->directory);
    return g_string_free(text, FALSE);
}

char *mosquitto_devices_acl_text(const struct mosquitto_device *devices, size_t n)
{
    GString *text = g_string_new(
        "# Every device; %u is its id. What is not allowed here is refused. A subscription is\n"
        "# accepted for any topic, but only what may be read is ever delivered.\n"
        "pattern read loa/v1/emergency/#\n"
        "pattern read loa/v1/alert/#\n"
        "pattern read loa/v1/device/%u\n"
        "pattern write loa/v1/receipt/%u\n");

    for (size_t i = 0; i < n; i++) {
        if (strcmp(devices[i].realm, "live") != 0)
            g_string_append_printf(text, "\nuser %" PRId64 "\ntopic read loa/v1/%s/#\n",
                                   devices[i].id, devices[i].realm);
    }
    return g_string_free(text, FALSE);
}

char *mosquitto_engine_acl_text(void)
{
    return g_strdup("# Only this certificate publishes alerts and what is addressed to a device.\n"
                    "user " MOSQUITTO_ENGINE_NAME "\n"
                    "topic write loa/v1/emergency/#\n"
                    "topic write loa/v1/alert/#\n"
                    "topic write loa/v1/exercise/#\n"
                    "topic write loa/v1/test/#\n"
                    "topic write loa/v1/device/+\n"
                    "topic read loa/v1/receipt/+\n"
                    "topic readwrite loa/v1/canary\n");
}

static bool write_file(const char *directory, const char *name, const char *text, GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_autoptr(GError) cause = NULL;

    if (g_file_set_contents_full(path, text, (gssize)strlen(text), G_FILE_SET_CONTENTS_CONSISTENT,
                                 0600, &cause))
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL, "%s: %s", path, cause->message);
    return false;
}

static bool hash_passwords(const char *path, GError **error)
{
    const char *argv[] = {"mosquitto_passwd", "-U", path, NULL};
    g_autoptr(GError) cause = NULL;
    g_autofree char *complaint = NULL;
    int status;

    if (g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                     NULL, NULL, NULL, &complaint, &status, &cause) &&
        g_spawn_check_wait_status(status, &cause))
        return true;
    g_set_error(error, LOA_ERROR, LOA_ERROR_INTERNAL,
                "mosquitto_passwd (Debian package mosquitto): %s %s", cause->message,
                complaint != NULL ? g_strstrip(complaint) : "");
    return false;
}

static bool write_passwords(const char *directory, const struct mosquitto_device *devices, size_t n,
                            GError **error)
{
    g_autofree char *path = g_build_filename(directory, "devices.passwd", NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    bool ok;

    for (size_t i = 0; i < n; i++) {
        if (devices[i].password[0] == '\0' || strpbrk(devices[i].password, ":\r\n") != NULL) {
            g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                        "device %" PRId64 ": its password is empty or has ':' or a line end",
                        devices[i].id);
            return false;
        }
        g_string_append_printf(text, "%" PRId64 ":%s\n", devices[i].id, devices[i].password);
    }
    ok = write_file(directory, "devices.passwd", text->str, error) &&
         (n == 0 || hash_passwords(path, error));
    explicit_bzero(text->str, text->len);
    return ok;
}

bool mosquitto_files_write(const struct mosquitto_options *options,
                           const struct mosquitto_device *devices, size_t n, GError **error)
{
    g_autofree char *conf = mosquitto_conf_text(options);
    g_autofree char *devices_acl = mosquitto_devices_acl_text(devices, n);
    g_autofree char *engine_acl = mosquitto_engine_acl_text();

    return write_file(options->directory, "mosquitto.conf", conf, error) &&
           write_file(options->directory, "devices.acl", devices_acl, error) &&
           write_file(options->directory, "engine.acl", engine_acl, error) &&
           write_passwords(options->directory, devices, n, error);
}
