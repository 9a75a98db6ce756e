/* What a demo counts: Loa's own accounting beside what the simulators and phones saw. */
#ifndef LOA_APP_DEV_MEASURE_H
#define LOA_APP_DEV_MEASURE_H

#include "app/dev.h"
#include "engine/progress_store.h"

/* One side of the push traffic as the simulator counts it. */
struct seen_push {
    int64_t accepted, distinct, duplicates;
    int64_t first_utc_us, last_utc_us; /* of accepted pushes; 0 = none */
};

struct measure {
    struct progress *progress; /* owned */
    struct seen_push fcm, apns;
    int64_t phones_seen, phone_duplicates, phone_receipts, bad_signatures;
    int64_t commit_utc_us; /* of the release */
    double cpu_s;          /* of all deliver processes, while it ran */
    double rss_mb;         /* peak of the largest deliver process */
};

/* CPU seconds that the living processes of a role have used. */
double measure_cpu_s(const struct dev *dev, const char *role);
/* Reads everything after the broadcast has finished; cpu_s is left to the caller. */
bool measure_read(struct dev *dev, struct measure *out, GError **error);
void measure_clear(struct measure *measure);

/* For people. */
void measure_print(const struct dev *dev, const struct measure *measure);
/* The one line for scripts (README.md, "script/demo"). */
void measure_print_json(const struct dev *dev, const struct measure *measure);
/* Every device has an outcome, and what was accepted is what was seen. INTERNAL with the
 * difference. */
bool measure_adds_up(const struct dev *dev, const struct measure *measure, GError **error);

#endif
