/* Configuration of a mosquitto broker for Loa: for `loa dev`, the tests, and as etc/mosquitto/.
 *
 * Two TLS listeners with rules of their own. Devices: user name = device id, password = the device
 * secret; they read alerts and their own topic and write their own receipts, nothing else. Engine:
 * a client certificate whose common name is loa-engine; only it may publish alerts.
 *
 * Until the broker plugin checks device secrets by itself, they stand hashed in a password file
 * that has to be written anew (and the broker sent SIGHUP) when devices register. */
#ifndef LOA_MQTT_MOSQUITTO_CONF_H
#define LOA_MQTT_MOSQUITTO_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define MOSQUITTO_ENGINE_NAME "loa-engine" /* common name of the engine's certificate */

struct mosquitto_options {
    const char *directory; /* of the files below; also of the broker's persistent state */
    const char *ca_file;   /* issuer of the engine's client certificate */
    const char *cert_file; /* the broker's own */
    const char *key_file;
    const char *address; /* to listen on; "" = every one */
    int device_port, engine_port;
    unsigned devices_max; /* connections on the devices' listener */
    const char *run_as;   /* user to become when started as root; NULL = mosquitto's default */
};

/* One device that may connect. realm: "live", or "exercise" or "test" for those that may read that
 * realm's alerts, too. */
struct mosquitto_device {
    int64_t id;
    const char *password;
    const char *realm;
};

/* mosquitto.conf. Owned. */
char *mosquitto_conf_text(const struct mosquitto_options *options);
/* devices.acl and engine.acl. Owned. */
char *mosquitto_devices_acl_text(const struct mosquitto_device *devices, size_t n);
char *mosquitto_engine_acl_text(void);

/* Writes mosquitto.conf, devices.acl, engine.acl and devices.passwd into the directory, passwords
 * hashed by mosquitto_passwd(1). Blocks (about 0.1 ms per device). INVALID for a password that the
 * file cannot hold, INTERNAL when a file or the program fails. */
bool mosquitto_files_write(const struct mosquitto_options *options,
                           const struct mosquitto_device *devices, size_t n,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
