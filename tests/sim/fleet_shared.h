/* What the processes of a fleet share: one anonymous mapping made before they fork. Counters are
 * written by the workers and read by the parent's control socket. */
#ifndef LOA_SIM_FLEET_SHARED_H
#define LOA_SIM_FLEET_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "engine/release.h"

/* X(name): counters of {"cmd":"stats"}. */
#define FLEET_COUNTERS(X)                                                                          \
    X(connected)          /* phones that are connected and subscribed now */                       \
    X(connects)           /* successful connections, reconnections included */                     \
    X(received)           /* alerts received, repeats included */                                  \
    X(distinct)           /* (phone, alert, version) shown: signature right, not seen before */    \
    X(duplicates)         /* repeats dropped */                                                    \
    X(bad_signatures)     /* dropped: no pinned key made the signature */                          \
    X(malformed)          /* dropped: not what docs/device-protocol.md describes */                \
    X(cancelled)          /* corrections shown */                                                  \
    X(emergencies)        /* of distinct: of class khan_cap */                                     \
    X(notices)            /* distinct targeted notifications */                                    \
    X(receipts_sent)      /* publications, repeats included */                                     \
    X(receipts_confirmed) /* (phone, alert, version) confirmed */

struct fleet_count {
    _Atomic uint32_t distinct, repeats;
    _Atomic int64_t emergency_us; /* UTC of the last emergency shown; 0 = none */
};

struct fleet_shared {
#define FLEET_FIELD(name) _Atomic int64_t name;
    FLEET_COUNTERS(FLEET_FIELD)
#undef FLEET_FIELD
    _Atomic int64_t first_us, last_us; /* UTC of the first and last alert shown; 0 = none */
    _Atomic int32_t receipt_window_s;  /* overrides the window of the alert; -1 = no override */
    _Atomic uint32_t phone_resets;     /* {"cmd":"reset"} so far */
    struct fleet_count counts[];       /* one per phone */
};

/* One line of the device file. */
struct fleet_device {
    int64_t id;
    char *password;
    char *commune; /* "" = none told */
    char *language;
};

struct fleet_options {
    char *ca_file;
    char **brokers; /* host:port */
    bool plain;     /* without TLS */
    struct release_keys *keys;
    GArray *devices; /* struct fleet_device */
    int processes;
    struct fleet_shared *shared;
};

/* Lines id,password,commune,language; an optional head line that begins with "id,". INVALID with
 * the line number. Owned array of struct fleet_device. */
GArray *fleet_devices_load(const char *path, GError **error);

/* One process: the phones whose index mod processes is worker. Returns an exit status when SIGTERM
 * comes. */
int fleet_worker_run(const struct fleet_options *options, int worker);

#endif
