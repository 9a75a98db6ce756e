/* Scripted faults: which requests they meet and what the provider then does. README.md has the
 * JSON. */
#ifndef LOA_SIM_FAULTS_H
#define LOA_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/json.h"
#include "tests/sim/reasons.h"
#include "tests/sim/sim.h"
#include "tests/sim/text.h"

#define FAULTS_MAX 1000 /* rules at once */

/* What happens to a request that a rule has met. Zero fields do nothing. */
struct fault_action {
    int status;                  /* HTTP status, 0 = leave the answer alone */
    const struct reason *reason; /* NULL with a status: a page of HTML, as front-ends send */
    char field[64];              /* FCM INVALID_ARGUMENT: the violated field */
    int64_t retry_after_s;       /* < 0 = no such header */
    int64_t timestamp_ms;        /* of a 410; 0 = now */
    int64_t delay_us;            /* before the answer */
    int max_streams;             /* sent as SETTINGS; 0 = none */
    uint32_t rst_code;           /* RST_STREAM instead of an answer; 0 = none */
    bool goaway;                 /* GOAWAY; streams already accepted are answered, then it closes */
    bool no_answer;              /* the stream stays open for ever */
    bool close;                  /* the connection closes without a word */
    bool expired_token;          /* the credential counts as expired from now on */
    bool accept;                 /* rst, no_answer, close: the message was taken all the same */
};

struct faults;
struct faults *faults_new(uint64_t seed);
void faults_free(struct faults *faults);
LOA_AUTO_DEFINE(faults, faults_free)

/* Adds a rule from a control command {"channel","match","do","for_ms","count"}. Returns its id, 0
 * with INVALID (the field is named) or LIMIT. */
uint64_t faults_add(struct faults *faults, const json_t *command, int64_t mono_us, GError **error);
/* Removes one rule, or all with id 0. Returns how many. */
unsigned faults_clear(struct faults *faults, uint64_t id);
/* The action of the first rule, in order of their creation, that meets this request; NULL = none.
 * Borrowed until the next call of this module. */
const struct fault_action *faults_pick(struct faults *faults, enum sim_channel channel,
                                       struct text token, int64_t mono_us);
/* [{"id","channel","applied"},…] of the rules that are still there; owned. */
json_t *faults_list(const struct faults *faults);

/* "fcm" | "apns" | "oauth" | "iid". */
const char *sim_channel_name(enum sim_channel channel);
bool sim_channel_parse(const char *name, enum sim_channel *out);

#endif
