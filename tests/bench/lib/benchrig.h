/* What the measuring programs do with a rig beyond a test: very many devices at once, the exact
 * instant of a commit, processor time and memory of whole processes. */
#ifndef LOA_BENCH_BENCHRIG_H
#define LOA_BENCH_BENCHRIG_H

#include <stdint.h>

#include "tests/scenario/rig.h"

/* A number from the environment, or the default. */
int64_t bench_env(const char *name, int64_t fallback);

/* Adds proven devices by SQL until there are n in all: of ten, six at FCM and four at APNs. local
 * of them, evenly spread, are registered in commune 01273, the others in 01279. */
void bench_devices(struct rig *rig, int64_t n, int64_t local);

/* `loa broadcast create` and `approve`; area NULL = the province, else a commune. */
int64_t bench_release(struct rig *rig, bool emergency, const char *area);
/* When the transaction that released it was committed; microseconds, UTC. */
int64_t bench_commit_us(struct rig *rig, int64_t id);
/* Its alert id. Owned. */
char *bench_alert(struct rig *rig, int64_t id);
/* A number that the simulators keep about an alert on a channel ("first_seq", "accepted", …); 0
 * when they have not seen it. */
int64_t bench_alert_number(struct rig *rig, const char *channel, const char *alert,
                           const char *name);

/* CPU seconds (user and system) of a process with its children that have ended. */
double bench_cpu_s(pid_t pid);
/* The same of the rig's PostgreSQL, all its processes. */
double bench_postgres_cpu_s(struct rig *rig);
/* CPU seconds of all `loa deliver`. */
double bench_deliver_cpu_s(const struct rig *rig);
/* The largest peak memory of a `loa deliver`, MiB. */
double bench_deliver_peak_mib(const struct rig *rig);

/* Sorts, and returns the value at this part of the way, 0.5 = median. */
double bench_quantile(double *values, size_t n, double part);

#endif
