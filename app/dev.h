/* `loa dev`: all of Loa on one machine, private and durable, against simulated providers. The parts
 * of one struct dev, one file each: dev_place.c (folders), dev_postgres.c, dev_outside.c
 * (simulators, brokers, phones), dev_config.c (ports, loa.conf), dev_devices.c, dev_state.c,
 * dev_demo.c. */
#ifndef LOA_APP_DEV_H
#define LOA_APP_DEV_H

#include "app/command.h"
#include "app/dev_supervise.h"

#define DEV_BROKERS_MAX   8
#define DEV_DELIVERS_MAX  64
#define DEV_CONNECTED_MAX 5000 /* MQTT phones that really connect */

struct dev_options {
    char *dir;
    int devices;
    int port;
    int delivers;
    int brokers;
    gboolean demo;
    gboolean leave; /* --exit */
};

struct dev_broker {
    char *dir;
    int device_port, engine_port;
};

struct dev {
    const struct clock *clock;
    struct dev_options options;
    bool as_root;
    struct supervisor *supervisor;

    /* Absolute paths; all owned. */
    char *loa, *loa_sim; /* programs */
    char *dir;           /* everything below, but perhaps the sockets */
    char *sockets;       /* short enough for sun_path */
    char *config;        /* loa.conf of all roles and commands but deliver */
    char *sim_control, *fleet_control;
    char *devices_csv, *secrets_csv, *fleet_csv;
    int lock_fd;

    char *conninfo;
    int fcm_port, apns_port, sandbox_port, oauth_port, iid_port;
    int mqtt_status_port, tick_status_port;
    int deliver_status_port[DEV_DELIVERS_MAX];
    struct dev_broker broker[DEV_BROKERS_MAX];
    int connected; /* MQTT phones of the fleet */
    bool ready;    /* everything has started */
    int64_t broadcast_id;
};

/* "DIR/name"; owned. */
char *dev_path(const struct dev *dev, const char *name);
/* Runs `loa` with these arguments and this configuration to its end; NULL ends them. log names its
 * log file. */
bool dev_loa(struct dev *dev, const char *log, bool terminal, GError **error,
             ...) G_GNUC_NULL_TERMINATED;

/* Takes DIR: refuses one that is not ours or in use (CONFLICT), empties it, makes the folders. */
bool dev_place_open(struct dev *dev, GError **error);
/* The database's user must be able to walk to DIR. DENIED says what to do. */
bool dev_place_check(struct dev *dev, GError **error);
/* Removes the sockets' folder. DIR stays, for a look at logs and data. */
void dev_place_close(struct dev *dev);

/* Chooses free ports; --port, when it was given, must be free (CONFLICT). */
bool dev_config_ports(struct dev *dev, GError **error);
/* Writes keys, loa.conf and one file per deliver process. */
bool dev_config_write(struct dev *dev, GError **error);
/* conf/deliver-N.conf; owned. */
char *dev_config_deliver(const struct dev *dev, int n);

/* A new cluster with a database, durable: what is measured is what production does. */
bool dev_postgres_start(struct dev *dev, GError **error);

bool dev_simulators_start(struct dev *dev, GError **error);
/* The brokers' files hold the passwords of the first DEV_CONNECTED_MAX devices of secrets_csv. */
bool dev_brokers_start(struct dev *dev, GError **error);
bool dev_fleet_start(struct dev *dev, GError **error);

/* Writes devices.csv: 60 % FCM, 30 % APNs, 10 % MQTT over all communes; then imports it. */
bool dev_devices_register(struct dev *dev, GError **error);

/* state.json: pids, ports, conninfo, control sockets. Written anew at each change. */
void dev_state_write(struct dev *dev);

/* Two accounts release one emergency; follows it, counts, prints the summary and the JSON line.
 * INTERNAL when a device is missing. */
bool dev_demo_run(struct dev *dev, GError **error);

#endif
