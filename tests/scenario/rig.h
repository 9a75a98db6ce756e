/* The whole system for one scenario, every part the real program: PostgreSQL, mosquitto, loa-sim,
 * and the roles as processes of their own that a test may kill, freeze, stop and start. Everything
 * lies in one temporary folder; nothing outlives the test program. */
#ifndef LOA_TESTS_SCENARIO_RIG_H
#define LOA_TESTS_SCENARIO_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/db.h"
#include "base/json.h"
#include "tests/support/testpg.h"

#define RIG_BROKERS_MAX 2
#define RIG_ROLES_MAX   8

struct rig_options {
    int fcm, apns, mqtt; /* devices */
    int brokers;         /* 0 … 2 */
    int deliver;         /* processes */
    int fleet;           /* MQTT devices that are really connected, ≤ mqtt */
    bool api, tick;
    int dead_percent;           /* of fcm and apns: tokens that the simulators call dead */
    const char *extra_conf;     /* appended to loa.conf; NULL none */
    const char *pgdata_dir;     /* NULL = anywhere */
    int deliver_clock_offset_s; /* the deliver processes' machine has a wrong clock */
    bool untrusted_fcm;         /* loa trusts another authority than the one of the simulators */
};

/* A program of ours that runs or not. */
struct rig_process {
    char name[16];
    char **argv;
    char **envp;
    pid_t pid; /* 0 = not running */
    unsigned starts;
};

struct rig {
    struct rig_options options;
    char *dir;
    struct testpg_cluster *cluster;
    struct db *db;
    char *conf;    /* path of loa.conf */
    char *control; /* of loa-sim serve */
    char *fleet_control;
    int broker_port[RIG_BROKERS_MAX][2]; /* devices, engine */
    int api_port;
    struct rig_process sim, fleet, broker[RIG_BROKERS_MAX];
    struct rig_process role[RIG_ROLES_MAX];
    size_t n_roles;
};

/* A port that is free now; somebody else could take it before we do, then the start fails loudly.
 */
int rig_free_port(void);

/* Everything up, devices imported, providers ready; no broadcast yet. One at a time: a rig that a
 * failed test left is ended here or at exit, after the tails of its logs were printed. */
struct rig *rig_new(const struct rig_options *options);
void rig_free(struct rig *rig);

/* Runs `loa ARGS…` (NULL-terminated) and returns its exit status; out (may be NULL) gets standard
 * output, owned. */
int rig_loa(struct rig *rig, char **out, ...) G_GNUC_NULL_TERMINATED;
/* The same for a line with shell quotes in which "@" stands for the rig's folder and a slash; both
 * outputs owned, nothing is printed. */
int rig_loa_line(struct rig *rig, const char *line, char **out, char **out_errors);
/* `loa broadcast create` and `approve` by two accounts; returns the broadcast's id. */
int64_t rig_release(struct rig *rig, bool emergency, const char *expires);

void rig_start(struct rig *rig, struct rig_process *process);
/* SIGKILL and reaped. */
void rig_kill(struct rig_process *process);
/* SIGTERM, waits for an orderly end, returns its exit status. */
int rig_stop(struct rig_process *process);
/* It runs, and has not ended by itself. */
bool rig_alive(const struct rig_process *process);
struct rig_process *rig_role(struct rig *rig, const char *name);

/* One JSON command to the simulators; the answer must not be an error. Owned. */
json_t *rig_sim(struct rig *rig, const char *format, ...) G_GNUC_PRINTF(2, 3);
json_t *rig_fleet(struct rig *rig, const char *command);

/* One request to the API or, with a port, to another listener of ours. device and secret: who asks,
 * NULL nobody; key: Idempotency-Key or NULL; body: JSON or NULL. Returns the status, 0 when no
 * answer came; out (may be NULL) gets the body, owned. */
struct rig_request {
    const char *method, *path;
    int port; /* 0 = the API's */
    const char *device, *secret, *key, *body;
};
long rig_http(struct rig *rig, const struct rig_request *request, char **out);
/* The same, its answer as JSON, which must have this status. Owned. */
json_t *rig_http_json(struct rig *rig, const struct rig_request *request, long status);

int64_t rig_i64(struct rig *rig, const char *sql);
void rig_exec(struct rig *rig, const char *sql);
/* Waits until the statement's number is nonzero; fails after limit_s. Meanwhile
 * sql/checks are run again and again when checks is set. */
void rig_until(struct rig *rig, const char *sql, int limit_s, bool checks);
/* sql/checks hold. */
void rig_assert_checks(struct rig *rig);
/* Outcomes of this byte of one broadcast on one channel. */
int64_t rig_outcomes(struct rig *rig, int64_t broadcast, const char *channel, int byte);
/* Token by token: what the simulators saw accepted is what Loa says; who got it more than once was
 * in an uncertain flight. Returns the number of repeats. */
int64_t rig_assert_tokens(struct rig *rig, int64_t broadcast, const char *channel);
/* Whether a log of this process has the event. */
bool rig_logged(struct rig *rig, const char *process, const char *event);
/* How often this text stands in its log. */
int rig_log_count(struct rig *rig, const char *process, const char *text);

#define RIG_PLANNED "SELECT count(*) FROM fanout_plan WHERE done"
#define RIG_FINISHED                                                                               \
    "SELECT (count(*) = 0)::int FROM broadcast WHERE released_at IS NOT NULL AND finished_at IS "  \
    "NULL"

#endif
