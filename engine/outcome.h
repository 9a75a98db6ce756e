/* The final state of one device for one broadcast: one byte in fanout_flight.codes. */
#ifndef LOA_ENGINE_OUTCOME_H
#define LOA_ENGINE_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, byte, "NAME", "reason of a SUPPRESSED, else empty")
 * The bytes are on disk for ever: add, never change. */
#define OUTCOME_TABLE(X)                                                                           \
    X(OUTCOME_ACCEPTED, 1, "ACCEPTED", "")                 /* the provider took it */              \
    X(OUTCOME_DEAD_TOKEN, 2, "DEAD_TOKEN", "")             /* the token works no more; retired */  \
    X(OUTCOME_REJECTED_PAYLOAD, 3, "REJECTED_PAYLOAD", "") /* the message was refused */           \
    X(OUTCOME_REJECTED_CONFIG, 4, "REJECTED_CONFIG", "")   /* our set-up was refused to the end */ \
    X(OUTCOME_UNKNOWN_SENT, 5, "UNKNOWN_SENT", "")         /* it may have arrived */               \
    X(OUTCOME_EXPIRED, 6, "EXPIRED", "")                   /* no success before it expired */      \
    X(OUTCOME_CANCELLED, 7, "CANCELLED", "")               /* taken back before it was sent */     \
    X(OUTCOME_SUPPRESSED_UNREGISTERED, 16, "SUPPRESSED", "unregistered") /* gone by send time */   \
    X(OUTCOME_SUPPRESSED_STALE, 17, "SUPPRESSED", "stale") /* not seen for long: information */    \
    X(OUTCOME_SUPPRESSED_MOVED, 18, "SUPPRESSED", "moved") /* now on another channel: it got       \
                                                              the alert in that answer */          \
    X(OUTCOME_SUPPRESSED_REALM, 19, "SUPPRESSED", "realm") /* moved to another realm */

enum outcome {
    OUTCOME_NONE = 0, /* not settled; never stored in a closed flight */
#define OUTCOME_ENUM(id, byte, name, reason) id = byte,
    OUTCOME_TABLE(OUTCOME_ENUM)
#undef OUTCOME_ENUM
        OUTCOME_RETRY = 32, /* not final: the device stands in fanout_retry */
};

/* "ACCEPTED", "SUPPRESSED", …, "RETRY"; NULL for a byte that is no outcome. */
const char *outcome_name(uint8_t byte);
/* "stale" for a SUPPRESSED, else "". */
const char *outcome_reason(uint8_t byte);

/* How many members have each byte. Counters are derived from flights, never kept beside them. */
struct outcome_tally {
    uint64_t by_byte[256];
};
void outcome_tally_add(struct outcome_tally *tally, const uint8_t *codes, size_t n);
/* Sum over all final outcomes of this name ("SUPPRESSED" adds its reasons up). */
uint64_t outcome_tally_name(const struct outcome_tally *tally, const char *name);
/* Sum of all final outcomes (RETRY not included). */
uint64_t outcome_tally_final(const struct outcome_tally *tally);
/* The names in report order, without repeats; NULL-terminated. */
const char *const *outcome_names(void);

#endif
